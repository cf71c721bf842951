"""A fleet for the page, as documents: nodes of three sites, artifacts with a history, releases, rollouts and federated runs that
ended. One node is hostile: it has markup in every field that a node can send."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from littoral.digest import digest_of
from littoral.telemetry import LATENCY_BOUNDS_MS
from littoral_cloud.app import Core
from littoral_cloud.federation.run import FinishedRound, Run, RunState
from littoral_cloud.fleet import drift
from littoral_cloud.fleet.ledger import Change, Write
from littoral_cloud.fleet.measurements import MeasurementRecord, measurement_id
from littoral_cloud.fleet.profile import PRESENCE, PROFILE, stored
from littoral_cloud.fleet.quarantine import NodeFailure, NodeTrouble, Quarantine
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
from littoral_cloud.fleet.telemetry import KIND as TELEMETRY
from littoral_cloud.fleet.telemetry import ServingCounts, TelemetryTotals, Window, telemetry_id
from littoral_cloud.releases.catalogue import create_release
from tests.kit.shop import put

MARKUP = "<img src=x onerror=alert(1)>\"'</script><script>alert(2)</script>"
MODEL = "tiny"
SITES = ("harbour", "north", "quay")
CLASSES = ("Raspberry Pi 4 Model B Rev 1.4, aarch64", "Jetson Orin Nano, aarch64", "Intel N100, x86_64")
DAY_S = 86_400.0
STUDENTS = (("student-onnx", 1, 0.952), ("student-onnx-int8", 2, 0.948), ("student-ncnn", 3, 0.941))


async def seed(core: Core, folder: Path, nodes: int = 60, *, hostile: bool = True) -> Mapping[str, str]:
    """Gives the digests of the artifacts by name. The last node is the hostile one, where it is to be there."""
    now, rng = core.clock(), random.Random(7)
    digests = {}
    for name, number, accuracy in STUDENTS:
        digests[name] = await put(core, folder, name, number, accuracy=accuracy)
    digests["student-learnt"] = await put(
        core, folder, "student-learnt", 9, base=digest_of(b"weights of student-onnx"), accuracy=0.961
    )
    firsts, learnt = [digests[name] for name, *_ in STUDENTS], [digests["student-learnt"], digests["student-onnx-int8"]]
    ledger, note = core.ledger, "what the fleet learnt"
    first = await create_release(ledger, MODEL, firsts, "initial", "the first students", now - 8 * DAY_S, actor="ada")
    await create_release(ledger, MODEL, learnt, "federated", note, now, actor="loop")
    bad = nodes - 1 if hostile else -1
    for start in range(0, nodes, 200):
        some = [each for number in range(start, min(start + 200, nodes)) for each in _node(number, bad, digests, now, rng)]
        await core.ledger.commit(Change(tuple(some)))
    measured = [
        (f"{number:08x}", digest, 1.5 + 2 * index + number % 3)
        for number in range(min(6, nodes))
        for index, digest in enumerate(digests.values())
    ]
    writes = [Write("measurement", measurement_id(digest, id), dump(_measured(digest, id, ms)), 0) for id, digest, ms in measured]
    runs = (
        _run("tiny-run-1", digests, now, RunState.SUCCEEDED, hostile),
        _run("tiny-run-2", digests, now, RunState.FAILED, hostile),
    )
    await core.ledger.commit(Change((*writes, *(Write("run", run.run_id, dump(run), 0) for run in runs))))
    return {**digests, "release": first.release_id}


def _measured(digest: str, node_id: str, ms: float) -> MeasurementRecord:
    number = int(node_id, 16)
    return MeasurementRecord(
        manifest_digest=digest,
        node_id=node_id,
        hardware_class=CLASSES[number % 3],
        p50_ms=ms * 0.8,
        p95_ms=ms,
        p99_ms=ms * 1.3,
        peak_rss_bytes=48_000_000,
        samples=200,
    )


def _node(number: int, bad_one: int, digests: Mapping[str, str], now: float, rng: random.Random) -> list[Write]:
    id, hostile = f"{number:08x}", number == bad_one
    name = MARKUP if hostile else f"cam-{SITES[number % 3]}-{number:05d}"
    enrolment = Enrolment.PENDING if number == 5 else Enrolment.REVOKED if number == 11 else Enrolment.ACCEPTED
    node = Node(
        node_id=id,
        name=name,
        enrolment=enrolment,
        public_key_sha256="ab" * 32,
        certificate_sha256="cd" * 32,
        certificate_expires_at=now + (2 if number == 7 else 24) * DAY_S,
        enrolled_at=now - 6 * DAY_S,
        labels={"site": MARKUP if hostile else SITES[number % 3], "kind": MARKUP if hostile else "camera"},
    )
    digest = digests["student-onnx-int8" if number % 3 else "student-onnx"]
    text = MARKUP if hostile else ""
    bad = number == 9 or hostile
    done = ReportedModel(
        state=UpdateState.ROLLED_BACK if bad else UpdateState.SUCCEEDED,
        desired_generation=1,
        target=digest,
        serving=digest,
        reason=text or ("accuracy-drop" if bad else ""),
        detail=text,
        incident=text,
        memory_bytes=31_000_000 + number * 1000,
        disk_bytes=460_000,
    )
    presence = Presence(
        connected=number % 13 != 3,
        since=now - rng.uniform(60, 5 * DAY_S),
        boot_id="b0" * 16,
        agent_version=text or "0.4.0",
        protocol_version=1,
        features=(text or "federated", "deferral"),
        hardware={"cpu_model": text or "Cortex-A72", "cpu_cores": 4, "memory_bytes": "4110000000", "os": text or "Linux 6.1"},
        hardware_class=text or CLASSES[number % 3],
        runtimes=(text or "onnxruntime", "ncnn"),
        conditions={"battery": text or "mains", "thermal": "nominal"},
        labelled_examples={text or MODEL: 240},
        update_window=text,
        time_zone=text,
        coordinator="",
        session="5e" * 8,
        twins=("10.0.0.7:50100", "10.3.0.9:41220") if number == 13 else (),
        twins_at=now if number == 13 else 0.0,
    )
    counts = [0] * (len(LATENCY_BOUNDS_MS) + 1)
    counts[18 + number % 4], counts[24], counts[27] = 900 + number, 200, 12
    counted = ServingCounts(requests=1112 + number, failed_requests=number % 3, latency_counts=tuple(counts))
    telemetry = TelemetryTotals(
        boots={"b0" * 16: 4},
        totals=counted,
        manifest_digest=digest,
        serving=counted,
        last_window=Window(start=now - 10, end=now, counts=counted),
        last_report_at=now,
        rss_bytes=61_000_000,
        peak_rss_bytes=64_000_000,
        cpu_seconds=12.0,
    )
    reported = Reported(generation=3, observed_generation=1, models={text or MODEL: done}, problem=text)
    desired = Desired().with_model(MODEL, DesiredModel(manifest_digest=digest, rollout_id="tiny-1-r1", generation=1))
    session, profile = stored(presence)
    docs: dict[str, Any] = {"node": dump(node), "reported": dump(reported), "desired": dump(desired)}
    docs |= {PRESENCE: session, PROFILE: profile}
    if number in (17, bad_one):
        failures = tuple(NodeFailure(of=f"tiny-{n}-r1", at=now - n * 3600, reason=text or "load-failed") for n in (3, 2, 1))
        held = Quarantine(since=now - 1800, until=now + DAY_S, by="quarantine", reason=text or "3 failures within a day")
        docs["trouble"] = dump(NodeTrouble(failures=failures, quarantine=held))
    writes = [Write(kind, id, body, None) for kind, body in docs.items()]
    writes.append(Write(TELEMETRY, telemetry_id(id, text or MODEL), dump(telemetry), None))
    return [*writes, Write("node-name", name, {"node_id": id}, None), _inputs(id, text or MODEL, number, now)]


def _inputs(id: str, model: str, number: int, now: float) -> Write:
    drifted = number % 12 == 4
    body = {
        "sketch_id": "s1",
        "baseline": [[5, 5]],
        "baseline_examples": 300,
        "baseline_full": True,
        "window": [[1, 1]],
        "window_examples": 20,
        "boot_id": "b0" * 16,
        "sequence": 4,
        "updated_at": now - 30,
        "score": 0.31 if drifted else 0.04 + (number % 5) / 100,
        "windows": 9,
        "drifted": drifted,
        "since": now - 3600 if drifted else None,
    }
    return Write(drift.KIND, drift.inputs_id(id, model), body, None)


def _run(run_id: str, digests: Mapping[str, str], now: float, state: RunState, hostile: bool) -> Run:
    failed = state is RunState.FAILED
    finished = tuple(
        FinishedRound(
            number=n,
            seconds=41.0 + n,
            weights=digest_of(b"round %d" % n),
            participants=tuple(f"{each:08x}" for each in range(4 if failed and n == 2 else 8)),
            failed={"00000009": "silent", "00000004": "bad-metrics"} if n == 2 else {},
            bytes_down=3_200_000,
            bytes_up=2_900_000 - 1000 * n,
            metrics={"accuracy_before": 0.88 + 0.02 * n, "loss": 0.4 - 0.05 * n},
        )
        for n in range(1, 3 if failed else 5)
    )
    run = Run(
        run_id=run_id,
        model=MODEL,
        strategy="fedavg",
        rounds=4,
        local_epochs=1,
        learning_rate=1e-3,
        batch_size=8,
        seed=3,
        architecture={"name": "linear"},
        input={},
        classes=3,
        base_weights=digest_of(b"weights of student-onnx"),
        base_manifest=digests["student-onnx"],
        state=state,
        finished=finished,
        created_at=now - 7200,
        started_at=now - 7100,
        finished_at=now - 6000,
    )
    return (
        replace(run, reason="too-few-replies", detail=f"1 of 8 nodes answered {MARKUP if hostile else 'in time'}")
        if failed
        else run
    )
