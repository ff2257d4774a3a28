"""Which scope a request needs: an ordered table of rules, the first that fits decides.

Pure.  The path is the one that is routed, decoded once and not normalised; whatever no rule states
needs ``admin``, so that a new route is closed until somebody opens it here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from augury.core.caller import Scope

# What may be told to anybody, with or without credentials.
OPEN: Final = "open"

Need = Scope | Literal["open"]

_READS: Final = frozenset({"GET", "HEAD"})
_ANY: Final[frozenset[str]] = frozenset()

# These change nothing, so any page may have a browser send them ...
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
# ... but for these, which ask X for what is not known, at the operator's expense, and keep the answer.
_FETCHING: Final = frozenset({("GET", "/v1/inference"), ("HEAD", "/v1/inference")})

# Nothing of ours has such a path; somebody tries whether two programs read it in two ways.
_ODD: Final = re.compile(r"//|/\.{1,2}(?:/|$)")


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the table.

    Args:
        methods: The methods that it is for, in capitals; none: any.
        path: A path; ``{}`` stands for one part of it, a ``*`` at the end for any rest.
        need: What a request needs that fits.
    """

    methods: frozenset[str]
    path: str
    need: Need

    def pattern(self) -> re.Pattern[str]:
        """The paths that fit."""
        exact = re.escape(self.path.removesuffix("*")).replace(r"\{\}", "[^/]+")
        return re.compile(exact + (".*" if self.path.endswith("*") else ""), re.DOTALL)


RULES: Final = (
    Rule(_READS, "/livez", OPEN),
    Rule(_READS, "/readyz", OPEN),
    Rule(_READS, "/", OPEN),
    Rule(_READS, "/assets/*", OPEN),
    Rule(_READS, "/favicon.ico", OPEN),
    Rule(frozenset({"DELETE"}), "/*", "admin"),
    Rule(_ANY, "/api/admin", "admin"),
    Rule(_ANY, "/api/admin/*", "admin"),
    Rule(frozenset({"POST"}), "/api/models/{}/predict", "predict"),
    Rule(frozenset({"POST"}), "/api/models/{}/versions/{}/predict", "predict"),
    Rule(frozenset({"POST"}), "/api/models/{}/labels/{}/predict", "predict"),
    Rule(_READS, "/v1/inference", "predict"),
    Rule(frozenset({"POST"}), "/v1/sentiment", "predict"),
    Rule(frozenset({"POST"}), "/v1/clear", "admin"),
    Rule(_READS, "/v1/*", "read"),
    Rule(_READS, "/api/*", "read"),
    Rule(_READS, "/ui", "read"),
    Rule(_READS, "/ui/*", "read"),
    Rule(_READS, "/docs", "read"),
    Rule(_READS, "/docs/*", "read"),
    Rule(_READS, "/openapi.json", "read"),
    Rule(_READS, "/metrics", "read"),
)

_COMPILED: Final = tuple((rule.methods, rule.pattern(), rule) for rule in RULES)


def rule_of(method: str, path: str) -> Rule | None:
    """The rule for *method* and *path* (decoded), or ``None`` when none states it.

    >>> rule_of("GET", "/v1/topics/rain/sentiment").path
    '/v1/*'
    """
    if _ODD.search(path) is not None:
        return None
    for methods, pattern, rule in _COMPILED:
        if (not methods or method in methods) and pattern.fullmatch(path) is not None:
            return rule
    return None


def changes_something(method: str, path: str) -> bool:
    """Whether a request is more than a look; a foreign page must not have a browser send it.

    >>> changes_something("GET", "/v1/tweets/1"), changes_something("GET", "/v1/inference")
    (False, True)
    """
    return method not in _SAFE or (method, path) in _FETCHING


def required_scope(method: str, path: str) -> Scope | None:
    """The scope that a request needs; ``None`` when anybody may send it.

    Args:
        method: As it was sent; methods are in capitals, any other spelling is none of ours.
        path: As it is routed.

    >>> required_scope("GET", "/livez"), required_scope("POST", "/api/models/m/predict")
    (None, 'predict')
    >>> required_scope("DELETE", "/v1/tweets/1"), required_scope("get", "/metrics")
    ('admin', 'admin')
    """
    rule = rule_of(method, path)
    need: Need = rule.need if rule is not None else "admin"
    return None if need == "open" else need
