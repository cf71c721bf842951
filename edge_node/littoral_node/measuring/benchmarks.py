"""Candidates that the cloud wants measured here: each is fetched, checked, run in a process of its own, and told about."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path

from littoral.digest import check_digest
from littoral.errors import FleetError, Unavailable
from littoral.fleet.v1 import session_pb2
from littoral.measuring import MeasurementResult, Measurer
from littoral_node.artifacts.repository import Artifacts
from littoral_node.machine.hardware import HardwareProfile
from littoral_node.update.holdings import Holdings
from littoral_node.update.reserve import check_runnable

_PAUSE_S = 10.0


class Trials:
    """Args:
    lock: a machine-wide lock file, so that nodes on one machine do not measure each other; None: none.
    say: hands a word to the session; what it cannot take goes out again with `results`.
    """

    def __init__(
        self,
        artifacts: Artifacts,
        holdings: Holdings,
        *,
        hardware: Callable[[], HardwareProfile],
        threads: int,
        lock: Path | None,
        machine_root: Path = Path("/"),
        say: Callable[[session_pb2.ConnectRequest], bool],
        log: Callable[..., None],
        rng: random.Random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._artifacts = artifacts
        self._holdings = holdings
        self._hardware = hardware
        self._measurer = Measurer(threads, lock, machine_root=machine_root)
        self._say = say
        self._log = log
        self._rng = rng
        self._sleep = sleep
        self._wanted: tuple[str, ...] = ()
        self._done: dict[str, session_pb2.Measurement] = {}
        self._wake = asyncio.Event()

    def want(self, digests: Sequence[str]) -> None:
        self._wanted = tuple(digests)
        self._done = {digest: result for digest, result in self._done.items() if digest in self._wanted}
        self._wake.set()

    def results(self) -> Iterable[session_pb2.ConnectRequest]:
        """Everything measured that is still wanted: said again after each Welcome, since nobody acknowledges it."""
        return [session_pb2.ConnectRequest(measurement=result) for result in self._done.values()]

    async def run(self) -> None:
        """Until cancelled; one candidate at a time."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while (digest := next((d for d in self._wanted if d not in self._done), None)) is not None:
                try:
                    result = await self._measured(digest)
                except Unavailable as error:  # no way to the cloud now: not the candidate's fault
                    self._log("trial-waits", manifest=digest, detail=str(error))
                    await self._sleep(self._rng.uniform(0, _PAUSE_S))
                    continue
                self._holdings.spare(digest)
                if digest in self._wanted:
                    self._done[digest] = result
                    self._say(session_pb2.ConnectRequest(measurement=result))
            await self._measurer.close()

    async def _measured(self, digest: str) -> session_pb2.Measurement:
        try:
            check_digest(digest)
            manifest = await self._artifacts.manifest(digest)
            check_runnable(manifest, self._hardware().runtime_names)
            self._holdings.check_disk(manifest.model, digest, manifest, trial=True)
            manifest, folder = await self._artifacts.obtain(digest)
            result = await self._measurer.measure(manifest, folder)
        except Unavailable:
            raise
        except FleetError as error:
            if digest not in self._wanted:  # called off meanwhile: its files were deleted under it, and nobody asks any more
                self._log("trial-called-off", manifest=digest)
                return self._failed(digest, "called-off", "the cloud does not want it measured any more")
            self._log("trial-failed", manifest=digest, reason=error.code, detail=str(error))
            return self._failed(digest, error.code, str(error))
        except OSError as error:
            if digest not in self._wanted:
                self._log("trial-called-off", manifest=digest)
                return self._failed(digest, "called-off", "the cloud does not want it measured any more")
            self._log("trial-failed", manifest=digest, reason="disk", detail=str(error))
            return self._failed(digest, "disk", str(error))
        self._log("trial-done", manifest=digest, student=manifest.name, p95_ms=round(result.p95_ms, 4))
        return _word(digest, result, self._hardware().hardware_class)

    def _failed(self, digest: str, code: str, detail: str) -> session_pb2.Measurement:
        return session_pb2.Measurement(
            manifest_digest=digest, failure=code, detail=detail[:500], hardware_class=self._hardware().hardware_class
        )


def _word(digest: str, result: MeasurementResult, hardware_class: str) -> session_pb2.Measurement:
    return session_pb2.Measurement(
        manifest_digest=digest,
        failure=result.failure,
        detail=result.detail[:500],
        p50_ms=result.p50_ms,
        p95_ms=result.p95_ms,
        p99_ms=result.p99_ms,
        peak_rss_bytes=result.peak_rss_bytes,
        start_ms=result.start_ms,
        samples=result.samples,
        load_average=result.load_average,
        runtime_version=result.runtime_version,
        energy_mj=result.energy_mj,
        energy_source=result.energy_source,
        hardware_class=hardware_class,
    )
