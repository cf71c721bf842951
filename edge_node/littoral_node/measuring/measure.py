"""Measures candidates on this machine, child of littoral/measuring.py: what a candidate does to it cannot touch serving.

Two calls a candidate: {"do": "wait"} is answered once this process has the lock file, so that only one process of the machine
measures at a time; {"do": "measure", "folder"} with the bytes of the manifest, by a MeasurementResult, and gives the lock back.
"""

from __future__ import annotations

import fcntl
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from littoral.errors import FleetError
from littoral.manifest import Manifest
from littoral.measurement import MeasurementResult
from littoral.measuring import ABSENT
from littoral.process.child import Answer, memory, serve

WARM_UP = 20
SAMPLES = 1_000
SAMPLING_S = 0.3
FEWEST = 200
FEWEST_OF_SLOW = 5
LONGEST_S = 3.0
"""A slow model ends before FEWEST have come, but not before FEWEST_OF_SLOW."""


def measured(manifest: Manifest, folder: Path, threads: int, machine_root: Path = Path("/")) -> MeasurementResult:
    """In this very process: load, probe, then one inference after another, batch 1.

    It is loaded once before, unmeasured: what the runtime's library takes at its first use must not count for a candidate.
    """
    from littoral_node.artifacts.probe import check_probe, one_inference
    from littoral_node.machine.energy import spent
    from littoral_node.machine.memory import added, reset_peak
    from littoral_node.runtimes import opened, ran_on, version, why_not

    load_average = os.getloadavg()[0]
    try:
        once = one_inference(manifest)
        first = opened(manifest, folder, threads)
        once(first)
        first.close()
        reset_peak()
        before = memory()
        began = time.perf_counter()
        model = opened(manifest, folder, threads)
        once(model)
        start_ms = (time.perf_counter() - began) * 1_000
        try:
            check_probe(model, manifest)
            device = next(iter(ran_on(model)), "cpu")
            taken = _timed(lambda: once(model))
            peak = added(before, memory())
            energy = spent(lambda: once(model), machine_root, platform.machine())
        finally:
            model.close()
    except FleetError as error:
        absent = why_not(manifest.runtime) is not None
        return MeasurementResult(ABSENT if absent else error.code, str(error)[:500], load_average=load_average)
    p50, p95, p99 = (float(q) * 1_000 for q in np.quantile(taken, (0.5, 0.95, 0.99)))
    return MeasurementResult(
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        peak_rss_bytes=peak,
        start_ms=start_ms,
        samples=len(taken),
        load_average=load_average,
        runtime_version=version(manifest.runtime) + ("" if device == "cpu" else f" on {device}"),
        energy_mj=energy.millijoules,
        energy_source=energy.source,
    )


def _timed(infer: Callable[[], object]) -> list[float]:
    """Seconds of each; enough for a p99, in a bounded time."""
    end = time.perf_counter() + SAMPLING_S
    for _ in range(WARM_UP):
        infer()
        if time.perf_counter() > end:
            break
    taken: list[float] = []
    began = time.perf_counter()
    while len(taken) < SAMPLES:
        start = time.perf_counter()
        if (len(taken) >= FEWEST and start > began + SAMPLING_S) or (len(taken) >= FEWEST_OF_SLOW and start > began + LONGEST_S):
            break
        infer()
        taken.append(time.perf_counter() - start)
    return taken


class _Turn:
    """The lock file, where there is one."""

    def __init__(self, lock: str) -> None:
        self._file = Path(lock).open("a") if lock else None  # noqa: SIM115 - as long as this process

    def wait(self) -> None:
        if self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_EX)

    def over(self) -> None:
        if self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)


def prepare(settings: dict[str, Any]) -> tuple[Answer, dict[str, Any]]:
    turn = _Turn(settings["lock"])

    def answer(head: dict[str, Any], arrays: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        if head["do"] == "wait":
            turn.wait()
            return {}, {}
        try:
            manifest = Manifest.decode(arrays["manifest"].tobytes())
            result = measured(manifest, Path(head["folder"]), settings["threads"], Path(settings["machine_root"]))
        except FleetError as error:
            result = MeasurementResult(error.code, str(error)[:500])
        finally:
            turn.over()
        return asdict(result), {}

    return answer, {}


if __name__ == "__main__":
    serve(prepare)
