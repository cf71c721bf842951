"""What Prometheus scrapes of a coordinator, read back by its own parser."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from littoral_cloud.commands.followed import FOLLOWED
from littoral_cloud.counting.durations import LabelledDurations
from littoral_cloud.counting.session_counts import SessionCounts
from littoral_cloud.counting.transfer_counts import TransferCounts
from littoral_cloud.federation.run import Run, RunState
from littoral_cloud.fleet.drift import inputs_id
from littoral_cloud.fleet.drift_seen import KIND as INPUTS
from littoral_cloud.fleet.drift_seen import DriftSeen
from littoral_cloud.fleet.ledger import Change, Write
from littoral_cloud.fleet.records import Enrolment, Node, Presence, Release, Reported, ReportedModel, UpdateState, dump
from littoral_cloud.fleet.sessions import Reason
from littoral_cloud.fleet.telemetry_desk import Taken, TelemetryDesk
from littoral_cloud.fleet.view import FleetView
from littoral_cloud.health.health import CoordinatorHealth, ProcessCounts
from littoral_cloud.health.metric_table import METRICS
from littoral_cloud.health.readiness import Validity
from littoral_cloud.rollouts.assignments import Assignment, AssignmentState, assignment_id
from littoral_cloud.rollouts.seen_fleet import SeenFleet
from littoral_cloud.rollouts.state import Rollout, RolloutPolicy, RolloutState, Wave
from littoral_cloud.simulate.memory_ledger import MemoryLedger
from littoral_cloud.webhooks.records import PROGRESS, WebhookProgress

NOW = 1_000_000.0
HOSTILE = 'evil"} 1\nlittoral_node_count{state="online"} 1e9'
Samples = Mapping[tuple[str, tuple[tuple[str, str], ...]], float]


def clock() -> float:
    return NOW


@pytest.fixture
async def health(tmp_path: Path) -> AsyncIterator[CoordinatorHealth]:
    ledger = MemoryLedger(clock)
    view = FleetView(ledger, {**FOLLOWED, PROGRESS: WebhookProgress})
    fleet = SeenFleet(view)
    counted = ProcessCounts(
        coordinator="c1",
        ledger=ledger,
        sessions=SessionCounts(),
        sessions_open=lambda: 3,
        desk=TelemetryDesk(ledger, clock),
        calls=LabelledDurations(),
        http=LabelledDurations(),
        transfers=TransferCounts(),
        certificates=lambda: (Validity("listeners", 0.0, NOW + 60.0),),
        folders={"data": tmp_path},
    )
    health = CoordinatorHealth(counted, fleet, clock)
    running = asyncio.create_task(view.run())
    yield health
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def write(health: CoordinatorHealth, *records: tuple[str, str, object]) -> None:
    await health.counted.ledger.commit(Change(tuple(Write(kind, id, dump(record), None) for kind, id, record in records)))
    await health.fleet.view.catch_up()


async def scraped(health: CoordinatorHealth) -> Samples:
    answer = await health.metrics()
    families = list(text_string_to_metric_families(answer.body.decode()))
    assert all(family.documentation for family in families)
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


async def test_each_metric_of_the_table_is_there_from_the_first_scrape_on(health: CoordinatorHealth) -> None:
    text = (await health.metrics()).body.decode()
    for spec in METRICS:
        family = spec.name.removesuffix("_total") if spec.kind != "Info" else spec.name
        assert f"# HELP {family}" in text, spec.name
    lines = [line.rsplit(" ", 1)[0] for line in text.splitlines() if not line.startswith("#")]
    assert len(lines) == len(set(lines)), "a series is there twice"


async def test_what_was_counted_is_what_is_scraped(health: CoordinatorHealth) -> None:
    counted = health.counted
    counted.sessions.opened = 5
    counted.sessions.over(True, None)
    counted.sessions.over(False, Reason.UNAVAILABLE)
    counted.sessions.messages["telemetry"] = 7
    counted.desk.taken[Taken.REPEATED] = 2
    counted.desk.lines["drift.detected"] = 4
    counted.transfers.sent_bytes = 11
    counted.calls.add(0.002, "littoral.fleet.v1.BlobService/GetBlob", "NOT_FOUND")
    counted.ledger.commits.add(0.02, "ok")
    found = await scraped(health)
    assert found["littoral_session_open", ()] == 3
    assert found["littoral_session_opened_total", ()] == 5
    assert found["littoral_session_ended_total", (("reason", "LEFT"),)] == 1
    assert found["littoral_session_refused_total", (("reason", "UNAVAILABLE"),)] == 1
    assert found["littoral_session_messages_total", (("kind", "telemetry"),)] == 7
    assert found["littoral_telemetry_reports_total", (("outcome", "repeated"),)] == 2
    assert found["littoral_drift_detected_total", ()] == 4
    assert found["littoral_blob_sent_bytes_total", ()] == 11
    assert found["littoral_certificate_left_seconds", (("certificate", "listeners"),)] == 60
    call = (("rpc_method", "littoral.fleet.v1.BlobService/GetBlob"), ("rpc_response_status_code", "NOT_FOUND"))
    assert found["rpc_server_call_duration_seconds_count", call] == 1
    assert found["littoral_commit_duration_seconds_bucket", (("le", "0.025"), ("outcome", "ok"))] == 1
    assert found["littoral_commit_duration_seconds_bucket", (("le", "0.01"), ("outcome", "ok"))] == 0
    assert found["process_memory_usage_bytes", ()] > 1_000_000


async def test_the_fleet_its_rollout_and_its_run(health: CoordinatorHealth) -> None:
    node = Node(
        node_id="n1",
        name="kitchen",
        enrolment=Enrolment.ACCEPTED,
        public_key_sha256="",
        certificate_sha256="",
        certificate_expires_at=9e9,
        enrolled_at=0,
    )
    here = Presence(connected=True, since=NOW, boot_id="b", protocol_version=1)
    serves = ReportedModel(state=UpdateState.SUCCEEDED, desired_generation=1, target="")
    reported = Reported(generation=1, observed_generation=1, models={"digits": serves, HOSTILE: serves, "mine": serves})
    release = Release(release_id="r1", model="digits", kind="initial", artifacts=(), created_at=0)
    rollout = Rollout(
        release_id="r1",
        model="digits",
        kind="teacher",
        policy=RolloutPolicy(),
        state=RolloutState.WAVE,
        created_at=0,
        entered_at=0,
        deadline=NOW + 1,
        planned=1,
        waves=(Wave(number=2, size=1, started_at=0),),
        paused_by="ana",
    )
    asked = Assignment(
        rollout_id="o1", node_id="n1", state=AssignmentState.TOLD, manifest_digest="", name="s", previous="", wave=2
    )
    run = Run(
        run_id="f1",
        model="digits",
        strategy="fedavg",
        rounds=3,
        local_epochs=1,
        learning_rate=0.1,
        batch_size=1,
        seed=1,
        architecture={},
        input={},
        classes=2,
        base_weights="",
        state=RunState.RUNNING,
    )
    await write(
        health,
        ("node", "n1", node),
        ("presence", "n1", here),
        ("reported", "n1", reported),
        ("release", "r1", release),
        ("rollout", "o1", rollout),
        ("rollout", "o2", replace(rollout, state=RolloutState.PENDING, waves=(), created_at=5, paused_by="")),
        ("assignment", assignment_id("o1", "n1"), asked),
        ("run", "f1", run),
        (INPUTS, inputs_id("n1", "digits"), DriftSeen(baseline_examples=9, baseline_full=True, updated_at=NOW, drifted=True)),
        (PROGRESS, "ops", WebhookProgress(after="-", delivered=3, given_up=1, failing_since=NOW - 90.0)),
    )
    found = await scraped(health)
    assert found["littoral_node_count", (("state", "online"),)] == 1
    assert found["littoral_node_update_count", (("model", "digits"), ("state", "SUCCEEDED"))] == 1
    assert found["littoral_node_update_count", (("model", "other"), ("state", "SUCCEEDED"))] == 2
    assert found["littoral_rollout_count", (("state", "WAVE"),)] == 1
    assert found["littoral_rollout_count", (("state", "PENDING"),)] == 1
    assert found["littoral_rollout_paused", ()] == 1
    assert found["littoral_rollout_wave", (("model", "digits"),)] == 2
    assert found["littoral_rollout_nodes", (("model", "digits"), ("state", "TOLD"))] == 1
    assert found["littoral_run_count", (("state", "RUNNING"),)] == 1
    assert found["littoral_run_rounds_finished", (("model", "digits"),)] == 0
    assert found["littoral_node_drifted", (("model", "digits"),)] == 1
    assert found["littoral_webhook_delivered_total", (("webhook", "ops"),)] == 3
    assert found["littoral_webhook_given_up_total", (("webhook", "ops"),)] == 1
    assert found["littoral_webhook_failing_seconds", (("webhook", "ops"),)] == 90
    text = (await health.metrics()).body.decode()
    assert "n1" not in text
    assert "kitchen" not in text
    assert "evil" not in text, "a model's name of a node's own"


async def test_healthz_and_readyz(health: CoordinatorHealth) -> None:
    assert health.healthz().status == 200
    assert health.readyz().status == 503
    await health.fleet.view.catch_up()
    await health.readiness.look()
    answer = health.readyz()
    assert answer.status == 200, answer.body
    body = json.loads(answer.body)
    assert body["ready"] is True
    assert [part["part"] for part in body["parts"]] == ["redis", "view", "disk", "certificate", "draining"]
    health.readiness.drain()
    body = json.loads(health.readyz().body)
    assert [part["why"] for part in body["parts"] if not part["ready"]] == ["it was asked to end"]
