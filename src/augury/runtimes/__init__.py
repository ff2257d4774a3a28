"""What computes: one file for each format, behind the Protocol in ``base``.

To add a runtime, write its file, name it in ``registry.py`` and its model file in
``packages/reader.py``; another package does the same through the entry points ``augury.runtimes``.
"""
