"""What an enrolled agent writes to the disk while it serves: ten minutes at one request a second, its cloud connected.

/proc/PID/io counts what the process caused to be sent to the storage layer (write_bytes), what it took back before it got
there (cancelled_write_bytes), and what it passed to write(2), pipes and sockets too (wchar). The files are looked at as well:
how many bytes those have that changed.
"""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import httpx
import numpy as np

from bench.edge.fleet import MODEL, agent, image_request
from bench.factory.tables import Part
from bench.report import Figure, Table

SECONDS, SETTLE_S = 600, 30
DAY_S = 86_400


def made(*, quick: bool = False) -> Part:
    began = time.perf_counter()
    seconds, settle = (15, 2) if quick else (SECONDS, SETTLE_S)
    with agent("node-disk") as running:
        time.sleep(settle)  # noqa: TID251 - what the start and the first update wrote is over
        before, files = counters(running.pid), sizes(running.folder)
        at = time.time()  # noqa: TID251 - files say when they were changed
        asked = asyncio.run(ask(running.http, seconds))
        after = counters(running.pid)
        changed = [path for path, (size, modified) in sizes(running.folder).items() if modified >= at and path.is_file()]
        touched = sum(path.stat().st_size for path in changed)
    written = after["write_bytes"] - before["write_bytes"]
    a_day = written / seconds * DAY_S / 1e6
    names = ", ".join(sorted(str(path.relative_to(running.folder)) for path in changed)) or "none"
    rows = [
        ("write_bytes", written, round(a_day, 3)),
        ("cancelled_write_bytes", after["cancelled_write_bytes"] - before["cancelled_write_bytes"], None),
        ("wchar, sockets too", after["wchar"] - before["wchar"], None),
        ("files that changed, bytes", touched, None),
        ("growth of the folder, bytes", total(sizes(running.folder)) - total(files), None),
    ]
    if asked < seconds:
        raise RuntimeError(f"{seconds - asked} of {seconds} requests were not answered")
    table = Table(
        "What an agent writes while it serves",
        ("counter", "in the run", "MB a day"),
        rows,
        (f"{asked} requests in {seconds} s, connected to its cloud, a report every few seconds. Files that changed: {names}.",),
    )
    note = f"/proc/PID/io write_bytes over {seconds} s at one request a second, times {DAY_S / seconds:g}"
    return Part(table, {"written_mb_per_day": Figure.of(round(a_day, 3), "MB", "lower", note)}, time.perf_counter() - began)


async def ask(port: int, seconds: int) -> int:
    """One image a second; gives how many were answered."""
    rng, answered = np.random.default_rng(1), 0
    body = image_request(port, np.zeros((1, 1, 28, 28), np.uint8))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        loop = asyncio.get_running_loop()
        began = loop.time()
        for second in range(seconds):
            await asyncio.sleep(max(0.0, began + second - loop.time()))
            body["inputs"][0]["data"] = rng.integers(0, 256, 28 * 28, np.uint8).tolist()
            answer = await client.post(f"/v2/models/{MODEL}/infer", content=json.dumps(body))
            answered += answer.status_code == 200
        await asyncio.sleep(max(0.0, began + seconds - loop.time()))
    return answered


def counters(pid: int) -> dict[str, int]:
    return {name: int(value) for name, value in (line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())}


def sizes(folder: Path) -> dict[Path, tuple[int, float]]:
    """(bytes, modified at) of every file."""
    found = {}
    for path in folder.rglob("*"):
        try:
            if path.is_file():
                found[path] = (path.stat().st_size, path.stat().st_mtime)
        except FileNotFoundError:
            continue
    return found


def total(found: dict[Path, tuple[int, float]]) -> int:
    return sum(size for size, _ in found.values())
