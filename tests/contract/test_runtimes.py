"""The same cases for every runtime of the registry.

Where this machine lacks what a runtime needs (a Mac, an NVIDIA GPU), tests/kit/stand_ins.py puts something in its place, and
everything of ours runs. That the real one refuses, and says why, is in test_runtimes_here.py.
"""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from littoral.errors import RuntimeFailure
from littoral.manifest import Output
from littoral.usage import rss_bytes
from littoral_node.machine.memory import give_back
from littoral_node.runtimes import REGISTRY, Model, load, ran_on, why_not
from tests.kit.models import CLASSES, SHAPE, artifact, images, logits_of, weights
from tests.kit.stand_ins import stand_in

pytestmark = pytest.mark.parametrize("runtime", sorted(REGISTRY))


@pytest.fixture(autouse=True)
def _stood_in(runtime: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(runtime, monkeypatch)


@pytest.fixture
def model(runtime: str, tmp_path: Path) -> Model:
    return load(artifact(tmp_path, runtime), tmp_path, 1)


def prepared(count: int, seed: int = 3) -> Any:
    return images(count, seed).astype(np.float32) / np.float32(255)


def test_it_says_what_it_runs_on(model: Model) -> None:
    assert ran_on(model)


@pytest.mark.parametrize("count", [1, 7])
def test_it_answers_as_its_weights_say(model: Model, count: int) -> None:
    logits = model.infer(prepared(count))
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, logits_of(images(count, 3), weights()), atol=1e-4)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((1, 4, 4), np.float32),
        np.zeros((1, 1, 4, 5), np.float32),
        np.zeros((1, 4, 4, 1), np.float32),
        np.zeros((1, 16), np.float32),
        np.zeros((0, *SHAPE), np.float32),
        np.zeros((1, *SHAPE), np.float64),
        np.zeros((1, *SHAPE), np.uint8),
    ],
    ids=lambda x: f"{x.dtype}{x.shape}",
)
def test_a_tensor_of_another_shape_or_type_never_reaches_it(model: Model, wrong: Any) -> None:
    with pytest.raises(RuntimeFailure, match=r"takes float32 \(n, 1, 4, 4\)"):
        model.infer(wrong)


def test_it_takes_a_tensor_whose_rows_do_not_lie_side_by_side(model: Model) -> None:
    every_other = prepared(8)[::2]
    np.testing.assert_allclose(model.infer(every_other), logits_of(images(8, 3)[::2], weights()), atol=1e-4)


def test_many_threads_get_their_own_answers(model: Model) -> None:
    batches = [prepared(3, seed) for seed in range(40)]
    with ThreadPoolExecutor(8) as pool:
        for seed, logits in enumerate(pool.map(model.infer, batches)):
            np.testing.assert_allclose(logits, logits_of(images(3, seed), weights()), atol=1e-4)


def test_an_answer_is_not_overwritten_by_the_next(model: Model) -> None:
    first = model.infer(prepared(1, 1))
    kept = first.copy()
    model.infer(prepared(1, 2))
    np.testing.assert_array_equal(first, kept)


def test_closing_twice_is_nothing_and_a_closed_one_refuses(model: Model) -> None:
    model.close()
    model.close()
    with pytest.raises(RuntimeFailure, match="closed"):
        model.infer(prepared(1))


def test_closing_while_it_runs_harms_no_request(model: Model) -> None:
    begun, wrong = threading.Barrier(5), []

    def ask() -> None:
        begun.wait()
        try:
            while True:
                np.testing.assert_allclose(model.infer(prepared(4)), logits_of(images(4, 3), weights()), atol=1e-4)
        except RuntimeFailure:
            return
        except AssertionError as error:
            wrong.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    begun.wait()
    model.infer(prepared(1))
    model.close()
    for thread in threads:
        thread.join(10)
    assert not wrong
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.parametrize("damage", ["garbage", "empty", "halved", "missing"])
def test_a_damaged_file_is_named(runtime: str, tmp_path: Path, damage: str) -> None:
    manifest = artifact(tmp_path, runtime)
    for file in manifest.files:
        whole = artifact(tmp_path, runtime)
        path = tmp_path / file.path
        data = path.read_bytes()
        path.unlink()
        if damage != "missing":
            path.write_bytes(
                {"garbage": np.random.default_rng(0).bytes(200), "empty": b"", "halved": data[: len(data) // 2]}[damage]
            )
        with pytest.raises(RuntimeFailure, match=file.path):
            load(whole, tmp_path, 1)


def test_an_artifact_without_its_file_is_refused(runtime: str, tmp_path: Path) -> None:
    manifest = artifact(tmp_path, runtime)
    other = tuple(replace(file, path=f"{file.path}.txt") for file in manifest.files)
    with pytest.raises(RuntimeFailure, match="wanted one file"):
        load(replace(manifest, files=other), tmp_path, 1)


def test_names_that_the_file_does_not_have_are_refused(runtime: str, tmp_path: Path) -> None:
    manifest = artifact(tmp_path, runtime)
    with pytest.raises(RuntimeFailure, match="'pixels'"):
        load(replace(manifest, input=replace(manifest.input, name="pixels")), tmp_path, 1)
    with pytest.raises(RuntimeFailure, match="'scores'"):
        load(replace(manifest, output=replace(manifest.output, name="scores")), tmp_path, 1)


def test_another_number_of_classes_than_the_manifest_names_is_refused(runtime: str, tmp_path: Path) -> None:
    manifest = artifact(tmp_path, runtime)
    model = load(replace(manifest, output=Output("logits", ("a", "b"))), tmp_path, 1)
    with pytest.raises(RuntimeFailure, match=str(CLASSES)):
        model.infer(prepared(1))


def test_what_it_took_is_given_back(runtime: str, tmp_path: Path) -> None:
    shape, classes = (1, 32, 32), 1_000  # 4 MB of weights
    manifest = artifact(tmp_path, runtime, shape=shape, classes=classes)
    x = np.zeros((8, *shape), np.float32)

    def once() -> None:
        model = load(manifest, tmp_path, 1)
        model.infer(x)
        model.close()

    for _ in range(3):
        once()
    give_back()
    before = rss_bytes()
    for _ in range(20):
        once()
    give_back()
    assert rss_bytes() - before < 5_000_000


def test_one_thread_means_that_none_is_started_and_idle_means_no_work(runtime: str, tmp_path: Path) -> None:
    manifest = artifact(tmp_path, runtime)
    load(manifest, tmp_path, 1).infer(prepared(2))  # the library itself may keep a few
    threads = len(os.listdir("/proc/self/task"))
    model = load(manifest, tmp_path, 1)
    model.infer(prepared(2))
    assert len(os.listdir("/proc/self/task")) <= threads
    used = time.process_time()
    threading.Event().wait(0.3)
    assert time.process_time() - used < 0.05
    model.close()


def test_an_unknown_runtime_names_the_known(runtime: str, tmp_path: Path) -> None:
    manifest = replace(artifact(tmp_path, runtime), runtime="abacus")
    with pytest.raises(RuntimeFailure, match=r"'abacus' is not known here.*" + runtime):
        load(manifest, tmp_path, 1)
    assert runtime in str(why_not("abacus"))
