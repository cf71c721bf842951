"""littoral-cloud rollout, as an operator of many nodes types it, over an embedded Redis."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from littoral_cloud.app import Core, open_core
from littoral_cloud.cli import execute
from littoral_cloud.cli.rollout_watch import of_wave
from littoral_cloud.commands.rollout_views import progress
from littoral_cloud.commands.use_case import Office
from littoral_cloud.fleet.ledger import Change, Write
from littoral_cloud.fleet.measurements import MeasurementRecord, measurement_id
from littoral_cloud.fleet.records import (
    Desired,
    DesiredModel,
    Enrolment,
    Node,
    Presence,
    Reported,
    ReportedModel,
    UpdateState,
    dump,
)
from littoral_cloud.releases.catalogue import create_release, publish, read_release
from littoral_cloud.rollouts.assignments import Assignment, AssignmentState, Ineligible, assignment_id
from littoral_cloud.rollouts.commands import read_rollout
from littoral_cloud.rollouts.state import RefusedByRule, RolloutState, Wave
from littoral_cloud.settings import load_settings
from littoral_cloud.trust.people import Caller, Role
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
    [share] = found["shares"]
    assert (share["hardware_class"], share["student"], share["nodes"]) == ("small", "cnn", NODES)
    assert (share["bytes_each"], share["least_bytes_each"], share["possible"]) == (len(CONTENT), len(CONTENT), [])
    assert [(no["rule"], no["nodes"]) for no in found["left_out"]] == [("has-runtime", [f"cam-{NODES}"])]
    assert said("rollout", "list") == []
    assert execute(["rollout", "start", "digits-1", "--waves", "50%", "--dry-run"]) == 0
    table = capsys.readouterr().out
    assert "digits-1: 30 nodes in 2 waves, at most 630 bytes to download" in table
    assert "cam-00, cam-01, cam-02, cam-03, cam-04, and 10 more" in table
    assert table.endswith("nothing was written\n")
    assert said("rollout", "start", "nothing", "--dry-run", code=4)["error"]["code"] == "not-found"


def test_a_dry_run_of_what_nothing_has_measured_lists_the_waves(said: Said, capsys: pytest.CaptureFixture[str]) -> None:
    async def forget() -> None:
        async with open_core(load_settings()) as core:
            for doc in await core.ledger.all("measurement"):
                await core.ledger.commit(Change((Write("measurement", doc.id, None, doc.generation),)))

    asyncio.run(forget())
    found = said("rollout", "start", "digits-1", "--dry-run")
    assert [len(wave["nodes"]) for wave in found["waves"]] == [1, 7, 22]
    assert [(share["student"], share["possible"]) for share in found["shares"]] == [("to be measured", ["cnn"])]
    assert execute(["rollout", "start", "digits-1", "--dry-run"]) == 0
    table = capsys.readouterr().out
    assert "to be measured: cnn" in table
    assert "get the student that fits best once their class has measured: 30 nodes: cam-00, " in table
    assert "first: cam-00, cam-01, cam-02 to measure 1 of 1 candidates for small\n" in table


def test_a_large_first_wave_has_to_be_confirmed(said: Said) -> None:
    refused = said("rollout", "start", "digits-1", "--waves", "50%", code=2)["error"]
    assert refused["message"] == "--waves: the first has 15 of 30 nodes: a bad release would reach them all at once"
    assert "--yes" in refused["hint"]
    assert said("rollout", "list") == []
    assert said("rollout", "start", "digits-1", "--waves", "6")["rollout"] == "digits-1-r1"
    assert said("rollout", "start", "digits-1", "--waves", "50%", "--yes")["rollout"] == "digits-1-r2"
    shown = said("rollout", "show", "digits-1-r2")
    assert (shown["policy"]["wave_sizes"], shown["policy"]["most_nodes"]) == (["50%"], 1_000)


def test_names_that_match_nobody_are_refused(said: Said) -> None:
    assert (
        said("rollout", "start", "digits-1", "--nodes", "nobody", code=4)["error"]["message"] == "--nodes: there is no 'nobody'"
    )
    assert said("rollout", "start", "digits-1", "--canary", "nope", code=4)["error"]["message"] == "--canary: there is no 'nope'"
    assert said("node", "decommission", "cam-03")
    refused = said("rollout", "start", "digits-1", "--nodes", "cam-03", code=2)["error"]
    assert refused["message"] == "--nodes: matches no node of the fleet: cam-03 is decommissioned"


async def in_first_wave(state: UpdateState) -> None:
    """As the controller would have it: digits-1-r1 has given its first two nodes the candidate; one has answered."""
    async with open_core(load_settings()) as core:
        doc, rollout = await read_rollout(core.ledger, "digits-1-r1")
        release = await read_release(core.ledger, "digits-1")
        [digest] = release.artifacts
        for n in range(4):
            a = Assignment(rollout_id=doc.id, node_id=f"n{n:02}", manifest_digest=digest, name="cnn", previous="", order=n)
            told = replace(a, state=AssignmentState.TOLD, generation=1, wave=1) if n < 2 else a
            await put(core, "assignment", assignment_id(doc.id, a.node_id), told)
        wave = Wave(number=1, size=2, told=2, first=("n00", "n01"), started_at=1.0, told_at=1.0)
        moved = replace(rollout, state=RolloutState.WAVE, planned=4, waves=(wave,), waves_to_come=1)
        moved = replace(moved, deadline=core.clock() + 300.0)
        await core.ledger.commit(Change((Write("rollout", doc.id, dump(moved), doc.generation),)))
        wanted = DesiredModel(manifest_digest=digest, rollout_id=doc.id, generation=1)
        for node_id in ("n00", "n01"):
            await put(core, "desired", node_id, Desired(models={"digits": wanted}))
        answer = ReportedModel(state=state, desired_generation=1, target=digest, serving=digest, reason="accuracy-drop")
        await put(core, "reported", "n00", Reported(generation=1, observed_generation=1, models={"digits": answer}))


def test_a_rollout_is_paused_resumed_and_promoted_by_name(said: Said, capsys: pytest.CaptureFixture[str]) -> None:
    said("rollout", "start", "digits-1", "--waves", "2")
    before = said("rollout", "show", "digits-1-r1")["deadline"]
    assert said("rollout", "resume", "digits-1-r1", code=2)["error"]["message"] == "rollout digits-1-r1: is not paused"
    assert "is PENDING: no wave runs" in said("rollout", "promote", "digits-1-r1", code=2)["error"]["message"]
    assert said("rollout", "pause", "digits-1-r1") == {"rollout": "digits-1-r1", "paused": True}
    assert "has paused it already" in said("rollout", "pause", "digits-1-r1", code=2)["error"]["message"]
    shown = said("rollout", "show", "digits-1-r1")
    assert shown["waits_for"][0] == f"somebody to resume it: {shown['paused_by']} paused it"
    assert execute(["rollout", "show", "digits-1-r1"]) == 0
    table = capsys.readouterr().out
    assert "PENDING, paused" in table
    assert f"by {shown['paused_by']} since 20" in table
    assert said("rollout", "resume", "digits-1-r1") == {"rollout": "digits-1-r1", "paused": False}
    assert said("rollout", "show", "digits-1-r1")["deadline"] > before
    asyncio.run(in_first_wave(UpdateState.SUCCEEDED))
    assert said("rollout", "promote", "digits-1-r1") == {"rollout": "digits-1-r1", "promoted": True}
    assert said("rollout", "show", "digits-1-r1")["waves"][0]["promoted_by"] == shown["paused_by"]

    async def lines() -> list[tuple[str, str]]:
        async with open_core(load_settings()) as core:
            return [(line.action, line.actor) for line in await core.ledger.audit() if line.subject == "digits-1-r1"]

    actions = ("rollout.started", "rollout.paused", "rollout.resumed", "rollout.promote-asked")
    assert asyncio.run(lines()) == [(action, shown["paused_by"]) for action in actions]


def test_another_person_approves_a_rollout_and_explain_says_what_it_waits_for(
    said: Said, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("ada", "ben"):
        (tmp_path / name).write_text(said("operator", "create", name, "--role", "operator")["secret"])
    monkeypatch.setenv("LITTORAL_API_TOKEN_FILE", str(tmp_path / "ada"))
    monkeypatch.setenv("LITTORAL_APPROVAL_ABOVE", "0.5")
    assert said("rollout", "start", "digits-1", "--waves", "2", "--dry-run")["approval"] is True
    said("rollout", "start", "digits-1", "--waves", "2")
    approve = "littoral-cloud rollout approve digits-1-r1"
    found = said("rollout", "explain", "digits-1-r1")
    assert found["waits_for"] == [f"somebody other than ada to approve it: {approve}"]
    assert found["movers"][0] == f"an operator other than ada: {approve}"
    assert (found["state"], found["then"], found["nodes"]) == ("PENDING", "the rollout fails", [])
    assert execute(["rollout", "explain", "digits-1-r1"]) == 0
    assert f"waits for somebody other than ada to approve it: {approve}" in capsys.readouterr().out
    assert "ada has started it" in said("rollout", "approve", "digits-1-r1", code=2)["error"]["message"]
    monkeypatch.setenv("LITTORAL_API_TOKEN_FILE", str(tmp_path / "ben"))
    assert said("rollout", "approve", "digits-1-r1") == {"rollout": "digits-1-r1", "approved": True}
    asyncio.run(in_first_wave(UpdateState.SUCCEEDED))
    capsys.readouterr()
    assert execute(["rollout", "show", "digits-1-r1"]) == 0
    assert "by ben at 20" in capsys.readouterr().out
    assert said("rollout", "explain", "nothing-r1", code=4)["error"]["code"] == "not-found"


def test_what_each_node_gets_is_shown_a_page_at_a_time(said: Said, capsys: pytest.CaptureFixture[str]) -> None:
    said("rollout", "start", "digits-1", "--waves", "2")
    asyncio.run(in_first_wave(UpdateState.SUCCEEDED))
    shown = said("rollout", "show", "digits-1-r1")
    assert [(row["node"], row["wave"], row["state"]) for row in shown["nodes"]] == [
        ("cam-00", 1, "TOLD"),
        ("cam-01", 1, "TOLD"),
        ("cam-02", None, "PLANNED"),
        ("cam-03", None, "PLANNED"),
    ]
    assert shown["waves"] == [
        {
            "number": 1,
            "size": 2,
            "told": 2,
            "first": ["n00", "n01"],
            "started_at": 1.0,
            "told_at": 1.0,
            "ended_at": None,
            "promoted_by": "",
        }
    ]
    assert execute(["rollout", "show", "digits-1-r1", "--limit", "3"]) == 0
    printed = capsys.readouterr()
    assert "cam-02" in printed.out
    assert "cam-03" not in printed.out
    assert "there may be more: --limit 3 --after n02" in printed.err
    rest = said("rollout", "show", "digits-1-r1", "--limit", "3", "--after", "n02")
    assert [row["node"] for row in rest["nodes"]] == ["cam-03"]
    [row] = said("rollout", "list")
    assert (row["planned"], row["waves_to_come"]) == (4, 1)


def test_a_failed_node_is_never_promoted_over_and_an_ended_rollout_is_left_alone(said: Said) -> None:
    said("rollout", "start", "digits-1", "--waves", "2")
    asyncio.run(in_first_wave(UpdateState.ROLLED_BACK))
    assert "a node failed: cam-00: ROLLED_BACK" in said("rollout", "promote", "digits-1-r1", code=2)["error"]["message"]

    async def end() -> None:
        async with open_core(load_settings()) as core:
            doc, rollout = await read_rollout(core.ledger, "digits-1-r1")
            ended = replace(rollout, state=RolloutState.ROLLED_BACK, ended_at=core.clock())
            await core.ledger.commit(Change((Write("rollout", doc.id, dump(ended), doc.generation),)))

    asyncio.run(end())
    for verb in ("pause", "resume", "promote", "abort"):
        refused = said("rollout", verb, "digits-1-r1", code=2)["error"]
        assert refused["message"] == "rollout digits-1-r1: is ROLLED_BACK already"
        assert said("rollout", verb, "digits-7-r1", code=4)["error"]["code"] == "not-found"


def test_a_rollout_goes_to_a_cohort(said: Said) -> None:
    assert said("cohort", "list") == []
    saved = said("cohort", "save", "harbour", "--where", "site=harbour,class=small,version=0.1.0,name=cam-0*")
    assert saved["nodes"] == 5
    assert said("cohort", "show", "harbour")["names"] == ["cam-01", "cam-03", "cam-05", "cam-07", "cam-09"]
    [listed] = said("cohort", "list")
    assert listed["where"] == saved["where"]
    found = said("rollout", "start", "digits-1", "--cohort", "harbour", "--dry-run")
    assert sorted(name for wave in found["waves"] for name in wave["nodes"]) == said("cohort", "show", "harbour")["names"]
    assert [len(wave["nodes"]) for wave in found["waves"]] == [1, 4]
    assert {no["rule"] for no in found["left_out"]} == {"in-cohort"}
    said("rollout", "start", "digits-1", "--cohort", "harbour")
    said("cohort", "delete", "harbour")
    assert said("rollout", "show", "digits-1-r1")["policy"]["where"] == saved["where"]
    for words, code, message in (
        (("--cohort", "harbour"), 4, "cohort 'harbour': there is none"),
        (("--where", "site=nowhere"), 2, "--where: site=nowhere matches no node of the fleet"),
        (("--where", "site=harbour", "--nodes", "cam-00"), 2, "--where: site=harbour matches no node of the fleet"),
        (("--where", "site"), 2, "--where: 'site' is not KEY=VALUE"),
        (("--where", "site=x", "--cohort", "y"), 2, "--cohort: give it or a filter, not both"),
    ):
        assert said("rollout", "start", "digits-1", *words, code=code)["error"]["message"] == message
    assert said("cohort", "save", "Bad Name", "--where", "site=x", code=2)["error"]["message"] == "cohort: 'Bad Name' is no name"
    assert said("cohort", "save", "bad", "--where", "x", code=2)["error"]["message"] == "--where: 'x' is not KEY=VALUE"
    assert said("cohort", "delete", "harbour", code=4)["error"]["code"] == "not-found"


def test_a_cohort_that_matches_no_node_is_saved_with_a_warning(said: Said, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["cohort", "save", "later", "--where", "site=nowhere"]) == 0
    assert "warning: --where: site=nowhere matches no node now" in capsys.readouterr().err


def test_gates_are_named_checked_and_kept_in_the_policy(said: Said) -> None:
    assert {row["gate"] for row in said("rollout", "gates")} >= {"probation", "labelled", "p95", "shadow"}
    refused = said("rollout", "start", "digits-1", "--gate", "p59", code=2)["error"]
    assert (refused["message"], "did you mean p95?" in refused["hint"]) == ("gate: 'p59' is not known", True)
    refused = said("rollout", "start", "digits-1", "--gate", "p95=0.2", code=2)["error"]
    assert refused["message"] == "--gate: p95: '0.2' is no number from 1 to 100"
    refused = said("rollout", "start", "digits-1", "--gate", "p95", "--shadow-s", "5", code=2)["error"]
    assert (refused["message"], refused["hint"]) == ("shadow-s: there is no shadow without its gate", "name the gate shadow, too")
    assert said("rollout", "list") == []
    words = ("--gate", "labelled=0.03", "--gate", "shadow", "--shadow-s", "60", "--unsure", "continue", "--probation-s", "30")
    said("rollout", "start", "digits-1", *words)
    policy = said("rollout", "show", "digits-1-r1")["policy"]
    assert (policy["gates"], policy["unsure"]) == ({"labelled": 0.03, "shadow": 0.95}, "continue")
    probation = policy["probation"]
    assert (probation["duration_s"], probation["shadow_s"], probation["compare"], probation["evidence_s"]) == (30, 60, 2_000, 330)


def test_what_each_gate_says_is_shown_while_a_wave_runs(said: Said, capsys: pytest.CaptureFixture[str]) -> None:
    said("rollout", "start", "digits-1", "--waves", "2", "--gate", "p95=1.2")
    asyncio.run(in_first_wave(UpdateState.SUCCEEDED))
    gates = {row["gate"]: row for row in said("rollout", "show", "digits-1-r1")["gates"]}
    assert list(gates) == ["probation", "failure-rate", "labelled", "p95"]
    assert (gates["p95"]["limit"], gates["p95"]["named"], gates["p95"]["answer"]) == (1.2, True, "needs more")
    assert gates["p95"]["more"] > 1
    assert gates["probation"]["why"] == "0 of 1 nodes have failed"
    assert execute(["rollout", "show", "digits-1-r1"]) == 0
    assert "needs more" in capsys.readouterr().out


async def fail(**fields: Any) -> None:
    async with open_core(load_settings()) as core:
        doc, rollout = await read_rollout(core.ledger, "digits-1-r1")
        failed = replace(rollout, state=RolloutState.FAILED, ended_at=1.0, **fields)
        await core.ledger.commit(Change((Write("rollout", doc.id, dump(failed), doc.generation),)))


def test_show_names_the_nodes_that_nothing_fits_of_a_rollout_that_came_to_no_plan(said: Said) -> None:
    said("rollout", "start", "digits-1")
    none = RefusedByRule(rule="fits-budget", nodes=1, first=(Ineligible(node_id="n01", rule="fits-budget", reason="too slow"),))
    asyncio.run(fail(refused=(none,)))
    [row] = said("rollout", "show", "digits-1-r1")["nodes"]
    assert (row["node"], row["words"]) == ("cam-01", "fits-budget: too slow")


def test_a_long_reason_is_bounded_in_the_list(said: Said, capsys: pytest.CaptureFixture[str]) -> None:
    said("rollout", "start", "digits-1")
    asyncio.run(fail(reason="too slow " * 40))
    assert execute(["rollout", "list"]) == 0
    assert capsys.readouterr().out.rstrip().endswith("too slow too s...")
    assert said("rollout", "explain", "digits-1-r1")["reason"] == "too slow " * 40


def test_who_watches_reads_the_waves_number_and_its_nodes(said: Said) -> None:
    said("rollout", "start", "digits-1", "--waves", "2")
    asyncio.run(in_first_wave(UpdateState.SUCCEEDED))

    async def words() -> list[str]:
        async with open_core(load_settings()) as core:
            found = await progress(Office(core), Caller(name="ada", role=Role.VIEWER), rollout_id="digits-1-r1")
            found = replace(found, waves=3)
            return [of_wave(asdict(each)) for each in (replace(found, told=0, first_names=()), found)]

    assert asyncio.run(words()) == ["1 of 3, 2 nodes", "1 of 3, 2 nodes: cam-00, cam-01"]
