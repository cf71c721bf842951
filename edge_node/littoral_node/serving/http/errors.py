"""What this package refuses. Each error has the HTTP status of its answer, and a code that does not change."""

from __future__ import annotations

from typing import ClassVar


class HttpError(Exception):
    """Args:
    message: what is wrong, with the part of the request and its value.
    hint: what the client can do.
    """

    status: ClassVar[int] = 400
    code: ClassVar[str] = "bad-input"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class BadRequest(HttpError):
    """The request breaks the protocol."""


class BodyTooLarge(HttpError):
    """The body has more bytes than the limit."""

    status = 413
    code = "too-large"


class RequestTimeout(HttpError):
    """The rest of a request does not arrive in time. Without a limit it would occupy a connection for ever."""

    status = 408
    code = "too-slow"


class BadExpectation(HttpError):
    """A request expects something else than 100-continue."""

    status = 417
    code = "bad-expectation"


class UnknownCoding(BadRequest):
    """The content-encoding of a body is not supported."""

    status = 415
    code = "unknown-coding"


class UnknownTransfer(BadRequest):
    """The transfer-encoding of a request is not supported."""

    status = 501
    code = "unknown-transfer"
