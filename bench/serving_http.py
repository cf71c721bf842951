"""Requests a second and latency of a node's REST interface, from a process of its own.

    python bench/serving_http.py HOST:PORT MODEL [--binary]

Each connection sends its next request when it has the answer to the last; the input is one raw image. `--binary` sends and asks
for tensors in binary form.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
import urllib.request
from typing import Any

import numpy as np


class Connection(asyncio.Protocol):
    """One keep-alive connection that repeats one request."""

    def __init__(self, request: bytes, until: float, taken: list[float], failed: list[bytes]) -> None:
        self._request, self._until, self._taken, self._failed = request, until, taken, failed
        self._buffer = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._began = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, blank, body = self._buffer.partition(b"\r\n\r\n")
        if not blank:
            return
        length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        if len(body) < length:
            return
        now = time.perf_counter()
        self._taken.append(now - self._began)
        if not head.startswith(b"HTTP/1.1 200"):
            self._failed.append(self._buffer)
        self._buffer = b""
        if now < self._until:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self._failed.append(str(exc).encode())
        if not self.done.done():
            self.done.set_result(None)


def request_for(address: str, model: str, *, binary: bool) -> bytes:
    """The whole HTTP request, for an input as the model's metadata describes it."""
    with urllib.request.urlopen(f"http://{address}/v2/models/{model}", timeout=10) as answer:
        given = json.load(answer)["inputs"][0]
    shape = [1, *given["shape"][1:]]
    raw = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    tensor: dict[str, Any] = {"name": given["name"], "shape": shape, "datatype": "UINT8"}
    body: dict[str, Any] = {"inputs": [tensor]}
    if binary:
        tensor["parameters"] = {"binary_data_size": raw.nbytes}
        body["parameters"] = {"binary_data_output": True}
    else:
        tensor["data"] = raw.ravel().tolist()
    head = json.dumps(body, separators=(",", ":")).encode()
    whole = head + raw.tobytes() if binary else head
    extra = f"Inference-Header-Content-Length: {len(head)}\r\n" if binary else ""
    line = f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: {address}\r\n{extra}Content-Length: {len(whole)}\r\n\r\n"
    return line.encode() + whole


async def load(address: str, request: bytes, connections: int, seconds: float) -> tuple[list[float], list[bytes], float]:
    """(latencies in seconds, answers that were not 200, seconds that it took)"""
    host, _, port = address.rpartition(":")
    taken: list[float] = []
    failed: list[bytes] = []
    began = time.perf_counter()
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(lambda: Connection(request, began + seconds, taken, failed), host, int(port))
        for _ in range(connections)
    ]
    await asyncio.gather(*(protocol.done for _, protocol in made))
    return taken, failed, time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", help="HOST:PORT")
    parser.add_argument("model")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--binary", action="store_true")
    given = parser.parse_args()
    request = request_for(given.address, given.model, binary=given.binary)
    for connections in given.connections:
        taken, failed, seconds = asyncio.run(load(given.address, request, connections, given.seconds))
        p50, p99 = (float(q) * 1_000 for q in np.quantile(taken, (0.5, 0.99)))
        rate = len(taken) / seconds
        print(f"{connections} connections: {rate:.0f} requests/s, p50 {p50:.2f} ms, p99 {p99:.2f} ms, failed {len(failed)}")


if __name__ == "__main__":
    main()
