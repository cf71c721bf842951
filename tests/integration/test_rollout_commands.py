"""littoral-cloud rollout, as an operator of many nodes types it, over an embedded Redis."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from littoral_cloud.app import Core, open_core
from littoral_cloud.cli import execute
from littoral_cloud.fleet.ledger import Change, Write
from littoral_cloud.fleet.measurements import MeasurementRecord, measurement_id
from littoral_cloud.fleet.records import Enrolment, Node, Presence, dump
from littoral_cloud.releases.catalogue import create_release, publish
from littoral_cloud.settings import load_settings
from tests.kit.unrunnable import CONTENT, unrunnable

NODES = 30


async def put(core: Core, kind: str, id: str, record: object) -> None:
    await core.ledger.commit(Change((Write(kind, id, dump(record), None),)))


async def enrol(core: Core, number: int, *, runtimes: tuple[str, ...] = ("onnxruntime",)) -> None:
    node_id = f"n{number:02}"
    node = Node(
        node_id=node_id,
        name=f"cam-{number:02}",
        enrolment=Enrolment.ACCEPTED,
        public_key_sha256="",
        certificate_sha256="",
        certificate_expires_at=1e12,
        enrolled_at=0.0,
        labels={"site": "harbour" if number % 2 else "airport"},
    )
    presence = Presence(
        connected=True,
        since=core.clock(),
        boot_id="0" * 32,
        agent_version="0.1.0",
        protocol_version=1,
        features=("measure",),
        hardware={},
        hardware_class="small",
        runtimes=runtimes,
        budgets={},
        labelled_examples={},
    )
    await put(core, "node", node_id, node)
    await put(core, "presence", node_id, presence)


Said = Callable[..., Any]


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Said:
    """What a command prints as JSON, over a fleet that has measured the one candidate of release digits-1."""
    monkeypatch.setenv("LITTORAL_DATA_DIR", str(tmp_path / "cloud"))

    async def prepare() -> None:
        async with open_core(load_settings()) as core:
            made = await publish(core, unrunnable("digits"), core.clock())
            await create_release(core.ledger, "digits", [made.manifest_digest], "manual", "", core.clock())
            for number in range(NODES):
                await enrol(core, number)
            await enrol(core, NODES, runtimes=("coreml",))
            record = MeasurementRecord(
                manifest_digest=made.manifest_digest,
                node_id="n01",
                hardware_class="small",
                p95_ms=1.0,
                peak_rss_bytes=1,
                samples=9,
            )
            await put(core, "measurement", measurement_id(made.manifest_digest, "n01"), record)

    asyncio.run(prepare())

    def run(*words: str, code: int = 0) -> Any:
        assert execute([*words, "--format", "json"]) == code
        out, err = capsys.readouterr()
        return json.loads(err if code else out)

    return run


def test_a_dry_run_says_who_gets_what_and_writes_nothing(said: Said, capsys: pytest.CaptureFixture[str]) -> None:
    found = said("rollout", "start", "digits-1", "--dry-run")
    assert [len(wave["nodes"]) for wave in found["waves"]] == [1, 7, 22]
    assert (found["bytes"], found["written"]) == (NODES * len(CONTENT), False)
    assert found["shares"] == [{"hardware_class": "small", "student": "cnn", "nodes": NODES, "bytes_each": len(CONTENT)}]
    assert [(no["rule"], no["nodes"]) for no in found["left_out"]] == [("has-runtime", [f"cam-{NODES}"])]
    assert said("rollout", "list") == []
    assert execute(["rollout", "start", "digits-1", "--waves", "50%", "--dry-run"]) == 0
    table = capsys.readouterr().out
    assert "digits-1: 30 nodes in 2 waves, at most 630 bytes to download" in table
    assert "cam-00, cam-01, cam-02, cam-03, cam-04, and 10 more" in table
    assert table.endswith("nothing was written\n")
    assert said("rollout", "start", "nothing", "--dry-run", code=4)["error"]["code"] == "not-found"


def test_a_large_first_wave_has_to_be_confirmed(said: Said) -> None:
    refused = said("rollout", "start", "digits-1", "--waves", "50%", code=2)["error"]
    assert refused["message"] == "waves: the first has 15 of 30 nodes: a bad release would reach them all at once"
    assert "--yes" in refused["hint"]
    assert said("rollout", "list") == []
    assert said("rollout", "start", "digits-1", "--waves", "6")["rollout"] == "digits-1-r1"
    assert said("rollout", "start", "digits-1", "--waves", "50%", "--yes")["rollout"] == "digits-1-r2"
    shown = said("rollout", "show", "digits-1-r2")
    assert (shown["policy"]["wave_sizes"], shown["policy"]["most_nodes"]) == (["50%"], 1_000)


def test_names_that_match_nobody_are_refused(said: Said) -> None:
    assert said("rollout", "start", "digits-1", "--nodes", "nobody", code=4)["error"]["message"] == "node: there is no 'nobody'"
    assert said("node", "decommission", "cam-03")
    refused = said("rollout", "start", "digits-1", "--nodes", "cam-03", code=2)["error"]
    assert refused["message"] == "--nodes: matches no node of the fleet: cam-03 is decommissioned"
