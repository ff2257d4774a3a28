"""Where things are remembered: small Protocols in ``base``, one file for each backend.

A backend implements the Protocols that it can; ``tests/contract/test_stores.py`` runs one suite
over every backend.  To add one, write its file and name its URL scheme in ``registry.py``.
"""
