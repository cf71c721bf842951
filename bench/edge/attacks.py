"""A health probe beside clients that want to starve everybody else, and what the agent's memory is when they have gone.

Each attack runs in a process of its own for some seconds, again and again; the probe opens a connection of its own each time, as
a supervisor does. The longest it ever waits counts. An attack alone:

    python -m bench.edge.attacks NAME PORT SECONDS
"""

from __future__ import annotations

import gzip
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from bench.edge.fleet import MODEL, Agent, agent, rss_mb
from bench.factory.tables import Part
from bench.report import Figure, Table

ROUNDS, SECONDS, SETTLE_S = 3, 6.0, 5.0
EACH_S = 0.02
PATIENCE_S = 30.0
BODY_BYTES = 8 * 1024 * 1024
PATH = f"/v2/models/{MODEL}/infer"


def head(*headers: str) -> bytes:
    return "\r\n".join([f"POST {PATH} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


def whole(body: bytes, *headers: str) -> bytes:
    return head(*headers, f"Content-Length: {len(body)}") + body


def json_body(data: bytes, examples: int) -> bytes:
    return b'{"inputs":[{"name":"x","datatype":"FP32","shape":[%d,1,28,28],"data":%b}]}' % (examples, data)


ATTACKS: Mapping[str, tuple[int, Callable[[], bytes]]] = {
    "100,000 requests in one write": (1, lambda: b"GET /v2 HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100_000),
    "bodies in chunks of 2 bytes": (8, lambda: head("Transfer-Encoding: chunked") + b"2\r\n[]\r\n" * 1_000_000),
    "8 MB of empty lists": (3, lambda: whole(b'{"inputs":[' + b"[]," * 2_700_000 + b"[]]}")),
    "8 MB of numbers": (3, lambda: whole(json_body(b"[" + b"0.125," * 1_300_000 + b"1]", 1))),
    "lists one deep in another": (3, lambda: whole(json_body(b"[" * 4_000_000 + b"]" * 4_000_000, 1))),
    "8 MB of brackets in 8 KB of gzip": (8, lambda: whole(gzip.compress(b"[" * BODY_BYTES), "Content-Encoding: gzip")),
    "60 bodies of 8 MiB, held back": (60, lambda: head(f"Content-Length: {BODY_BYTES}") + bytes(BODY_BYTES - 2)),
}
"""By name: how many connections, and what each sends, over and over; of the last one the last bytes never come."""
HELD = "60 bodies of 8 MiB, held back"


def attack(name: str, port: int, seconds: float) -> None:
    """Sends it on every connection, reads and forgets what comes, begins again where a connection ends or all was answered."""
    connections, make = ATTACKS[name]
    sent, until = make(), time.perf_counter() + seconds
    poll = selectors.DefaultSelector()
    left: dict[socket.socket, memoryview] = {}

    def begin() -> None:
        made = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        made.setblocking(False)
        left[made] = memoryview(sent)
        poll.register(made, selectors.EVENT_READ | selectors.EVENT_WRITE)

    def end(ended: socket.socket) -> None:
        poll.unregister(ended)
        ended.close()
        del left[ended]

    while (now := time.perf_counter()) < until:
        while len(left) < connections:
            begin()
        for key, events in poll.select(until - now):
            ours = key.fileobj
            assert isinstance(ours, socket.socket)
            try:
                if events & selectors.EVENT_READ and not ours.recv(1 << 20):
                    raise ConnectionResetError
                if events & selectors.EVENT_WRITE and left[ours]:
                    left[ours] = left[ours][ours.send(left[ours]) :]
                    if not left[ours] and name != HELD:
                        left[ours] = memoryview(sent)
                elif events & selectors.EVENT_WRITE:
                    poll.modify(ours, selectors.EVENT_READ)
            except BlockingIOError:
                continue
            except OSError:
                end(ours)
    for each in tuple(left):
        end(each)


@contextmanager
def attacking(name: str, port: int, seconds: float) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "bench.edge.attacks", name, str(port), str(seconds)]
    with subprocess.Popen(command) as process:
        try:
            yield process
        finally:
            process.terminate()


def waited(port: int) -> float:
    """Seconds until a new connection is told that the node lives."""
    began = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as probe:
        probe.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        if not probe.recv(65_536).startswith(b"HTTP/1.1 200"):
            raise RuntimeError("the node does not live")
    return time.perf_counter() - began


def probed(port: int, seconds: float, going: Callable[[], bool]) -> list[float]:
    """How long each probe waited, one after another, as long as the attack goes on."""
    found, until = [], time.perf_counter() + seconds
    while time.perf_counter() < until and going():
        found.append(waited(port))
        time.sleep(EACH_S)  # noqa: TID251 - a supervisor that asks again
    return found


def beside(name: str, running: Agent, seconds: float) -> tuple[list[float], float]:
    """How long probes waited beside an attack, and the most memory that the agent had meanwhile, MB."""
    peak = 0.0
    with attacking(name, running.http, seconds) as process:

        def going() -> bool:
            nonlocal peak
            peak = max(peak, rss_mb(running.pid))
            return process.poll() is None

        return probed(running.http, seconds + PATIENCE_S, going), peak


def made(*, quick: bool = False) -> Part:
    began = time.perf_counter()
    rounds, seconds = (1, 2.0) if quick else (ROUNDS, SECONDS)
    waits: dict[str, list[float]] = {name: [] for name in ATTACKS}
    peaks = dict.fromkeys(ATTACKS, 0.0)
    after = []
    with agent("node-attacks") as running:
        quiet = probed(running.http, seconds, lambda: True)
        for _ in range(rounds):
            for name in ATTACKS:
                found, peak = beside(name, running, seconds)
                waits[name].append(max(found) * 1_000)
                peaks[name] = max(peaks[name], peak)
                if name == HELD:
                    time.sleep(SETTLE_S)  # noqa: TID251 - what was held is given back in the next seconds
                    after.append(round(rss_mb(running.pid), 1))
    rows = [("nothing", round(max(quiet) * 1_000, 1), None)]
    rows += [(name, round(max(waits[name]), 1), round(peaks[name])) for name in ATTACKS]
    worst = tuple(round(max(waits[name][i] for name in ATTACKS), 1) for i in range(rounds))
    table = Table(
        "A health probe beside clients that would starve it",
        ("beside", "the probe waited at most, ms", "the agent's memory at most, MB"),
        rows,
        (f"{rounds} rounds of {seconds:g} s each; attackers, agent and probe share the cores.",),
    )
    figures = {
        "starved_probe_ms": Figure(worst, "ms", "lower", "the longest wait of a health probe beside the worst attack, by round"),
        "rss_after_held_bodies_mb": Figure(
            tuple(after), "MB", "lower", f"{SETTLE_S:g} s after 60 bodies of 8 MiB were held back"
        ),
    }
    return Part(table, figures, time.perf_counter() - began)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        attack(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
