"""A model in a process of its own answers as one here, and whatever it does there is one error here."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from littoral.errors import RuntimeFailure
from littoral.manifest import Manifest
from littoral.process import worker
from littoral_node.artifacts.manifest_file import ENVELOPE
from littoral_node.isolated.model import open_isolated
from littoral_node.runtimes.ended import BadValues, RuntimeCrash, RuntimeHang
from tests.kit.foreign import tokens
from tests.kit.models import HERE, artifact, images, logits_of, weights
from tests.kit.patience import PATIENCE_S
from tests.kit.serving import imported
from tests.kit.workers import bad_child, child_of_this_process

KEY = Ed25519PrivateKey.generate()
ROOM = 200_000_000


def laid(folder: Path, runtime: str = "onnxruntime", **fields: Any) -> Manifest:
    manifest = artifact(folder, runtime, **fields)
    (folder / ENVELOPE).write_bytes(manifest.seal(KEY))
    return manifest


@pytest.mark.parametrize("runtime", HERE)
async def test_it_answers_as_it_would_here_from_any_thread_and_ends_when_it_is_closed(runtime: str, tmp_path: Path) -> None:
    manifest = laid(tmp_path, runtime)
    model = await open_isolated(tmp_path, 1, memory=ROOM, limit_s=30)
    x = images(3)
    answers = await asyncio.gather(*(asyncio.to_thread(model.infer, manifest.input.prepare(x)) for _ in range(4)))
    for logits in answers:
        np.testing.assert_allclose(logits, logits_of(x, weights()), atol=1e-4)
    with pytest.raises(RuntimeFailure, match="the model takes float32"):
        model.infer(np.zeros((1, 2, 2), np.float32))
    np.testing.assert_allclose(model.infer(manifest.input.prepare(x)), logits_of(x, weights()), atol=1e-4)  # it lives on
    model.close()
    model.close()
    assert not Path(f"/proc/{model.pid}").exists()
    with pytest.raises(RuntimeFailure, match="closed"):
        model.infer(manifest.input.prepare(x))


async def test_what_the_child_finds_wrong_is_said_with_its_own_code(tmp_path: Path) -> None:
    manifest = artifact(tmp_path)
    wrong = artifact(tmp_path / "other", seed=1)
    (tmp_path / ENVELOPE).write_bytes(wrong.seal(KEY))  # the probe of one, the file of the other
    assert manifest.files[0].path == wrong.files[0].path
    with pytest.raises(RuntimeFailure, match="a logit is off") as raised:
        await open_isolated(tmp_path, 1, memory=ROOM, limit_s=30)
    assert raised.value.code == "probe-mismatch"


async def test_values_that_the_runtime_does_not_take_are_told_from_a_model_that_fails(tmp_path: Path) -> None:
    served = imported(tmp_path, tokens(), {"ids": np.int64([[1, 2]])})
    served.model.close()
    (tmp_path / ENVELOPE).write_bytes(served.manifest.seal(KEY))
    model = await open_isolated(tmp_path, 1, memory=ROOM, limit_s=30)
    with pytest.raises(BadValues, match="idx=99"):
        model.run({"ids": np.int64([[99]])})
    assert model.run({"ids": np.int64([[2]])})["y"].tolist() == [[8, 9, 10, 11]]
    model.close()


async def test_its_death_is_one_error_that_names_the_signal(tmp_path: Path) -> None:
    manifest = laid(tmp_path)
    model = await open_isolated(tmp_path, 1, memory=ROOM, limit_s=30)
    os.kill(model.pid, signal.SIGSEGV)
    async with asyncio.timeout(PATIENCE_S):
        assert "SIGSEGV" in str(await model.gone())
    for _ in range(2):
        with pytest.raises(RuntimeCrash, match="its runtime ended with SIGSEGV"):
            model.infer(manifest.input.prepare(images(1)))
    model.close()


async def test_one_that_does_not_answer_is_ended_and_called_a_hang(tmp_path: Path) -> None:
    manifest = laid(tmp_path)
    model = await open_isolated(tmp_path, 1, memory=ROOM, limit_s=0.5)
    os.kill(model.pid, signal.SIGSTOP)
    with pytest.raises(RuntimeHang, match=r"longer than 0\.5 s"):
        await asyncio.to_thread(model.infer, manifest.input.prepare(images(1)))
    async with asyncio.timeout(PATIENCE_S):
        assert isinstance(await model.gone(), RuntimeHang)
    assert not Path(f"/proc/{model.pid}").exists()
    model.close()


async def test_that_it_hung_is_known_also_where_who_asked_closes_it_at_once(tmp_path: Path) -> None:
    manifest = laid(tmp_path)
    model = await open_isolated(tmp_path, 1, memory=ROOM, limit_s=0.1)
    os.kill(model.pid, signal.SIGSTOP)

    def asked() -> None:
        try:
            model.infer(manifest.input.prepare(images(1)))
        finally:
            model.close()

    with pytest.raises(RuntimeHang):
        await asyncio.to_thread(asked)
    async with asyncio.timeout(PATIENCE_S):
        assert isinstance(await model.gone(), RuntimeHang)


async def test_cancelled_while_it_loads_it_ends_the_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    laid(tmp_path)
    monkeypatch.setattr(worker, "command_of", bad_child("waits"))
    opening = asyncio.create_task(open_isolated(tmp_path, 1, memory=ROOM, limit_s=30))
    pid = await child_of_this_process("tests.kit.bad_child")
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(opening, PATIENCE_S)
    assert not Path(f"/proc/{pid}").exists()


async def test_its_memory_is_bounded_and_it_goes_first_when_memory_is_short(tmp_path: Path) -> None:
    laid(tmp_path)
    model = await open_isolated(tmp_path, 1, memory=ROOM, limit_s=30)
    soft, _ = resource.prlimit(model.pid, resource.RLIMIT_DATA)
    assert ROOM < soft < ROOM + 1_000_000_000
    assert Path(f"/proc/{model.pid}/oom_score_adj").read_text().strip() == "1000"
    model.close()
