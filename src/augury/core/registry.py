"""Names to implementations: how a runtime, store or transform is found.

Each folder that can be extended holds one :class:`Registry`.  Our own entries are ``module:name``
strings, imported on first use, so that start-up pays only for what is used; other packages add
theirs through entry points.  One of our names cannot be taken over by an entry point.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from typing import Generic, TypeVar, cast

from augury.core.errors import NotFound

T = TypeVar("T")


class Registry(Generic[T]):
    """Lazily imported implementations of one kind.

    Args:
        kind: What the entries are, for messages ("runtime").
        group: Entry-point group in which other packages add theirs.
        entries: Name to ``"module:attribute"``.
    """

    def __init__(self, kind: str, group: str, entries: dict[str, str]) -> None:
        self.kind = kind
        self.group = group
        self._entries = dict(entries)
        self._loaded: dict[str, T] = {}

    def names(self) -> tuple[str, ...]:
        """All names, ours first, then those of other packages."""
        others = sorted(point.name for point in entry_points(group=self.group))
        return tuple(dict.fromkeys([*self._entries, *others]))

    def get(self, name: str) -> T:
        """The implementation registered as *name*.

        Raises:
            NotFound: Nothing of that name; the message lists the names there are.
            ImportError: The implementation needs a package that is not installed.
        """
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def _load(self, name: str) -> T:
        target = self._entries.get(name)
        if target is not None:
            module, _, attribute = target.partition(":")
            return cast("T", getattr(import_module(module), attribute))
        for point in entry_points(group=self.group, name=name):
            return cast("T", point.load())
        raise NotFound(
            f"no {self.kind} {name!r}; here are: {', '.join(self.names())}",
            kind=self.kind,
            name=name,
        )
