"""Reads the ledger and the blobs for the demo's report; changes nothing."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from littoral.budget import Budget, excesses
from littoral.lineage import BASE, TEACHER
from littoral.manifest import Manifest
from littoral_cloud.app import Core
from littoral_cloud.data.dataset import Examples
from littoral_cloud.demo.processes import NodeProcess
from littoral_cloud.demo.report import NodeRow, RolloutRow, StudentRow
from littoral_cloud.fleet.ledger import trail
from littoral_cloud.fleet.profile import presence_of
from littoral_cloud.fleet.records import Reported, load
from littoral_cloud.packaging.package import Packaged, answers_of
from littoral_cloud.releases.catalogue import read_artifact
from littoral_cloud.releases.parents import parents_by_role
from littoral_cloud.rollouts.artifact_choice import as_measured, measurement_for
from littoral_cloud.rollouts.seen import measurements
from littoral_cloud.rollouts.state import Rollout
from littoral_cloud.training.train import accuracy_of
from littoral_cloud.trust.audit_chain import verify


async def serving(core: Core, node: NodeProcess) -> str:
    """The digest of the manifest that a node reports as served; empty: none."""
    doc = await core.ledger.get("reported", node.node_id)
    models = load(Reported, doc).models if doc else {}
    return models[node.model].serving if node.model in models else ""


async def accuracy_on(core: Core, digest: str, examples: Examples) -> float:
    """The accuracy of the files that nodes serve, in their own runtime; a fraction."""
    manifest = Manifest.open(core.blobs.read(digest), core.trust.signing_keys())
    files = {file.path: core.blobs.read(file.digest) for file in manifest.files}
    return accuracy_of(answers_of(Packaged(manifest, files), examples.x), examples.y)


async def student_row(core: Core, digest: str) -> StudentRow:
    found = await read_artifact(core.ledger, digest)
    parents = parents_by_role(Manifest.open(core.blobs.read(digest), core.trust.signing_keys()))
    label, worst = found.worst_class or ("", None)
    return StudentRow(
        name=found.name,
        architecture=str(found.architecture["name"]),
        runtime=found.runtime,
        accuracy=found.accuracy,
        bytes=found.artifact_bytes,
        parameters=found.parameters,
        digest=digest,
        parent=next(iter(parents.get(TEACHER) or parents.get(BASE) or ()), ""),
        worst_label=label,
        worst_class=worst,
        class_accuracy=found.class_accuracy,
        remarks=found.remarks,
    )


async def node_row(core: Core, node: NodeProcess) -> NodeRow:
    """The artifact that a node serves, its measured cost on this node or its hardware class, and whether the budget allows it."""
    digest = await serving(core, node)
    tally = node.stream.tally if node.stream is not None else None
    requests, failed = (tally.requests, tally.failed) if tally else (0, 0)
    presence = await presence_of(core.ledger, node.node_id)
    records = await measurements(core.ledger)
    figures = measurement_for(node.node_id, presence, digest, records) if presence and digest else None
    if figures is None:
        return NodeRow(node.machine.name, "", "", math.nan, math.nan, node.peak_rss, node.machine.budget, False, requests, failed)
    served = await read_artifact(core.ledger, digest)
    return NodeRow(
        name=node.machine.name,
        runtime=served.runtime,
        student=served.name,
        p50_ms=figures.p50_ms,
        p95_ms=figures.p95_ms,
        rss_bytes=node.peak_rss,
        budget=node.machine.budget,
        fits=not excesses(as_measured(served, figures), Budget.parse(node.machine.budget)),
        requests=requests,
        failed_requests=failed,
    )


async def largest_load(core: Core) -> float:
    """The highest one-minute load average while a candidate was measured."""
    records = await measurements(core.ledger)
    return max((record.load_average for record in records), default=math.nan)


async def audit_state(core: Core) -> dict[str, Any]:
    """How many lines the trail has, of which actions, and whether its chain holds."""
    lines = [line async for line in trail(core.ledger)]
    counts = Counter(line.action for line in lines)
    return {"lines": len(lines), "intact": verify(lines) is None, "actions": dict(sorted(counts.items()))}


def rollout_row(rollout: Rollout, kind: str, names: Mapping[str, str]) -> RolloutRow:
    waves: Sequence[Sequence[str]] = [wave.first for wave in rollout.waves]
    return RolloutRow(
        rollout.release_id,
        kind,
        tuple(tuple(names.get(node, node) for node in wave) for wave in waves),
        rollout.state,
        rollout.reason,
    )
