"""Answers that are remembered, in this process: ``key`` names a row, ``prediction`` keeps rows.

Only the event loop's thread touches the cache, so it needs no lock.
"""
