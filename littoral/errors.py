"""One small family of errors. Each has a stable code, says what an operator can do, and whether trying again can help.

docs/reference/errors.md lists the codes; it is generated from the classes. gRPC status codes are chosen in one place,
`cloud/littoral_cloud/api/errors.py`; exit codes of the commands are `FleetError.exit_code`.
"""

from __future__ import annotations

import errno
from typing import ClassVar, Self

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class FleetError(Exception):
    """Base of every error that Littoral raises on purpose.

    Args:
        message: what happened, naming the field and the value.
        hint: what the operator can do about it.
    """

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    @classmethod
    def with_code(cls, code: str, message: str) -> Self:
        """One that another process found, whose class has this code."""
        error = cls(message)
        error.code = code  # type: ignore[misc]  # on this one alone
        return error

    def as_dict(self) -> dict[str, str]:
        """For programs, as JSON values."""
        return {"code": self.code, "message": self.message, "hint": self.hint}


class BadInput(FleetError):
    """A value from outside is not what it must be."""

    code = "bad-input"
    exit_code = 2


class BadManifest(BadInput):
    """A manifest lacks a field or holds a wrong one."""

    code = "bad-manifest"


class BadData(BadInput):
    """A data set is truncated, empty, or not what it says it is."""

    code = "bad-data"


class Untrusted(FleetError):
    """A signature, certificate, fingerprint or digest is not what it should be."""

    code = "untrusted"
    exit_code = 3


class DigestMismatch(Untrusted):
    """Bytes do not have the digest under which they were asked for."""

    code = "digest-mismatch"
    retryable = True


class BadToken(Untrusted):
    """A join token is unknown, spent or expired."""

    code = "bad-token"


class NotAccepted(Untrusted):
    """The node is not, or no longer, part of this fleet."""

    code = "not-accepted"


class Revoked(NotAccepted):
    """An operator took the node out of the fleet: it serves what it has, and asks no more."""

    code = "revoked"


class WaitsForOperator(NotAccepted):
    """The node waits for an operator to accept it."""

    code = "waits"


class NotFound(FleetError):
    """There is nothing by that name."""

    code = "not-found"
    exit_code = 4


class Conflict(FleetError):
    """Another writer came first: read again, decide again."""

    code = "conflict"
    retryable = True
    exit_code = 5


class Changed(FleetError):
    """Somebody else has changed the thing since the caller read it; nothing was written."""

    code = "changed"
    exit_code = 5


class LostLease(Conflict):
    """Another coordinator holds the lease: all that this one decided is void."""

    code = "lost-lease"


class NoFit(FleetError):
    """No candidate is inside the budget; the message names the tightest limit."""

    code = "no-fit"
    exit_code = 6


class TooLarge(FleetError):
    """A message, blob or upload is over its limit."""

    code = "too-large"
    exit_code = 2


class NoSpace(FleetError):
    """The disk is full, or would be."""

    code = "no-space"
    retryable = True
    exit_code = 7


class Unavailable(FleetError):
    """The other side, Redis or a port cannot be had now."""

    code = "unavailable"
    retryable = True
    exit_code = 8


class RuntimeFailure(FleetError):
    """A model cannot be loaded or run by its runtime, or gives other answers than its manifest says."""

    code = "runtime-failure"
    exit_code = 9


def error_of(code: str, message: str, hint: str = "", *, otherwise: type[FleetError] = FleetError) -> FleetError:
    """The error that another process found.

    Args:
        otherwise: its kind where this process knows no error of that code.
    """
    kind = next((each for each in _kinds(FleetError) if each.code == code), otherwise)
    error = kind(message, hint=hint)
    error.code = code  # type: ignore[misc]  # on this one alone
    return error


def _kinds(base: type[FleetError]) -> list[type[FleetError]]:
    return [base, *(each for direct in base.__subclasses__() for each in _kinds(direct))]


def is_full(error: BaseException) -> bool:
    """Whether a disk, a quota or a limit on the size of files is what an error is about; libraries in Rust say it in words."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _FULL
    return any(f"os error {number})" in str(error) for number in _FULL)


def unwritten(what: str, error: BaseException, *, hint: str) -> FleetError:
    """What an error of writing becomes: NoSpace where the disk is full, else BadInput with this hint.

    Args:
        what: of what could not be written, with its path.
    """
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    words = f"{what} cannot be written: {why}"
    return NoSpace(words, hint="make room there") if is_full(error) else BadInput(words, hint=hint)
