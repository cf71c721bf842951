"""Measures the candidates that the desired state names: each is fetched, checked, run in a process of its own, and reported."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import asdict

from littoral.digest import check_digest
from littoral.errors import FleetError, Unavailable
from littoral.fleet.v1 import session_pb2
from littoral.measurement import MeasurementResult
from littoral.measuring import Measurer
from littoral_node.artifacts.fitness import check_runnable
from littoral_node.update.job import Kit

_PAUSE_S = 10.0


class Benchmarks:
    """Args:
    send: hands a message to the session; what it cannot take goes out again with `results`.
    """

    def __init__(self, kit: Kit, send: Callable[[session_pb2.ConnectRequest], bool]) -> None:
        self._kit, self._log, self._send = kit, kit.log, send
        self._measurer = Measurer(kit.threads, kit.settings.measure_lock, machine_root=kit.settings.machine_root)
        self._desired: tuple[str, ...] = ()
        self._done: dict[str, session_pb2.Measurement] = {}
        self._wake = asyncio.Event()

    def set_desired(self, desired: session_pb2.DesiredState) -> None:
        """`run` measures its candidates; results of others are forgotten."""
        self._desired = tuple(desired.benchmarks)
        self._done = {digest: result for digest, result in self._done.items() if digest in self._desired}
        self._wake.set()

    def results(self) -> Iterable[session_pb2.ConnectRequest]:
        """Every result that is still desired: sent again after each Welcome, since the cloud acknowledges none."""
        return [session_pb2.ConnectRequest(measurement=result) for result in self._done.values()]

    async def run(self) -> None:
        """Until cancelled; one candidate at a time."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while (digest := next((d for d in self._desired if d not in self._done), None)) is not None:
                try:
                    result = await self._measured(digest)
                except Unavailable as error:  # the cloud cannot be reached now: not the candidate's fault
                    self._log("benchmark-waits", manifest=digest, detail=str(error))
                    await asyncio.sleep(self._kit.rng.uniform(0, _PAUSE_S))
                    continue
                self._kit.usage.spare(digest)
                if digest in self._desired:
                    self._done[digest] = result
                    self._send(session_pb2.ConnectRequest(measurement=result))
            self._measurer.end()

    async def _measured(self, digest: str) -> session_pb2.Measurement:
        try:
            check_digest(digest)
            manifest = await self._kit.artifacts.manifest(digest)
            check_runnable(manifest, self._kit.hardware().runtime_names)
            self._kit.usage.check_disk(manifest.model, digest, manifest, benchmark=True)
            manifest, folder = await self._kit.artifacts.obtain(digest)
            result = await self._measurer.measure(manifest, folder)
        except Unavailable:
            raise
        except (FleetError, OSError) as error:
            if digest not in self._desired:  # called off meanwhile, and its files were deleted under it
                self._log("benchmark-called-off", manifest=digest)
                return self._message(digest, MeasurementResult("called-off", "the cloud has called it off"))
            reason = error.code if isinstance(error, FleetError) else "disk"
            self._log("benchmark-failed", manifest=digest, reason=reason, detail=str(error))
            return self._message(digest, MeasurementResult(reason, str(error)))
        self._log("benchmark-done", manifest=digest, student=manifest.name, p95_ms=round(result.p95_ms, 4))
        return self._message(digest, result)

    def _message(self, digest: str, result: MeasurementResult) -> session_pb2.Measurement:
        fields = {**asdict(result), "detail": result.detail[:500]}
        hardware_class = self._kit.hardware().hardware_class
        return session_pb2.Measurement(manifest_digest=digest, hardware_class=hardware_class, **fields)
