"""Augury carries a trained model into production and keeps it healthy there.

``package → check → serve → batch → watch → roll out``: one package, one command.
``docs/architecture.md`` shows the way of a request and of a model through these folders.
"""

__version__ = "0.3.0"
