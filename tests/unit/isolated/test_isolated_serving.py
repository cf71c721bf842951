"""Requests while a model on trial goes down: each is answered, by the model before."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from littoral_node.artifacts.manifest_file import ENVELOPE
from littoral_node.isolated.model import open_isolated
from littoral_node.serving.slots import Served
from tests.kit.models import artifact, images, logits_of, weights
from tests.kit.patience import PATIENCE_S
from tests.kit.serving import MODEL, Node, open_node, request_of, served

KEY = Ed25519PrivateKey.generate()


async def on_trial(folder: Path) -> Served:
    manifest = artifact(folder, seed=1)
    (folder / ENVELOPE).write_bytes(manifest.seal(KEY))
    model = await open_isolated(folder, 1, memory=200_000_000, limit_s=30)
    return Served(manifest, "seed-1", model, isolated=True)


async def in_flight(node: Node, count: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while node.slots.in_flight(MODEL) < count:  # noqa: ASYNC110
            await asyncio.sleep(0)  # no event says so


async def test_a_crash_with_many_requests_in_it_and_behind_it_loses_none(tmp_path: Path) -> None:
    x = images(2)
    async with open_node(served(tmp_path / "0", seed=0)) as node:
        tried = await on_trial(tmp_path / "1")
        node.slots.try_out(MODEL, tried)
        assert (await node.infer(request_of(x))).json()["model_version"] == "seed-1"
        pid: int = tried.model.pid  # type: ignore[attr-defined]
        os.kill(pid, signal.SIGSTOP)  # so that all of them wait for it
        asked = [asyncio.create_task(node.infer(request_of(x))) for _ in range(20)]
        await in_flight(node, 20)
        os.kill(pid, signal.SIGSEGV)
        os.kill(pid, signal.SIGCONT)
        for answer in await asyncio.gather(*asked):
            assert answer.status_code == 200, answer.text
            assert answer.json()["model_version"] == "seed-0"
            logits = np.reshape(answer.json()["outputs"][0]["data"], (2, -1))
            np.testing.assert_allclose(logits, logits_of(x, weights(0)), atol=1e-4)
        assert node.slots.standby(MODEL) is None


async def test_a_trial_that_was_passed_ends_its_process_once_its_last_request_has_ended(tmp_path: Path) -> None:
    x = images(1)
    async with open_node(served(tmp_path / "0", seed=0)) as node:
        tried = await on_trial(tmp_path / "1")
        node.slots.try_out(MODEL, tried)
        pid: int = tried.model.pid  # type: ignore[attr-defined]
        os.kill(pid, signal.SIGSTOP)
        asked = asyncio.create_task(node.infer(request_of(x)))
        await in_flight(node, 1)
        node.slots.swap(MODEL, served(tmp_path / "1", seed=1))  # as `adopt` does
        assert Path(f"/proc/{pid}").exists()
        os.kill(pid, signal.SIGCONT)
        assert (await asked).status_code == 200
        assert (await node.infer(request_of(x))).json()["model_version"] == "seed-1"
        assert not Path(f"/proc/{pid}").exists()
