"""How much each layer can lose, and how long an inference takes: both measured, both given as plain values."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from littoral.architectures import build
from littoral.errors import BadInput, RuntimeFailure
from littoral_cloud.compression.magnitude_pruning import Magnitude, counts_of
from littoral_cloud.compression.sensitivity import Sensitivity, sensitivity
from littoral_cloud.data.dataset import Dataset, assemble
from littoral_cloud.export import ncnn, onnx
from littoral_cloud.export.exported import Exported
from littoral_cloud.packaging.latency import WARM, compare
from littoral_cloud.training.preparation import input_of
from littoral_cloud.training.schedule import Schedule
from littoral_cloud.training.seeding import computing
from littoral_cloud.training.train import Trained, train_teacher
from littoral_cloud.training.trainer import Trainer
from tests.kit.images import bars

QUICK = Schedule(batch=16, learning_rate=1e-2)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with computing(1):
        yield


@pytest.fixture(scope="module")
def data() -> Dataset:
    return bars()


@pytest.fixture(scope="module")
def student(data: Dataset) -> Trained:
    return train_teacher(data, {"name": "compact_cnn", "widths": [8, 16]}, epochs=3, seed=1, schedule=QUICK, name="net")


def test_each_layer_is_pruned_alone_and_the_student_stays(student: Trained, data: Dataset) -> None:
    before = student.digest
    seen = sensitivity(student, data, images=60, levels=(0.99, 0.1, 0.5))
    assert seen.levels == (0.1, 0.5, 0.99)
    assert list(seen.accuracy) == ["features.conv1", "features.conv2", "classify"]
    assert seen.whole >= 0.95
    assert seen.examples == 60
    assert all(row[0] >= row[-1] for row in seen.accuracy.values())
    assert min(row[-1] for row in seen.accuracy.values()) < 0.9, "one weight in a hundred cannot be enough everywhere"
    assert Trained.of("net", student.module, student.spec, student.input, 0.0).digest == before
    assert json.loads(json.dumps(seen.resolved()))["accuracy"]["classify"] == list(seen.accuracy["classify"])


def test_it_never_looks_at_the_test_split(student: Trained, data: Dataset) -> None:
    other = assemble("other", data.train_x, data.train_y, data.test_x[::-1] // 2, data.test_y, labels=data.labels)
    assert sensitivity(student, data, images=60, levels=(0.5,)) == sensitivity(student, other, images=60, levels=(0.5,))


def test_what_a_layer_can_lose_becomes_the_share_that_it_keeps(student: Trained, data: Dataset) -> None:
    seen = Sensitivity(0.98, 1000, (0.5, 0.8, 0.9), {"a": (0.98, 0.975, 0.6), "b": (0.97, 0.9, 0.5), "c": (0.98, 0.9, 0.98)})
    assert seen.keep(0.5) == pytest.approx({"a": 0.2, "b": 1.0, "c": 0.1})
    assert seen.keep(1.0) == pytest.approx({"a": 0.2, "b": 0.5, "c": 0.1})
    keep = sensitivity(student, data, images=60).keep(2.0)
    assert counts_of(student.module, None, keep).keys() == keep.keys()
    assert Magnitude(1, QUICK, 1, keep=keep).apply(student, Trainer(data)).parameters == student.parameters


def test_sensitivity_asked_for_nothing_names_the_argument(student: Trained, data: Dataset) -> None:
    for levels in ((), (0.0,), (1.0,), (float("nan"),)):
        with pytest.raises(BadInput, match="sensitivity: levels"):
            sensitivity(student, data, images=60, levels=levels)
    with pytest.raises(BadInput, match="0 held-out images"):
        sensitivity(student, data, images=0)
    with pytest.raises(BadInput, match="-1 points"):
        sensitivity(student, data, images=60, levels=(0.5,)).keep(-1)


@pytest.fixture(scope="module")
def exports(student: Trained) -> dict[str, Exported]:
    calibration = np.zeros((1, *student.input.shape), np.float32)
    return {
        "in onnxruntime": onnx.export(student.module, student.input, calibration=calibration),
        "in ncnn": ncnn.export(student.module, student.input, calibration=calibration),
    }


def test_artifacts_are_timed_in_their_own_runtimes(exports: dict[str, Exported], student: Trained, data: Dataset) -> None:
    seen = compare(exports, student.input.prepare(data.test_x[:7]), rounds=3, each=20)
    assert list(seen) == ["in onnxruntime", "in ncnn"]
    for latency in seen.values():
        assert 0 < latency.p50_ms <= latency.p95_ms <= latency.p99_ms < 1000
        assert (latency.rounds, latency.inferences) == (3, 60)
        assert json.loads(json.dumps(latency.resolved()))["p50_ms"] == latency.p50_ms


def test_a_bigger_network_takes_longer(data: Dataset) -> None:
    artifacts, given = {}, input_of(data)
    for name, widths in (("small", [4]), ("big", [96, 192])):
        spec = {"name": "compact_cnn", "widths": widths, "strides": [1] * len(widths)}
        with torch.random.fork_rng():
            module = build(spec, channels=1, height=12, width=12, classes=3)
        artifacts[name] = onnx.export(module, given, calibration=given.prepare(data.test_x[:1]))
    seen = compare(artifacts, given.prepare(data.test_x[:4]), rounds=3, each=10)
    assert seen["big"].p50_ms > 2 * seen["small"].p50_ms


def test_turns_go_round_and_medians_over_rounds_count(exports: dict[str, Exported], student: Trained, data: Dataset) -> None:
    """On a clock of ours: every inference of the first round took 9 s, of the other two 2 s."""
    prepared = student.input.prepare(data.test_x[:2])
    readings: list[float] = []

    def clock() -> float:
        turn, half = divmod(len(readings), 2)
        readings.append((readings[-1] if readings else 0.0) + half * (9.0 if turn < 2 * 5 else 2.0))
        return readings[-1]

    seen = compare(exports, prepared, rounds=3, each=5, clock=clock)
    assert {latency.p50_ms for latency in seen.values()} == {2000.0}
    assert len(readings) == 2 * 2 * 3 * 5, f"nothing else is timed, not the {WARM} that warm up"


def test_what_cannot_be_timed_is_named(exports: dict[str, Exported], student: Trained, data: Dataset) -> None:
    prepared = student.input.prepare(data.test_x[:2])
    made = exports["in onnxruntime"]
    with pytest.raises(BadInput, match="0 artifacts"):
        compare({}, prepared)
    with pytest.raises(BadInput, match="0 inputs"):
        compare({"a": made}, prepared[:0])
    with pytest.raises(RuntimeFailure, match="a wants 'coreml'"):
        compare({"a": Exported("coreml", made.files)}, prepared)
    with pytest.raises(RuntimeFailure, match="onnxruntime cannot load a"):
        compare({"a": Exported("onnxruntime", {"model.onnx": b"nothing"})}, prepared)
