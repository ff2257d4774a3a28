"""Models in this process, on rows of a file: which model, which rows, and what is wrong with it.

The command line's verbs other than ``serve`` stand on this; nothing here prints.
"""
