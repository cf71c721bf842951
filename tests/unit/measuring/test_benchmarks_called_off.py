from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path
from typing import Any

import pytest

from littoral.errors import DigestMismatch
from littoral.fleet.v1 import session_pb2
from littoral.manifest import Manifest
from littoral_node.artifacts.repository import Artifacts
from littoral_node.config.settings import NodeSettings
from littoral_node.identity.files import ignore_damage
from littoral_node.identity.folder import NodeFolder
from littoral_node.measuring.benchmarks import Benchmarks
from littoral_node.serving.slots import Slots
from littoral_node.telemetry.counting import TelemetryWindows
from littoral_node.update.job import Kit
from tests.kit.patience import PATIENCE_S

DIGEST = "sha256:" + "a" * 64


class Swept(Artifacts):
    """Its files go in the moment in which they are read, as `sweep` deletes what nobody wants any more."""

    wanted: tuple[str, ...] = ()
    benchmarks: Benchmarks

    async def manifest(self, digest: str) -> Manifest:
        self.benchmarks.set_desired(session_pb2.DesiredState(benchmarks=self.wanted))
        raise DigestMismatch("artifact m: model.onnx is not what the manifest names")


@pytest.mark.parametrize("wanted", [(), (DIGEST,)], ids=["called-off", "still-wanted"])
async def test_a_benchmark_that_was_called_off_is_not_called_a_digest_mismatch(tmp_path: Path, wanted: tuple[str, ...]) -> None:
    log: list[tuple[str, dict[str, Any]]] = []
    said: list[Any] = []
    logged = asyncio.Event()

    def note(event: str, **fields: Any) -> None:
        log.append((event, fields))
        logged.set()

    artifacts = Swept(tmp_path, None, {})  # type: ignore[arg-type]  # nothing is fetched
    artifacts.wanted = wanted
    kit = Kit(
        settings=NodeSettings(),
        folder=NodeFolder(tmp_path),
        artifacts=artifacts,
        slots=Slots(),
        counters=TelemetryWindows(),
        hardware=lambda: type("H", (), {"hardware_class": "h", "runtime_names": frozenset()})(),
        threads=1,
        monotonic=time.monotonic,
        clock=time.time,  # noqa: TID251 - the shell of a test
        rng=random.Random(1),
        log=note,
        damaged=ignore_damage,
    )
    artifacts.benchmarks = Benchmarks(kit, lambda message: said.append(message) or True)
    artifacts.benchmarks.set_desired(session_pb2.DesiredState(benchmarks=[DIGEST]))
    running = asyncio.create_task(artifacts.benchmarks.run())
    async with asyncio.timeout(PATIENCE_S):
        await logged.wait()
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait([running])
    if wanted:
        assert [(event, fields["reason"]) for event, fields in log] == [("benchmark-failed", "digest-mismatch")]
        assert [word.measurement.failure for word in said] == ["digest-mismatch"]
    else:
        assert log == [("benchmark-called-off", {"manifest": DIGEST})]
        assert said == []
