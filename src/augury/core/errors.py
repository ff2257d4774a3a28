"""Every failure that a user can see, in one tree.

::

    AuguryError
    ├── InvalidInput            400  the request cannot be understood or does not fit the signature
    │   ├── MalformedBody            bytes that do not parse
    │   ├── WrongType                a value of another type than the signature's
    │   ├── ShapeMismatch            a tensor of another shape than the signature's
    │   ├── UnlikeRows               rows of one request that differ in the size of an open axis
    │   ├── MissingInput             an input that the signature names is not there
    │   └── UnknownInput             an input that the signature does not name
    ├── Unauthenticated         401  no credentials, or wrong ones
    ├── NotAllowed              403  credentials that do not reach so far
    ├── NotFound                404
    │   ├── ModelNotFound            no model of that name
    │   └── VersionNotFound          the model has no such version or label
    ├── Conflict                409  it clashes with what is there
    ├── TooLarge                413  over a limit that a setting states
    ├── Refused                 422  the model refuses this content
    ├── Overloaded              429  the queue or the quota is full; retry after a while
    ├── ClientGone              499  the client hung up before the answer
    ├── Internal                500  our fault
    │   └── RuntimeFailed            the model's own code or file failed
    ├── UpstreamFailed          502  a service that we asked (X, a feature source) failed
    ├── Unavailable             503  not ready, or draining
    │   └── ModelNotReady            the model is known but has no ready version
    ├── DeadlineExceeded        504  the caller's time was up
    └── OperatorError            —   told on the command line, never over the wire
        ├── InvalidPackage           a model package that cannot be served
        ├── InvalidSetting           a setting with an impossible value
        ├── PortInUse                another process listens there
        └── StoreCorrupt             a store's file cannot be read

An error names the thing, the value and the limit.  ``code`` is stable and part of the API: each
dialect maps it to a status and a shape of its own, and clients may switch on it.
"""

from __future__ import annotations

from typing import Any, ClassVar


class AuguryError(Exception):
    """Base of all errors that a person sees.

    Args:
        message: One sentence that names the thing, the value and the limit, and what to do.
        **details: The same facts for programs; JSON-compatible values only.
    """

    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Internal error"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    @property
    def retry_after_s(self) -> float | None:
        """Seconds after which a retry makes sense, or ``None`` when nobody can tell."""
        value = self.details.get("retry_after_s")
        return None if value is None else float(value)


class InvalidInput(AuguryError):
    """The request cannot be understood, or does not fit the model's signature."""

    code, title, status = "invalid_input", "Invalid input", 400


class MalformedBody(InvalidInput):
    """The body is not what its format promises (broken JSON, invalid UTF-8, lying lengths)."""

    code, title = "malformed_body", "Malformed body"


class WrongType(InvalidInput):
    """A value is of another type than the signature's."""

    code, title = "wrong_type", "Wrong type"


class ShapeMismatch(InvalidInput):
    """A tensor has another shape than the signature's; ``-1`` in *want* stands for any size."""

    code, title = "shape_mismatch", "Shape mismatch"

    def __init__(self, *, input: str, got: tuple[int, ...], want: tuple[int, ...]) -> None:
        super().__init__(
            f"input {input!r} has shape {list(got)}, the model wants {list(want)} "
            "(-1: any size, the first axis is the batch)",
            input=input,
            got=list(got),
            want=list(want),
        )


class UnlikeRows(InvalidInput):
    """Rows of one request differ in the size of an open axis; each fits in a request of its own."""

    code, title = "unlike_rows", "Unlike rows"

    def __init__(self, *, input: str, got: tuple[int, ...], want: tuple[int, ...]) -> None:
        super().__init__(
            f"input {input!r} has shape {list(got)}, the rows before it {list(want)}; rows of one "
            "request are alike, send the others in another",
            input=input,
            got=list(got),
            want=list(want),
        )


class MissingInput(InvalidInput):
    """An input that the signature names is not in the request."""

    code, title = "missing_input", "Missing input"


