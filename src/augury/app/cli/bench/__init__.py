"""``augury bench``: ``command`` says what can be asked, ``options`` what that means, ``job`` does it, ``tables`` shows it."""

from augury.app.cli.bench.command import bench

__all__ = ["bench"]
