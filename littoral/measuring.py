"""A candidate measured and tried on its probe, as a node does it, in a child process: littoral_node/measuring/measure.py.

Its users import this side alone: the agent, for candidates that the cloud offers; and the coordinator, which tries what it made
before it signs it, and imports nothing of the node for that (docs/decisions/0020).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from littoral.decoder import decode
from littoral.errors import BadInput
from littoral.manifest import Manifest
from littoral.measurement import MeasurementResult
from littoral.process.aio import AsyncWorker
from littoral.process.on_demand import OnDemand
from littoral.process.worker import ChildDied, ChildHung, WorkerSpec

READY_S = 120.0
LIMIT_S = 120.0
"""For one candidate, once its turn has come."""
ABSENT = "runtime-absent"
"""The `failure` of a candidate whose runtime is not on this machine: it says nothing of the candidate."""
_MOST_BYTES = 1 << 24


class Measurer:
    """One measuring process, which stays warm between candidates; `end` gives its memory back.

    Args:
        threads: of one inference.
        lock: a lock file, so that only one process of the machine measures at a time; None: none.
        machine_root: where the files lie that count energy.
    """

    def __init__(
        self,
        threads: int,
        lock: Path | None,
        *,
        limit_s: float = LIMIT_S,
        ready_s: float = READY_S,
        machine_root: Path = Path("/"),
    ) -> None:
        lock_file = "" if lock is None else str(lock.resolve())
        self._settings = {"threads": threads, "lock": lock_file, "machine_root": str(machine_root)}
        self._limit_s = limit_s
        self._ready_s = ready_s
        self._worker = OnDemand(self._start)

    async def measure(self, manifest: Manifest, folder: Path) -> MeasurementResult:
        """One candidate whose files lie, verified, in `folder`. A child that crashes or hangs is a failure of the candidate."""
        request = {"do": "measure", "folder": str(folder.resolve())}
        try:
            await self._worker.call({"do": "wait"}, {}, limit_s=None)  # for its turn: the lock is not the candidate's fault
            body, _ = await self._worker.call(
                request, {"manifest": np.frombuffer(manifest.encode(), np.uint8)}, limit_s=self._limit_s
            )
        except ChildHung as error:
            return MeasurementResult(failure="runtime-hang", detail=f"{manifest.name}: {error.message}")
        except ChildDied as error:
            return MeasurementResult(failure="runtime-crash", detail=f"{manifest.name}: {error.message}")
        try:
            return decode(MeasurementResult, body, f"{manifest.name}: its measurement")
        except BadInput as error:
            self._worker.end()
            return MeasurementResult(failure="runtime-crash", detail=error.message)

    def end(self) -> None:
        self._worker.end()

    async def _start(self) -> AsyncWorker:
        return await AsyncWorker.start(
            WorkerSpec(
                "littoral_node.measuring.measure",
                self._settings,
                what="its runtime",
                most_bytes=_MOST_BYTES,
                hear=lambda part: print(part.decode(errors="replace"), end="", file=sys.stderr),
            ),
            self._ready_s,
        )
