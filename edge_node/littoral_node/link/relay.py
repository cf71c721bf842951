"""TLS for a machine whose clock is wrong. gRPC compares a server's certificate with the machine's clock, and takes no
other time: in 1970 no certificate is valid yet. So gRPC speaks to a socket of this process, and the relay behind it speaks TLS:
with every check of the chain, the name and the key, and the dates compared with `NodeClock`.

Only used while the clock is known to be wrong, and to ask what time it is. The socket is in a folder that no other user can open.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from littoral.transport import split_address

if TYPE_CHECKING:
    import ssl

log = logging.getLogger(__name__)

NO_CHECK_TIME = 0x20_0000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL, which the module ssl has no name for."""
_CHUNK = 65_536
_OPEN_S = 10.0
_BACKLOG = 32


@dataclass(frozen=True, slots=True)
class RelayedAddress:
    """What to connect to. PEM; `key` None: without a certificate of ours. `now` None: dates count for nothing, as what comes is
    signed by itself."""

    address: str
    authority: bytes
    key: bytes | None
    certificate: bytes | None
    now: Callable[[], float] | None


class TlsRelay:
    """Of one process; listens on a socket for each address, and for each certificate of ours."""

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._targets: dict[RelayedAddress, str] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    def target(self, to: RelayedAddress) -> str:
        """For gRPC, without TLS. Raises OSError where no socket can be made."""
        if to not in self._targets:
            self._folder = self._folder or tempfile.TemporaryDirectory(prefix="littoral-")
            place = Path(self._folder.name) / str(len(self._targets))
            listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listening.bind(str(place))
            listening.listen(_BACKLOG)
            listening.setblocking(False)
            self._targets[to] = f"unix:{place}"
            self._start(self._accept(listening, to))
        return self._targets[to]

    async def close(self) -> None:
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._folder is not None:
            self._folder.cleanup()

    def _start(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listening: socket.socket, to: RelayedAddress) -> None:
        loop = asyncio.get_running_loop()
        with listening:
            while True:
                near, _ = await loop.sock_accept(listening)
                self._start(self._relay(near, to))

    async def _relay(self, near: socket.socket, to: RelayedAddress) -> None:
        import ssl

        reader, writer = await asyncio.open_unix_connection(sock=near)
        try:
            async with asyncio.timeout(_OPEN_S):
                far_reader, far_writer = await _far(to)
        except (OSError, ssl.SSLError, TimeoutError, ValueError) as error:
            log.info("relay to %s: %s", to.address, error)
            writer.close()
            return
        ways = [asyncio.ensure_future(_pump(reader, far_writer)), asyncio.ensure_future(_pump(far_reader, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for each in (writer, far_writer):
                with suppress(OSError, ssl.SSLError):
                    each.transport.abort()


async def _far(to: RelayedAddress) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Raises ValueError where the certificate's dates are wrong."""
    import ssl

    host, port = split_address(to.address, "address")
    reader, writer = await asyncio.open_connection(host, port, ssl=_context(to), server_hostname=host)
    if to.now is not None:
        shown, now = writer.get_extra_info("ssl_object").getpeercert(), to.now()
        begins, ends = (ssl.cert_time_to_seconds(shown[name]) for name in ("notBefore", "notAfter"))
        if not begins <= now <= ends:
            writer.transport.abort()
            raise ValueError(f"its certificate is good from {shown['notBefore']} to {shown['notAfter']}")
    return reader, writer


def _context(to: RelayedAddress) -> ssl.SSLContext:
    import ssl

    context = ssl.create_default_context(cadata=to.authority.decode("ascii"))
    context.verify_flags |= NO_CHECK_TIME
    context.set_alpn_protocols(["h2"])
    if to.key is not None and to.certificate is not None:
        with tempfile.NamedTemporaryFile(prefix="littoral-") as file:  # 0600, and gone at once: ssl reads from files alone
            file.write(to.key + to.certificate)
            file.flush()
            context.load_cert_chain(file.name)
    return context


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
