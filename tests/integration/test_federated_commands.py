"""`littoral-cloud run` as an operator types it, on an artifact that was published with its weights."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from littoral.architectures import build
from littoral.digest import digest_of
from littoral.manifest import File, Manifest, Output
from littoral.preparation import Input
from littoral.probe import Probe
from littoral.sketch import fit
from littoral_cloud.app import Core, open_core
from littoral_cloud.federation.run import failed, read_run, update_run
from littoral_cloud.releases.catalogue import publish
from littoral_cloud.settings import load_settings
from littoral_cloud.training.weights import arrays_of, weights_bytes
from tests.kit.federation import CLASSES, INPUT, SPEC, enrol

SHAPE = (1, 8, 8)
FILE = b"stands for a model: nothing here runs it"


class Packaged:
    def __init__(self, name: str) -> None:
        x = np.zeros((2, *SHAPE), np.uint8)
        self.files = {"model.onnx": FILE}
        self.manifest = Manifest(
            model="corners",
            name=name,
            architecture=SPEC,
            parameters=1,
            runtime="onnxruntime",
            runtime_options={},
            requires={},
            files=(File("model.onnx", digest_of(FILE), len(FILE)),),
            input=Input("input", SHAPE, 1 / 255, (0.5,), (0.25,)),
            output=Output("logits", tuple("abc")),
            accuracy=0.9,
            accuracy_examples=10,
            probe=Probe.of(x, np.zeros((2, CLASSES), np.float32), 1.0),
            sketch=fit(np.random.default_rng(1).integers(0, 255, (50, *SHAPE)).astype(np.uint8), seed=1),
        )


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[Core]:
    async with open_core(load_settings(data_dir=tmp_path / "cloud")) as opened:
        torch.manual_seed(1)
        weights = weights_bytes(arrays_of(build(SPEC, channels=1, height=8, width=8, classes=CLASSES)))
        await publish(opened, Packaged("corners-s"), opened.clock(), weights=weights, data="somewhere")
        await enrol(opened.ledger, "n-a")
        yield opened


async def command(core: Core, *words: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-m",
            "littoral_cloud.cli",
            "run",
            *words,
            "--data-dir",
            str(core.settings.data_dir),
        ),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_a_run_is_started_listed_shown_and_watched_to_its_end(core: Core) -> None:
    code, out, err = await command(core, "start", "--model", "corners", "--rounds", "2", "--nodes", "n-a", "--format", "json")
    assert (code, err) == (0, "")
    made: dict[str, Any] = json.loads(out)
    run = await read_run(core.ledger, made["id"])
    assert (run.rounds, run.cohort, run.min_nodes, run.data) == (2, ("n-a",), 1, "somewhere")
    assert dict(run.architecture) == SPEC
    assert dict(run.input) == INPUT
    assert core.blobs.has(run.base_weights)

    watching = asyncio.create_task(command(core, "watch", run.run_id))
    (code, listed, _), (_, shown, _) = await asyncio.gather(command(core, "list"), command(core, "show", run.run_id))
    assert code == 0
    assert run.run_id in listed
    assert "PENDING" in listed
    assert "cohort:" in shown
    await update_run(core.ledger, run.run_id, lambda r: failed(r, "quorum-missed", "as the test wants", 1.0))
    code, _, err = await watching
    assert code == 1
    assert "quorum-missed: as the test wants" in err


async def test_what_cannot_be_started_is_refused_with_the_way_out(core: Core) -> None:
    outcomes = await asyncio.gather(
        command(core, "start", "--model", "other"),
        command(core, "start", "--model", "corners", "--nodes", "nobody"),
        command(core, "start", "--model", "corners", "--artifact", "unknown"),
        command(core, "show", "no-such-run"),
    )
    for (code, _, err), word in zip(outcomes, ("weights", "nobody", "unknown", "no-such-run"), strict=True):
        assert code == 4
        assert word in err
        assert "hint:" in err


async def test_a_run_is_stopped_once(core: Core) -> None:
    code, out, _ = await command(core, "start", "--model", "corners", "--nodes", "n-a", "--format", "json")
    assert code == 0
    run_id = json.loads(out)["id"]
    assert await command(core, "stop", run_id) == (0, f"{run_id} is stopped after 0 of 3 rounds\n", "")
    code, _, err = await command(core, "stop", run_id)
    assert code == 1
    assert "is FAILED, not PENDING or RUNNING" in err
