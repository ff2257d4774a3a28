"""The words that every other folder speaks: tensor, request, signature, errors, clock, registry.

Imports nothing of ours.  A change here is felt everywhere, so this folder stays small.
"""
