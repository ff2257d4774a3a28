"""Tests of ``augury.core.errors``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from augury.core import errors
from augury.core.errors import (
    AuguryError,
    InvalidPackage,
    ModelNotFound,
    OperatorError,
    Overloaded,
    ShapeMismatch,
    VersionNotFound,
)


def tree(kind: type[AuguryError] = AuguryError) -> Iterator[type[AuguryError]]:
    for below in kind.__subclasses__():
        if below.__module__ == errors.__name__:
            yield below
            yield from tree(below)


CLASSES = list(tree())


def drawn() -> dict[str, tuple[str, int | None]]:
    """Class to its parent and status, as the module's docstring draws them."""
    found: dict[str, tuple[str, int | None]] = {}
    above = ["AuguryError"]
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"([│├└─ ]*)[├└]── (\w+)\s+(\d{3})?", line)
        if match:
            depth = len(match[1]) // 4
            del above[depth:]
            found[match[2]] = (above[-1], int(match[3]) if match[3] else None)
            above.append(match[2])
    return found


def test_codes_are_unique() -> None:
    """Clients switch on the code, so no two errors share one."""
    codes = [kind.code for kind in CLASSES]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)


def test_the_docstring_draws_the_whole_tree() -> None:
    """Every class is drawn under its parent, and nothing else is."""
    tree_of = drawn()
    assert {name: parent for name, (parent, _) in tree_of.items()} == {
        kind.__name__: kind.__bases__[0].__name__ for kind in CLASSES
    }


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_statuses_are_drawn_as_they_are(kind: type[AuguryError]) -> None:
    """A class has the status that is drawn beside it or beside the nearest one above."""
    tree_of = drawn()
    name = kind.__name__
    while tree_of[name][1] is None and tree_of[name][0] in tree_of:
        name = tree_of[name][0]
    if not issubclass(kind, OperatorError):
        assert tree_of[name][1] == kind.status
    assert kind.title


def test_only_what_may_pass_is_retryable() -> None:
    """A client's fault is never retryable; overload, upstream and unreadiness are."""
    retryable = {kind.__name__ for kind in CLASSES if kind.retryable}
    assert retryable == {
        "Overloaded", "UpstreamFailed", "Unavailable", "ModelNotReady", "DeadlineExceeded"
    }  # fmt: skip


def test_retry_after() -> None:
    """The hint is a number of seconds, or nothing."""
    assert Overloaded("full", retry_after_s=2).retry_after_s == 2.0
    assert Overloaded("full").retry_after_s is None


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ModelNotFound("a"), "no model 'a'; none is loaded"),
        (ModelNotFound("a", ("b", "c")), "no model 'a'; here are: b, c"),
        (
            VersionNotFound("a", "version 3"),
            "model 'a' has no version 3; /api/models/a lists what it has",
        ),
        (VersionNotFound("a", "label 'x'", ("y",)), "model 'a' has no label 'x'; here are: y"),
        (InvalidPackage("broken", path="m/model.toml", line=3), "m/model.toml:3: broken"),
        (InvalidPackage("broken", path="m/model.toml"), "m/model.toml: broken"),
    ],
)
def test_messages(error: AuguryError, message: str) -> None:
    """They name the thing and what there is instead."""
    assert error.message == str(error) == message


def test_details_are_json() -> None:
    """Every dialect can send them."""
    error = ShapeMismatch(input="x", got=(1, 2), want=(-1, 3))
    assert json.loads(json.dumps(error.details)) == error.details
