"""Dialects: thin translators between bytes and the one request and response of ``core``.

Each has the same files: ``codec`` (no I/O), ``routes``, ``errors``.  Dialects do not know each other;
what all ASGI dialects need stands in ``asgi``.
"""
