"""Where things are remembered: small Protocols in ``base``, one file or folder for each backend.

A backend implements the Protocols that it can; ``tests/contract/`` runs one suite over every backend,
which ``tests/contract/stores.py`` opens.  To add one, write its file and name its URL scheme in
``registry.py``.  ``write_behind`` holds what waits for a store that is down.
"""
