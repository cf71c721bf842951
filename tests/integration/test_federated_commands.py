"""`littoral-cloud run` as an operator types it, on an artifact that was published with its weights."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
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
from littoral_cloud.commands.use_case import Office
from littoral_cloud.federation.participants import waits_for
from littoral_cloud.federation.run import KIND as RUN
from littoral_cloud.federation.run import Run, RunState, all_runs, create_run, failed, read_run, started, update_run
from littoral_cloud.fleet.drift import CountTable, Inputs, inputs_id
from littoral_cloud.fleet.ledger import Change, Write, until
from littoral_cloud.fleet.records import dump
from littoral_cloud.fleet.view import FleetView
from littoral_cloud.lineage.find import all_artifacts
from littoral_cloud.loop import Loop
from littoral_cloud.releases.catalogue import create_release, publish
from littoral_cloud.rollouts.seen_fleet import RECORDS
from littoral_cloud.settings import load_settings
from littoral_cloud.training.weights import arrays_of, weights_bytes
from littoral_cloud.trust.people import Role, Scope
from littoral_node.federation.training import LocalSchedule, train
from tests.kit.federation import CLASSES, INPUT, SPEC, enrol, small_run
from tests.kit.operators import operators_api
from tests.kit.patience import PATIENCE_S

SHAPE = (1, 8, 8)
FILE = b"stands for a model: nothing here runs it"


class Packaged:
    def __init__(self, name: str, architecture: Mapping[str, object] = SPEC) -> None:
        x = np.zeros((2, *SHAPE), np.uint8)
        self.files = {"model.onnx": FILE}
        self.manifest = Manifest(
            model="corners",
            name=name,
            architecture=architecture,
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


async def test_a_run_says_at_once_what_it_waits_for(core: Core) -> None:
    start = ("start", "--model", "corners", "--format", "json")
    code, out, _ = await command(core, *start)
    assert code == 0
    assert json.loads(out)["waits_for"] == ["a running coordinator: littoral-cloud serve"]
    first = await read_run(core.ledger, json.loads(out)["id"])
    await enrol(core.ledger, "n-b", connected=False)
    await enrol(core.ledger, "n-c", examples=2)
    assert await waits_for(core.ledger, first, core.clock()) == [
        "nodes: 1 of 3 can take part, 2 are needed; without them it fails in 120 s",
        "n-b: not connected",
        "n-c: 2 labelled examples of corners, needs 5",
    ]
    running = await update_run(core.ledger, first.run_id, lambda run: started(run, 100.0))
    assert "fails in 20 s" in (await waits_for(core.ledger, running, 200.0))[0]
    _, out, _ = await command(core, *start)
    second = await read_run(core.ledger, json.loads(out)["id"])
    assert await waits_for(core.ledger, second, core.clock()) == [f"run {first.run_id}: one run learns at a time"]
    await enrol(core.ledger, "n-b")
    assert await waits_for(core.ledger, running, 200.0) == []
    assert await waits_for(core.ledger, failed(running, "x", "", 1.0), 200.0) == []


async def test_a_linear_model_learns_with_its_head(core: Core) -> None:
    net = build({"name": "linear"}, channels=1, height=8, width=8, classes=CLASSES)
    linear = Packaged("linear", {"name": "linear"})
    await publish(core, linear, core.clock(), weights=weights_bytes(arrays_of(net)), data="somewhere")
    code, out, err = await command(core, "start", "--model", "corners", "--artifact", "linear", "--format", "json")
    assert (code, err) == (0, "")
    run = await read_run(core.ledger, json.loads(out)["id"])
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(20, *SHAPE)).astype(np.float32), rng.integers(0, CLASSES, 20)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    train(net, x, y, LocalSchedule(1, run.learning_rate, run.batch_size, 1, run.calibration, run.freeze_head))
    assert all(not torch.equal(before[name], value) for name, value in net.state_dict().items())


@pytest.mark.parametrize(
    ("option", "value"), [("--seed", "9" * 20), ("--rounds", "9" * 20), ("--min-nodes", "9" * 20), ("--timeout", "inf")]
)
async def test_a_number_out_of_range_is_refused_before_a_worker_starts(core: Core, option: str, value: str) -> None:
    code, _, err = await command(core, "start", "--model", "corners", option, value)
    assert code == 2
    assert option.lstrip("-") in err.replace("_", "-")
    assert await all_runs(core.ledger) == []


async def test_a_run_needs_a_scope_with_its_model_and_nodes(core: Core, tmp_path: Path) -> None:
    async with operators_api(tmp_path / "cloud") as api:
        other = await api.bearer(Role.OPERATOR, name="otto", scope=Scope(models=("other",)))
        north = await api.bearer(Role.OPERATOR, name="nora", scope=Scope(labels={"site": "north"}))
        anywhere = await api.bearer(Role.OPERATOR, name="ada")
        for headers, body in (
            (other, {"model": "corners"}),
            (north, {"model": "corners"}),
            (north, {"model": "corners", "nodes": ["n-a"]}),
        ):
            refused = await api.http.post("/api/v1/runs", headers=headers, json=body)
            assert (refused.status_code, refused.json()["error"]["code"]) == (403, "denied")
        made = await api.http.post("/api/v1/runs", headers=anywhere, json={"model": "corners", "terms": {"rounds": 2}})
        assert (made.status_code, made.json()["round"], made.json()["origin"]) == (201, "0/2", "operator")
        run = f"/api/v1/runs/{made.json()['id']}"
        assert (await api.http.get("/api/v1/runs", headers=other)).json()["items"] == []
        assert (await api.http.get(run, headers=other)).status_code == 403
        assert (await api.http.post(f"{run}/stop", headers=other)).status_code == 403
        assert (await api.http.post(f"{run}/stop", headers=anywhere)).json()["state"] == "FAILED"
        [line] = [each for each in await core.ledger.audit() if each.action == "run.created"]
        assert line.actor == "ada"


@asynccontextmanager
async def looping(core: Core) -> AsyncIterator[None]:
    """The closed loop, as a coordinator has it; what ends it fails here."""
    view = FleetView(core.ledger, {**RECORDS, RUN: Run})
    loop = Loop(Office(core), view, random.Random(1))
    running = [asyncio.create_task(view.run()), asyncio.create_task(loop.run())]
    try:
        yield
    finally:
        for task in running:
            task.cancel()
        ended = await asyncio.gather(*running, return_exceptions=True)
    assert all(isinstance(each, asyncio.CancelledError) for each in ended)


async def test_the_loop_starts_a_run_for_nodes_that_drifted_and_settles_where_it_failed(core: Core) -> None:
    [artifact] = await all_artifacts(core.ledger)
    await create_release(core.ledger, "corners", [artifact.manifest_digest], "manual", "", core.clock(), actor="test")
    drifted = Inputs(
        sketch_id="",
        baseline=CountTable(np.zeros((1, 2), np.int64)),
        baseline_examples=0,
        baseline_full=True,
        window=CountTable(np.zeros((1, 2), np.int64)),
        window_examples=0,
        boot_id="",
        sequence=0,
        updated_at=0.0,
        drifted=True,
        since=1.0,
    )
    gone = Write("inputs", inputs_id("gone", "corners"), dump(drifted), 0)
    await core.ledger.commit(Change((Write("inputs", inputs_id("n-a", "corners"), dump(drifted), 0), gone)))

    async def started_run() -> Run | None:
        return next(iter(await all_runs(core.ledger)), None)

    async def settled() -> bool | None:
        doc = await core.ledger.get("loop", "corners")
        return True if doc is not None and doc.body["settled"] == ["corners-run-1"] else None

    async with looping(core):
        run = await until(core.ledger, (RUN,), started_run, seconds=PATIENCE_S, what="a run")
        assert (run.run_id, run.origin) == ("corners-run-1", "loop")
        await update_run(core.ledger, run.run_id, lambda r: failed(r, "too-few-nodes", "", 2.0))
        assert await until(core.ledger, ("loop",), settled, seconds=PATIENCE_S, what="the loop to settle it")
    lines = [(line.action, line.actor) for line in await core.ledger.audit() if line.subject == run.run_id]
    assert lines == [("run.created", "loop"), ("loop.settled", "loop")]


async def test_the_loop_starts_one_rollout_of_what_its_run_learnt(core: Core) -> None:
    [artifact] = await all_artifacts(core.ledger)
    learnt = small_run("corners-run-1", artifact.weights, model="corners", state=RunState.SUCCEEDED, origin="loop")
    await create_run(core.ledger, learnt, actor="test")
    digests = [artifact.manifest_digest]
    made = await create_release(
        core.ledger, "corners", digests, "federated", "", core.clock(), run_id=learnt.run_id, actor="test"
    )

    async def started_rollout() -> list[str] | None:
        return [doc.id for doc in await core.ledger.all("rollout")] or None

    async with looping(core):
        found = await until(core.ledger, ("rollout",), started_rollout, seconds=PATIENCE_S, what="a rollout")
    assert found == [f"{made.release_id}-r1"]
    [line] = [line for line in await core.ledger.audit() if line.action == "rollout.started"]
    assert (line.subject, line.actor) == (found[0], "loop")
