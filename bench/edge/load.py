"""A client that costs little, so that one core of two is enough for it: raw sockets, one request repeated, its answer only
counted. In a process of its own:

    python -m bench.edge.load http|grpc PORT CONNECTIONS SECONDS < request

`request` is what goes over the wire for HTTP (the whole of it), for gRPC the ModelInferRequest. Each connection sends its next
request when it has the answer to the last. Prints JSON: {"seconds", "latencies": [seconds, ..], "failed"}.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import Protocol

RECEIVED = 1 << 18
FRAME = 9
DATA, HEADERS, RST, SETTINGS, PING, GOAWAY, WINDOW = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS = 1, 1, 4
PATH = "/inference.GRPCInferenceService/ModelInfer"
WIDE = (1 << 31) - 1
GIVE_UP_S = 30.0


class Connection(Protocol):
    socket: socket.socket

    def send(self) -> None: ...

    def received(self, data: bytes) -> bool | None:
        """True: the answer is whole and right. False: it is wrong. None: more is to come."""
        ...


class Http:
    """HTTP/1.1, kept alive."""

    def __init__(self, port: int, request: bytes) -> None:
        self.socket = connected(port)
        self._request = request
        self._buffer = b""

    def send(self) -> None:
        self.socket.sendall(self._request)

    def received(self, data: bytes) -> bool | None:
        self._buffer = self._buffer + data if self._buffer else data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return None
        lower = self._buffer[:head].lower()
        at = lower.find(b"content-length:")
        length = int(lower[at + 15 :].split(b"\r\n", 1)[0])
        if len(self._buffer) < head + 4 + length:
            return None
        right = self._buffer.startswith(b"HTTP/1.1 200")
        self._buffer = b""
        return right


class Grpc:
    """HTTP/2 (RFC 9113) with literal headers (RFC 7541, 6.2.2), as far as one call at a time needs it."""

    def __init__(self, port: int, message: bytes) -> None:
        self.socket = connected(port)
        headers = b"".join(
            b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
            for name, value in (
                (":method", "POST"), (":scheme", "http"), (":path", PATH), (":authority", f"127.0.0.1:{port}"),
                ("te", "trailers"), ("content-type", "application/grpc"),
            )
        )  # fmt: skip
        self._headers = headers
        self._message = b"\0" + struct.pack(">I", len(message)) + message
        self._stream = -1
        self._buffer = b""
        self._answered = False
        wide = struct.pack(">HI", 4, WIDE)
        self.socket.sendall(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            + frame(SETTINGS, 0, 0, wide)
            + frame(WINDOW, 0, 0, struct.pack(">I", WIDE - 65_535))
        )

    def send(self) -> None:
        self._stream += 2
        self._answered = False
        parts = [self._message[at : at + 16_384] for at in range(0, len(self._message), 16_384)]
        flags = [0] * (len(parts) - 1) + [END_STREAM]
        frames = [frame(DATA, flag, self._stream, part) for flag, part in zip(flags, parts, strict=True)]
        self.socket.sendall(b"".join([frame(HEADERS, END_HEADERS, self._stream, self._headers), *frames]))

    def received(self, data: bytes) -> bool | None:
        buffer = self._buffer + data if self._buffer else data
        at, done = 0, None
        while len(buffer) - at >= FRAME:
            length = int.from_bytes(buffer[at : at + 3], "big")
            if len(buffer) - at < FRAME + length:
                break
            kind, flags, stream = buffer[at + 3], buffer[at + 4], int.from_bytes(buffer[at + 5 : at + 9], "big")
            payload, at = buffer[at + FRAME : at + FRAME + length], at + FRAME + length
            if kind == DATA and stream == self._stream:
                self._answered = True
            if stream == self._stream and (kind == RST or (kind in (DATA, HEADERS) and flags & END_STREAM)):
                done = self._answered and kind == HEADERS  # an error comes without data
            elif kind == SETTINGS and not flags & ACK:
                self.socket.sendall(frame(SETTINGS, ACK, 0, b""))
            elif kind == PING and not flags & ACK:
                self.socket.sendall(frame(PING, ACK, 0, payload))
            elif kind == GOAWAY:
                raise ConnectionError(f"the server ends the connection: {payload[8:]!r}")
        self._buffer = buffer[at:]
        return done


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def connected(port: int) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), timeout=GIVE_UP_S)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


KINDS: dict[str, Callable[[int, bytes], Connection]] = {"http": Http, "grpc": Grpc}


def load(make: Callable[[], Connection], connections: int, seconds: float) -> tuple[list[float], int, float]:
    """(latencies in seconds, answers that were not right, seconds that it took)"""
    open_now = {made.socket.fileno(): made for made in (make() for _ in range(connections))}
    poll = select.epoll()
    sent: dict[int, float] = {}
    latencies: list[float] = []
    failed = 0
    began = now = time.perf_counter()
    for number, connection in open_now.items():
        poll.register(number, select.EPOLLIN)
        sent[number] = time.perf_counter()
        connection.send()
    until, waiting = began + seconds, connections
    while waiting:
        events = poll.poll(GIVE_UP_S)
        if not events:
            failed += waiting
            break
        for number, _ in events:
            connection = open_now[number]
            data = connection.socket.recv(RECEIVED)
            right = connection.received(data) if data else False
            if right is None:
                continue
            now = time.perf_counter()
            latencies.append(now - sent[number])
            failed += not right
            if now < until and data:
                sent[number] = now
                connection.send()
            else:
                waiting -= 1
                poll.unregister(number)
    for connection in open_now.values():
        connection.socket.close()
    return latencies, failed, now - began


def main() -> None:
    kind, port, connections, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    request = sys.stdin.buffer.read()
    latencies, failed, took = load(lambda: KINDS[kind](port, request), connections, seconds)
    json.dump({"seconds": took, "latencies": latencies, "failed": failed}, sys.stdout)


if __name__ == "__main__":
    main()
