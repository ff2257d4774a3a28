"""How the bundled ``tweet-sentiment`` model is made: read, train, average, export.

Run from the repository root as ``python -m training.<module>``; needs the
extra ``train``.  ``README.md`` beside this file gives the exact commands.
"""
