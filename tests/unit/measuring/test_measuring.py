"""Candidates measured in a child: what they cost, and that nothing they do reaches this process."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from littoral.budget import ESTIMATE
from littoral.digest import digest_of
from littoral.fleet.v1 import session_pb2
from littoral.manifest import File, Manifest
from littoral.measurement import MeasurementResult
from littoral.measuring import ABSENT, Measurer
from littoral.probe import Probe
from littoral_node.runtimes import facts
from tests.kit.machine import Machine
from tests.kit.models import HERE, SHAPE, artifact, images
from tests.kit.patience import PATIENCE_S
from tests.kit.workers import child_of_this_process

MODULE = "littoral_node.measuring.measure"


@pytest.fixture
async def measurer() -> AsyncIterator[Measurer]:
    made = Measurer(1, None, limit_s=20.0)
    yield made
    made.end()


def endless(folder: Path) -> Manifest:
    """A model that loads, and then counts for ever: a runtime that hangs, for real."""
    from onnx import TensorProto, helper, numpy_helper

    manifest = artifact(folder)
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["still_going"]),
            helper.make_node("Add", ["sum", "one"], ["next"]),
        ],
        "count",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, [1]),
        ],
        [
            helper.make_tensor_value_info("still_going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, [1]),
        ],
        [numpy_helper.from_array(np.ones(1, np.float32), "one")],
    )
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["x"], ["flat"]),
            helper.make_node("MatMul", ["flat", "w"], ["plain"]),
            helper.make_node("Loop", ["times", "yes", "zero"], ["counted"], body=body),
            helper.make_node("Add", ["plain", "counted"], ["logits"]),
        ],
        "endless",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *SHAPE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])],
        [
            numpy_helper.from_array(np.ones((16, 3), np.float32), "w"),
            numpy_helper.from_array(np.array(2**62, np.int64), "times"),
            numpy_helper.from_array(np.array(True), "yes"),
            numpy_helper.from_array(np.zeros(1, np.float32), "zero"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    data = bytes(model.SerializeToString())
    (folder / "model.onnx").write_bytes(data)
    return replace(manifest, files=(File("model.onnx", digest_of(data), len(data)),))


async def test_it_has_the_fields_of_the_message() -> None:
    of_message = {field.name for field in session_pb2.Measurement.DESCRIPTOR.fields}
    assert set(MeasurementResult.__slots__) == of_message - {"manifest_digest", "hardware_class"}


async def test_every_runtime_is_measured_by_one_child(measurer: Measurer, tmp_path: Path) -> None:
    for runtime in HERE:
        folder = tmp_path / runtime
        result = await measurer.measure(artifact(folder, runtime), folder)
        assert (result.failure, result.detail) == ("", "")
        assert 0 < result.p50_ms <= result.p95_ms <= result.p99_ms
        assert result.start_ms > 0
        assert result.samples >= 200
        assert result.load_average >= 0
        assert result.runtime_version == facts()[runtime].version
        assert result.energy_mj is not None
        assert result.energy_mj > 0
        assert result.energy_source in (ESTIMATE, "rapl", "battery")


async def test_energy_is_counted_by_the_machine_whose_files_are_named(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "machine")
    machine.battery(50, power_now=7_000_000)
    measurer = Measurer(1, None, limit_s=20.0, machine_root=machine.root)
    result = await measurer.measure(artifact(tmp_path / "model"), tmp_path / "model")
    measurer.end()
    assert result.energy_source == "battery"
    assert result.energy_mj is not None
    assert result.energy_mj > 0


@pytest.mark.parametrize("runtime", HERE)
async def test_memory_is_what_this_candidate_adds_whoever_was_before(runtime: str, measurer: Measurer, tmp_path: Path) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    of_small = artifact(small, runtime)
    of_large = artifact(large, runtime, shape=(1, 64, 64), classes=1_000)  # 16 MB of weights
    peaks = []
    for manifest, folder in ((of_small, small), (of_large, large), (of_small, small)):
        result = await measurer.measure(manifest, folder)
        assert result.failure == ""
        peaks.append(result.peak_rss_bytes)
    assert peaks[0] < 4_000_000
    assert 14_000_000 < peaks[1] < 60_000_000
    assert peaks[2] < 4_000_000


async def test_a_candidate_that_cannot_be_loaded_or_answers_otherwise_is_a_failure_of_its_own(
    measurer: Measurer, tmp_path: Path
) -> None:
    manifest = artifact(tmp_path)
    good = (tmp_path / "model.onnx").read_bytes()
    (tmp_path / "model.onnx").write_bytes(b"garbage")
    result = await measurer.measure(manifest, tmp_path)
    assert result.failure == "runtime-failure"
    assert "model.onnx" in result.detail
    (tmp_path / "model.onnx").write_bytes(good)
    probe = Probe.of(images(4, 1), np.full((4, 3), 7, np.float32), 1e-3)
    assert (await measurer.measure(replace(manifest, probe=probe), tmp_path)).failure == "probe-mismatch"
    assert (await measurer.measure(manifest, tmp_path)).failure == ""


async def test_only_one_process_of_the_machine_measures_and_a_crash_is_no_exception(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    manifest = artifact(tmp_path / "model")
    measurer = Measurer(1, lock, limit_s=20.0)
    with lock.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = asyncio.create_task(measurer.measure(manifest, tmp_path / "model"))
        pid = await child_of_this_process(MODULE)
        async with asyncio.timeout(PATIENCE_S):
            while not waits_for_lock(pid):  # noqa: ASYNC110 - the kernel tells nobody
                await asyncio.sleep(0.01)
        assert not waiting.done()
        os.kill(pid, signal.SIGKILL)
        result = await waiting
        assert result.failure == "runtime-crash"
        assert "SIGKILL" in result.detail
        again = asyncio.create_task(measurer.measure(manifest, tmp_path / "model"))
        fcntl.flock(held, fcntl.LOCK_UN)
    assert (await again).failure == ""
    measurer.end()


async def test_a_manifest_that_cannot_be_read_and_a_runtime_that_is_not_here_are_told_apart(
    measurer: Measurer, tmp_path: Path
) -> None:
    manifest = artifact(tmp_path)
    result = await measurer.measure(replace(manifest, files=()), tmp_path)
    assert result.failure == "bad-manifest"
    assert "manifest.files" in result.detail
    assert (await measurer.measure(replace(manifest, runtime="abacus"), tmp_path)).failure == ABSENT


async def test_one_that_hangs_is_ended_and_the_next_is_measured(tmp_path: Path) -> None:
    measurer = Measurer(1, None, limit_s=3.0)
    manifest = endless(tmp_path / "endless")
    result = await measurer.measure(manifest, tmp_path / "endless")
    assert result.failure == "runtime-hang"
    assert "longer than 3 s" in result.detail
    assert (await measurer.measure(artifact(tmp_path / "good"), tmp_path / "good")).failure == ""
    measurer.end()


def waits_for_lock(pid: int) -> bool:
    """Whether the process is listed as blocked on a lock; `->` marks those in /proc/locks (proc(5))."""
    return any("->" in line and f" {pid} " in line for line in Path("/proc/locks").read_text().splitlines())
