"""Model packages on disk: what ``model.toml`` says, and what the files say without it.

``manifest`` holds the words of ``model.toml``, ``reader`` finds and reads a version's folder,
``positions`` tells on which line a fault lies.  Nothing here loads a model.
"""