class UnknownInput(InvalidInput):
    """The request holds an input that the signature does not name."""

    code, title = "unknown_input", "Unknown input"


class Unauthenticated(AuguryError):
    """No credentials, or wrong ones."""

    code, title, status = "unauthenticated", "Credentials needed", 401


class NotAllowed(AuguryError):
    """The credentials do not reach so far."""

    code, title, status = "not_allowed", "Not allowed", 403


class NotFound(AuguryError):
    """Nothing of that name is here."""

    code, title, status = "not_found", "Not found", 404


class ModelNotFound(NotFound):
    """No model of that name is in the repository."""

    code, title = "model_not_found", "Model not found"

    def __init__(self, name: str, known: tuple[str, ...] = ()) -> None:
        there = f"; here are: {', '.join(known[:20])}" if known else "; none is loaded"
        super().__init__(f"no model {name!r}{there}", model=name)


class VersionNotFound(NotFound):
    """The model is here, this version or label of it is not."""

    code, title = "version_not_found", "Version not found"

    def __init__(self, name: str, wanted: str, known: tuple[str, ...] = ()) -> None:
        there = (
            f"here are: {', '.join(known)}" if known else f"/api/models/{name} lists what it has"
        )
        super().__init__(f"model {name!r} has no {wanted}; {there}", model=name, wanted=wanted)


class Conflict(AuguryError):
    """It clashes with what is there."""

    code, title, status = "conflict", "Conflict", 409


class TooLarge(AuguryError):
    """A body, row count or text is over its limit; the message names the setting."""

    code, title, status = "too_large", "Too large", 413


class Refused(AuguryError):
    """The input is well-formed, but the model refuses its content."""

    code, title, status = "refused", "Refused by the model", 422


class Overloaded(AuguryError):
    """More work waits than the limit allows."""

    code, title, status, retryable = "overloaded", "Overloaded", 429, True


class ClientGone(AuguryError):
    """The client hung up before its answer was ready."""

    code, title, status = "client_gone", "Client closed the request", 499


class Internal(AuguryError):
    """Our own fault; the message carries nothing of the request."""


class RuntimeFailed(Internal):
    """The model's own code or file failed on this input."""

    code, title = "runtime_failed", "The model failed"


class UpstreamFailed(AuguryError):
    """A service that we had to ask did not answer as it should."""

    code, title, status, retryable = "upstream_failed", "Upstream failed", 502, True


class Unavailable(AuguryError):
    """Not ready yet, or draining."""

    code, title, status, retryable = "unavailable", "Unavailable", 503, True


class ModelNotReady(Unavailable):
    """The model is known, but none of its versions is ready."""

    code, title = "model_not_ready", "Model not ready"


class DeadlineExceeded(AuguryError):
    """The time that the caller gave is up; the work was dropped, not finished in secret."""

    code, title, status, retryable = "deadline_exceeded", "Deadline exceeded", 504, True


class OperatorError(AuguryError):
    """For the person at the command line: printed as one line, without a traceback."""

    code, title = "operator_error", "Cannot go on"


class InvalidPackage(OperatorError):
    """A model package cannot be served; *path* and *line* tell where.

    Args:
        message: What is wrong and what is allowed there.
        path: File or folder at fault.
        line: Line in that file, counted from 1, when one is at fault.
    """

    code, title = "invalid_package", "Invalid model package"

    def __init__(self, message: str, *, path: str, line: int | None = None) -> None:
        where = f"{path}:{line}" if line else path
        super().__init__(f"{where}: {message}", path=path, line=line)
        self.fault = message


class InvalidSetting(OperatorError):
    """A setting has an impossible value."""

    code, title = "invalid_setting", "Invalid setting"


class PortInUse(OperatorError):
    """Another process listens on the port."""

    code, title = "port_in_use", "Port in use"


class StoreCorrupt(OperatorError):
    """A store's file cannot be read as what it should be."""

    code, title = "store_corrupt", "Store corrupt"
