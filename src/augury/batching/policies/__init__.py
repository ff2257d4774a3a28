"""When waiting rows become a batch, and which of them: one file for each policy.

Pure: no clock, no loop, no lock.  A policy is added by a file here and a line in ``registry``.
"""
