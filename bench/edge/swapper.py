"""The agent's serving in a process of its own, which swaps its model for a fresh copy whenever it is told to.

    python -m bench.edge.swapper ARTIFACT_FOLDER

Prints its HTTP port; each line on stdin is one swap, as the agent does it (loaded and probed in a thread, then swapped in), and
is answered with the seconds that it took. Ends with stdin.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from bench.edge.fleet import MODEL
from littoral.manifest import Manifest
from littoral_node.artifacts.manifest_file import ENVELOPE, payload_of
from littoral_node.serving.rest import HttpServer
from littoral_node.serving.service import Service
from littoral_node.serving.slots import Served, Slots
from littoral_node.telemetry.counting import TelemetryWindows
from littoral_node.update.job import in_thread
from littoral_node.update.load import load_checked


async def main(folder: Path) -> None:
    manifest = Manifest.decode(payload_of((folder / ENVELOPE).read_bytes()))
    slots = Slots()
    service = Service(slots, TelemetryWindows())
    http = HttpServer(service, "127.0.0.1", 0)
    number = 0

    async def swap() -> None:
        model = await in_thread(lambda: load_checked(manifest, folder, 1))
        slots.swap(MODEL, Served(manifest, f"copy-{number}", model))

    await swap()
    await http.start()
    print(http.port, flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        number, began = number + 1, time.perf_counter()
        await swap()
        print(time.perf_counter() - began, flush=True)
    await http.stop()
    service.close()
    slots.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
