"""Declarative steps before and after a model, named by ``use`` in ``model.toml``.

To add one, write its file with a class that follows ``base.Transform`` and name it in
``registry.py``; another package does the same through the entry points ``augury.transforms``.
"""
