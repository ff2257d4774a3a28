"""Commands that change something, in the same audit file as the server's calls.

As there: written down first, refused when that fails, and the outcome is a second line with the same
``call``.  Without a file nothing is written, since a command's log is gone with its terminal.
"""

from __future__ import annotations

import getpass
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

from augury.app.access import audit_of
from augury.app.settings import Settings
from augury.core.clock import SystemClock
from augury.core.errors import OperatorError
from augury.edge.auth.audit import Actor
from augury.observe.logs import get_logger
from augury.stores.registry import masked

_log = get_logger(__name__)


def write_down(settings: Settings, event: str, **fields: Any) -> None:
    """Write *event* into the audit file, with who runs the command.

    Raises:
        OperatorError: It could not be written, so what it tells of must not happen.
    """
    try:
        with closing(audit_of(settings, SystemClock())) as audit:
            audit.write(event, Actor(f"cli:{_user()}"), **fields)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OperatorError(
            f"the audit file {str(settings.audit_file)!r} cannot be written, so nothing was changed: "
            f"{reason}"
        ) from error


@contextmanager
def written_down(settings: Settings, action: str, targets: Mapping[str, Any]) -> Iterator[None]:
    """The block is a command that changes something: begun only if it is written down, then its end.

    Args:
        settings: Name the file.
        action: The command: "tweets forget".
        targets: What it is done to, besides the store.

    Raises:
        OperatorError: It could not be written; the block is not entered.
    """
    call = secrets.token_hex(8)
    about = {"store": masked(settings.store), **targets}
    write_down(settings, "command begun", action=action, targets=about, call=call)
    outcome = "failed"
    try:
        yield
        outcome = "done"
    finally:
        try:
            write_down(settings, "command ended", action=action, call=call, outcome=outcome)
        except OperatorError as error:
            # What was done is done.
            _log.error(
                "the audit file cannot be written", event_lost="command ended", reason=str(error)
            )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no such user, as in a container
        return f"uid {os.getuid()}"
