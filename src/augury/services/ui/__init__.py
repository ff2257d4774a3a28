"""The page at ``/``: type a text or paste a tweet's address, see its sentiment.

``routes`` serves the plain files of ``static/``.  The page needs no build step, loads nothing from
elsewhere, and knows the server by its public API only.
"""
