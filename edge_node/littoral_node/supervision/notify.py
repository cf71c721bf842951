"""Messages to systemd, which show it that this agent is alive: sd_notify(3), a few lines on a datagram socket.

    READY=1      once requests are answered
    WATCHDOG=1   twice in each of the unit's WatchdogSec, only after this process has answered a request of its own
    STATUS=...   what is served, with each of them
    STOPPING=1   when it begins to drain

Without NOTIFY_SOCKET in the environment, as in a container or a shell, nothing is sent or checked.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence

from littoral.transport import asked_at
from littoral_node.supervision.log import Log

_CHECK_S = 5.0
_UNWATCHED_S = 60.0
_LARGEST_REPLY = 4096


class Notifier:
    """Args:
    address: of the socket: a path, or "@name" for one in the abstract namespace; empty: no service manager listens.
    watchdog_s: the unit's WatchdogSec; 0: it has none.
    """

    def __init__(self, address: str, watchdog_s: float = 0.0) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_s = watchdog_s
        self.lost = 0  # messages that could not be sent

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str], pid: int) -> Notifier:
        """Takes the variables out, so that no child speaks for its parent."""
        address = environment.pop("NOTIFY_SOCKET", "")
        period, of_pid = environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", "")
        ours = period.isdecimal() and of_pid in ("", str(pid))
        return cls(address, int(period) / 1e6 if ours else 0.0)

    def __call__(self, *messages: str) -> None:
        """Sends messages like "READY=1". Never raises: a manager that is being restarted is no reason to stop serving."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.setblocking(False)
                channel.sendto("\n".join(messages).encode(), self._address)
        except OSError:
            self.lost += 1

    async def keep_alive(self, alive: Callable[[], Awaitable[str]], status: Callable[[], str], log: Log) -> None:
        """Until it is cancelled; does nothing without a service manager.

        Args:
            alive: "" where requests are answered, else what is wrong; may hang.
            status: one line.
        """
        if not self._address:
            await asyncio.Event().wait()
        period = self.watchdog_s or _UNWATCHED_S
        while True:
            try:
                async with asyncio.timeout(min(_CHECK_S, period / 4)):
                    wrong = await alive()
            except TimeoutError:
                wrong = "a request of its own was not answered in time"
            if wrong:  # systemd ends a process that goes on like this, and starts it again
                log("watchdog-withheld", detail=wrong)
            else:
                self("WATCHDOG=1", f"STATUS={status()}")
            await asyncio.sleep(period / 4 if wrong else period / 2)


def status_line(served: Mapping[str, str], problems: Sequence[str], *, connected: bool) -> str:
    """One line for the service manager. `served`: name of the artifact by model."""
    models = ", ".join(f"{model} ({artifact})" for model, artifact in served.items()) or "nothing"
    return "; ".join([f"serves {models}", f"the cloud is {'there' if connected else 'away'}", *problems])


async def answers(host: str, port: int, *, tls: bool = False) -> str:
    """Whether a node answers GET /v2/health/live here with 200: "" or what it did instead."""
    reached = asked_at(host)
    try:
        reader, writer = await asyncio.open_connection(reached, port, ssl=_unchecked() if tls else None)
    except OSError as error:
        return f"{reached}:{port}: {error.strerror or error}"
    try:
        writer.write(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        await writer.drain()
        reply = await reader.read(_LARGEST_REPLY)
    except OSError as error:
        return f"{reached}:{port}: {error.strerror or error}"
    finally:
        writer.close()
    line = reply.split(b"\r\n", 1)[0].decode("latin-1")
    return "" if line.split(" ")[1:2] == ["200"] else f"{reached}:{port}: answered {line[:80]!r}"


def _unchecked() -> ssl.SSLContext:
    """It is this very process that is asked, and whether it answers that matters."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
