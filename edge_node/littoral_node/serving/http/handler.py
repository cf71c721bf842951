"""What a connection asks of the server that owns it: a Protocol, so that this package knows no server."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from littoral_node.serving.http.http1 import Head


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Seconds, and bytes of a body."""

    head_s: float = 10.0
    body_s: float = 10.0
    idle_s: float = 75.0  # between two requests
    write_s: float = 30.0  # for a client to read its answer
    body_bytes: int = 8 * 1024 * 1024
    uncounted_bytes: int = 64 * 1024  # of each body; larger ones take memory by Handler.reserve


class ClientConnection(Protocol):
    """A connection, as its server sees it."""

    def overdue(self, now: float) -> None:
        """Ends what has waited too long. Called every second or so."""
        ...

    def close(self) -> None:
        """At once where nothing is under way, else behind the answer."""
        ...

    def abort(self) -> None: ...


class Handler(Protocol):
    """The server. `date`: the header's value, of this second. `usual`: the head of the most frequent answer, up to the length of
    its body. `errors`: what `begin` and `reserve` raise to refuse a request; they go to `refusal`."""

    date: str
    usual: bytes

    @property
    def errors(self) -> tuple[type[Exception], ...]: ...

    def admit(self, connection: ClientConnection) -> bool:
        """False: there are too many connections."""
        ...

    def gone(self, connection: ClientConnection) -> None: ...

    def drains(self, connection: ClientConnection) -> bool:
        """Whether to read and drop what a client still sends after its request was refused, so that it reads the answer."""
        ...

    def begin(self, head: Head, *, known: bool) -> Callable[[], None] | None:
        """Before a body is read. Returns what ends the work that it began. Raises one of `errors` to refuse the request.

        Args:
            known: it accepted this very head before, on this connection.
        """
        ...

    def reserve(self, size: int, reserved: int) -> int:
        """Memory for a body of which `size` bytes are here and `reserved` bytes are reserved. Returns what is reserved now.

        Raises one of `errors` where there is not enough.
        """
        ...

    def release(self, reserved: int) -> None:
        """Gives back what `reserve` returned."""
        ...

    def answer(self, head: Head, body: bytes | bytearray) -> Coroutine[Any, Any, Reply]:
        """Raises nothing but CancelledError."""
        ...

    def refusal(self, error: Exception, head: Head | None) -> Reply:
        """Args:
        error: an HttpError, or one of `errors`.
        head: of the refused request; None: its head cannot be read.
        """
        ...

    def coalesce(self, send: Callable[[], None]) -> bool:
        """See Coalescer.coalesce."""
        ...

    def later(self, resume: Callable[[], None]) -> None:
        """See FairQueue.later."""
        ...
