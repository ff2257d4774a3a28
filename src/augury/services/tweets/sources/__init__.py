"""Where tweets come from: one Protocol (``base``), X itself, and what people downloaded.

``x_client`` asks X, ``x_api`` for one tweet and ``x_search`` for those of a query; ``x_answers``
understands what it says, and ``archive_files`` the files, both without I/O of their own making;
``archive`` is the store of imported tweets, ``chain`` asks one source after another.
"""
