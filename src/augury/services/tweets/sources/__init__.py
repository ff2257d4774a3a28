"""Where tweets come from: one Protocol (``base``), X itself (``x_api``), what people downloaded.

``x_answers`` understands X's answers and ``archive_files`` the files, both without I/O of their own
making; ``archive`` is the store of imported tweets, ``chain`` asks one source after another.
"""
