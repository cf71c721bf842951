"""Many nodes as documents, without sessions: each has enrolled, was here, took an artifact, and sent telemetry.

Documents have the sizes of real ones; what differs from node to node is put into one record of its class of hardware. Of each
class three nodes have measured each artifact, as a rollout leaves it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from bench.fleet.driver import hellos, telemetry_report
from bench.fleet.rows import tell
from bench.fleet.stage import MODEL
from littoral_cloud.api.wire import presence_from, report_from
from littoral_cloud.fleet import drift
from littoral_cloud.fleet.ledger import Change, Ledger, Write
from littoral_cloud.fleet.measurements import MeasurementRecord, measurement_id
from littoral_cloud.fleet.profile import PRESENCE, PROFILE, stored
from littoral_cloud.fleet.records import Desired, DesiredModel, Enrolment, Node, Reported, ReportedModel, UpdateState, dump
from littoral_cloud.fleet.telemetry import KIND as TELEMETRY
from littoral_cloud.fleet.telemetry import fold, telemetry_id
from littoral_cloud.fleet.windows import MODELS, NodeModels

AT_ONCE = 500
MEASURED_BY = 3
BOOT = "b0" * 16
DAY_S = 86_400.0


def node_id(number: int) -> str:
    return f"{number:016x}"


async def populate(
    ledger: Ledger, nodes: int, digests: Sequence[str], now: float, *, coordinator: str = "", connected: bool = False
) -> None:
    """Args:
    digests: of the release's artifacts; each node serves the last one.
    now: seconds since 1970-01-01 UTC.
    coordinator: that has their sessions, where they are connected.
    """
    batch: list[Write] = []
    for number, writes in enumerate(_written(nodes, digests, now, coordinator, connected)):
        batch += writes
        if len(batch) >= AT_ONCE or number == nodes - 1:
            await ledger.commit(Change(tuple(batch)))
            batch = []
        if (number + 1) % 10_000 == 0:
            tell(f"  {number + 1:,} nodes written")
            await asyncio.sleep(0)
    await ledger.commit(Change(tuple(_measurements(nodes, digests, now))))


def _written(nodes: int, digests: Sequence[str], now: float, coordinator: str, connected: bool) -> Iterator[list[Write]]:
    presences = []
    for hello in hellos():
        hello.boot_id = BOOT
        session, profile = stored(presence_from(hello, now - DAY_S if not connected else now))
        session |= {"connected": connected, "coordinator": coordinator, "session": "5e" * 8}
        presences.append({PRESENCE: session, PROFILE: profile})
    node = dump(
        Node(
            node_id="",
            name="",
            enrolment=Enrolment.ACCEPTED,
            public_key_sha256="ab" * 32,
            certificate_sha256="cd" * 32,
            certificate_expires_at=now + 60 * DAY_S,
            enrolled_at=now - 30 * DAY_S,
        )
    )
    serves = DesiredModel(manifest_digest=digests[-1], rollout_id="table-1-r1", generation=1)
    desired = dump(Desired().with_model(MODEL, serves))
    done = ReportedModel(state=UpdateState.SUCCEEDED, desired_generation=1, target=digests[-1], serving=digests[-1])
    reported = dump(Reported(generation=5, observed_generation=1, models={MODEL: done}, boot_id=BOOT))
    models = dump(NodeModels(wanted=(MODEL,)))
    telemetry, inputs = _seen(digests[-1], now)
    for number in range(nodes):
        id, name = node_id(number), f"node-{number:06d}"
        both = telemetry_id(id, MODEL)
        yield [
            Write("node", id, {**node, "node_id": id, "name": name}, None, quiet=True),
            Write("node-name", name, {"node_id": id}, None, quiet=True),
            *(Write(kind, id, body, None, quiet=True) for kind, body in presences[number % len(presences)].items()),
            Write("desired", id, desired, None, quiet=True),
            Write("reported", id, reported, None, quiet=True),
            Write(MODELS, id, models, None, quiet=True),
            Write(TELEMETRY, both, telemetry, None, quiet=True),
            Write(drift.KIND, both, inputs, None, quiet=True),
        ]


def _seen(digest: str, now: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """Documents of telemetry and of inputs, after some windows."""
    totals, inputs = None, None
    word = telemetry_report(MODEL, digest)
    for sequence in range(1, 9):
        word.boot_id, word.sequence = BOOT, sequence
        report = report_from(word)
        assert report.inputs is not None
        totals = fold(totals, report, now)
        inputs = drift.step(inputs, report.inputs, now, drift.DriftPolicy(), boot_id=BOOT, sequence=sequence)
    return dump(totals), dump(inputs)


def _measurements(nodes: int, digests: Sequence[str], now: float) -> Iterator[Write]:
    classes = [hello.hardware.hardware_class for hello in hellos()]
    rng = np.random.default_rng(5)
    for number in range(min(nodes, MEASURED_BY * len(classes))):
        for digest in digests:
            found = MeasurementRecord(
                manifest_digest=digest,
                node_id=node_id(number),
                hardware_class=classes[number % len(classes)],
                failure="",
                detail="",
                p50_ms=0.02,
                p95_ms=round(0.03 * rng.uniform(0.9, 1.1), 4),
                p99_ms=0.05,
                peak_rss_bytes=2_000_000,
                start_ms=40.0,
                samples=200,
                load_average=0.5,
                runtime_version="1",
                energy_mj=None,
                energy_source="",
                measured_at=now,
            )
            yield Write("measurement", measurement_id(digest, found.node_id), dump(found), None, quiet=True)
