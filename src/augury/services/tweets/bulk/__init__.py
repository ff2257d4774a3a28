"""Tweets by the hundred thousand: ``scorer`` reads, judges and writes at once.

``checkpoints`` keep how far a file has been scored, ``patience`` waits for a store that went away.
"""
