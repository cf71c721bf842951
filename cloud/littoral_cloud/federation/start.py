"""From "these nodes should learn" to a PENDING run: which weights it starts from, and everything that the nodes need."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Literal

from littoral.budget import Budget, worst_class_shortfall
from littoral.errors import BadInput, NotFound
from littoral.manifest import Manifest
from littoral_cloud.app import Core
from littoral_cloud.federation.run import Run, create_run
from littoral_cloud.federation.terms import RunTerms
from littoral_cloud.fleet.ledger import Ledger
from littoral_cloud.fleet.profile import presences
from littoral_cloud.fleet.records import Artifact, Reported, load


def inside(artifact: Artifact, budget: Budget) -> bool:
    """Whether what is known without measuring (size, runtime, worst class) is inside a budget."""
    if budget.runtimes and artifact.runtime not in budget.runtimes:
        return False
    label, worst = artifact.worst_class or ("", None)
    if worst_class_shortfall(worst, label, budget) is not None:
        return False
    return budget.artifact_bytes is None or artifact.artifact_bytes <= budget.artifact_bytes


def choose_base(artifacts: Sequence[Artifact], served: Collection[str], budgets: Sequence[Budget]) -> Artifact:
    """The artifact whose weights a run goes on from.

    Among the weights of which nodes serve some artifact now (of all, where none is served): those of which an artifact fits
    the most of the budgets, then the most accurate, then the newest.

    Args:
        artifacts: of one model.
        served: manifest digests that nodes serve.
        budgets: of the nodes that the run is for; empty: accuracy alone decides.

    Raises NotFound where no artifact has weights.
    """
    known = [a for a in artifacts if a.weights]
    if not known:
        raise NotFound(
            "federated run: no artifact of this model has its weights here",
            hint="publish one with the weights that it was made from",
        )
    live = {a.weights for a in known if a.manifest_digest in served} or {a.weights for a in known}

    def rank(artifact: Artifact) -> tuple[int, float, float, str]:
        family = [a for a in known if a.weights == artifact.weights]
        fitting = sum(any(inside(a, budget) for a in family) for budget in budgets)
        return fitting, artifact.accuracy, artifact.created_at, artifact.manifest_digest

    return max((a for a in known if a.weights in live), key=rank)


async def start_run(
    core: Core,
    *,
    run_id: str,
    model: str,
    terms: RunTerms | None = None,
    base: Artifact | None = None,
    for_nodes: Sequence[str] = (),
    cohort: Sequence[str] = (),
    origin: Literal["operator", "loop"] = "operator",
    actor: str = "operator",
) -> Run:
    """Writes a PENDING run; the coordinator's controller does the rest.

    Args:
        base: None: choose_base decides.
        for_nodes: ids of the nodes that the new model is for, such as those that drifted: it should fit their budgets.
        cohort: ids of the nodes that may take part; empty: every node that can.
        origin: who asks for it; the closed loop goes on with its own runs alone.

    Raises:
        NotFound: no artifact of the model has weights. BadInput: terms that cannot work.
    """
    terms, ledger = terms or RunTerms(), core.ledger
    if base is None:
        known = [a for a in (load(Artifact, doc) for doc in await ledger.all("artifact")) if a.model == model]
        base = choose_base(known, await _served(ledger, model), await _budgets(ledger, model, for_nodes))
    if not base.weights:
        raise BadInput(f"artifact {base.name}: the weights that it was made from are not here", hint="choose another one")
    envelope = await asyncio.to_thread(core.blobs.read, base.manifest_digest)
    manifest = Manifest.open(envelope, core.trust.signing_keys())
    min_nodes = terms.min_nodes if terms.min_nodes is not None else (1 if len(cohort) == 1 else 2)
    # A linear model is a head and nothing else.
    freeze_head = terms.freeze_head and manifest.architecture.get("name") != "linear"
    asked = {**asdict(terms), "min_nodes": min_nodes, "min_replies": terms.min_replies or min_nodes, "freeze_head": freeze_head}
    run = Run(
        **asked,
        run_id=run_id,
        model=model,
        architecture=manifest.architecture,
        input={
            "shape": list(manifest.input.shape),
            "scale": manifest.input.scale,
            "mean": list(manifest.input.mean),
            "std": list(manifest.input.std),
        },
        classes=len(manifest.output.labels),
        base_weights=base.weights,
        base_manifest=base.manifest_digest,
        data=base.data,
        cohort=tuple(sorted(set(cohort))),
        origin=origin,
        created_at=core.clock(),
    )
    return await create_run(ledger, run, actor=actor)


async def _served(ledger: Ledger, model: str) -> set[str]:
    reports = [load(Reported, doc) for doc in await ledger.all("reported")]
    return {report.models[model].serving for report in reports if model in report.models and report.models[model].serving}


async def _budgets(ledger: Ledger, model: str, node_ids: Sequence[str]) -> list[Budget]:
    found = await presences(ledger, *node_ids) if node_ids else {}
    return [found[node_id].budget_for(model) for node_id in node_ids if node_id in found]
