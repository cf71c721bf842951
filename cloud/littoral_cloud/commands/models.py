"""Use cases that look at a model as a whole: what there is, what is worth choosing, what was made of what."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass

from littoral_cloud.commands.paging import Page, page_of
from littoral_cloud.commands.use_case import Office, use_case
from littoral_cloud.federation.run import all_runs
from littoral_cloud.fleet.measurements import MeasurementIndex, MeasurementRecord
from littoral_cloud.fleet.records import Artifact, Release, Reported, load
from littoral_cloud.lineage.find import all_artifacts
from littoral_cloud.lineage.front import FrontPoint, classes_of, points_of
from littoral_cloud.lineage.graph import LineageEdge, LineageNode, graph_of
from littoral_cloud.releases.catalogue import all_releases
from littoral_cloud.rollouts.back import releases_in_force
from littoral_cloud.trust.people import Caller, Role

MOST_ARTIFACTS = 200
"""The newest of a model, in its front and its graph."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShown:
    """`in_force`: the newest release that was not withdrawn, or the one that the fleet went back to after that one was made. Its
    rollout may have failed, or not started; None: there is none. `nodes`: that answer with an artifact of the model."""

    name: str
    artifacts: int
    releases: int
    in_force: str | None
    nodes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFront:
    """Attributes:
    hardware_class: on which latencies were measured; empty: nothing was measured.
    classes: hardware classes that measured the model, those with most measurements first.
    points: the newest artifacts, the best first.
    """

    model: str
    hardware_class: str
    classes: tuple[str, ...]
    points: tuple[FrontPoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLineage:
    """What was made of what: each edge goes from a parent to what was made of it."""

    model: str
    nodes: tuple[LineageNode, ...]
    edges: tuple[LineageEdge, ...]


@use_case("model.list", Role.VIEWER)
async def page(office: Office, caller: Caller, *, after: str, limit: int) -> Page[ModelShown]:
    """The models that have artifacts, by name."""
    ledger = office.core.ledger
    artifacts = Counter(each.model for each in await all_artifacts(ledger))
    releases = Counter(each.model for each in await all_releases(ledger))
    in_force, nodes = await releases_in_force(ledger), Counter(name for name, _ in await _served(office))

    def shown(name: str) -> ModelShown:
        release = in_force.get(name)
        return ModelShown(
            name=name,
            artifacts=artifacts[name],
            releases=releases[name],
            in_force=release.release_id if release else None,
            nodes=nodes[name],
        )

    mine = [name for name in artifacts if caller.scope.has_model(name)]
    return page_of(mine, lambda name: name, shown, of="models", after=after, limit=limit)


@use_case("model.front", Role.VIEWER)
async def front(office: Office, caller: Caller, *, model: str, hardware_class: str = "") -> ModelFront:
    """Accuracy against bytes and latency: a model's artifacts, and which of them no other one beats."""
    caller.needs_model(model)
    artifacts, releases = await _of_model(office, model)
    digests = {each.manifest_digest for each in artifacts}
    docs = await office.core.ledger.all("measurement")
    measured = [load(MeasurementRecord, doc) for doc in docs if doc.body["manifest_digest"] in digests]
    classes = classes_of(measured)
    chosen = hardware_class or (classes[0] if classes else "")
    serving = Counter(digest for _, digest in await _served(office))
    return ModelFront(
        model=model,
        hardware_class=chosen,
        classes=classes,
        points=points_of(artifacts, releases, MeasurementIndex(measured), chosen, serving),
    )


@use_case("model.lineage", Role.VIEWER)
async def lineage(office: Office, caller: Caller, *, model: str) -> ModelLineage:
    """What was made of what: data, teachers, runs, artifacts, releases, and how many nodes serve each."""
    caller.needs_model(model)
    core = office.core
    artifacts, releases = await _of_model(office, model)
    runs = [run for run in await all_runs(core.ledger) if run.model == model]
    serving = Counter(digest for _, digest in await _served(office))
    nodes, edges = await asyncio.to_thread(graph_of, artifacts, releases, runs, serving, core.blobs, core.trust.signing_keys())
    return ModelLineage(model=model, nodes=nodes, edges=edges)


async def _of_model(office: Office, model: str) -> tuple[list[Artifact], list[Release]]:
    artifacts = [each for each in await all_artifacts(office.core.ledger) if each.model == model]
    return artifacts[-MOST_ARTIFACTS:], [each for each in await all_releases(office.core.ledger) if each.model == model]


async def _served(office: Office) -> list[tuple[str, str]]:
    """Of each model on each node: its name, and the manifest's digest that answers."""
    if office.view is not None:
        await office.view.ready()
        every = [held.record for held in office.view.of("reported").values()]
    else:
        every = [load(Reported, doc) for doc in await office.core.ledger.all("reported")]
    return [(name, model.serving) for each in every for name, model in each.models.items() if model.serving]
