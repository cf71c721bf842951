"""Use cases of drift: whether what the nodes see is still what it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from littoral_cloud.commands.nodes import found_node
from littoral_cloud.commands.paging import Page, page_of
from littoral_cloud.commands.use_case import Office, use_case
from littoral_cloud.commands.viewing import records_of
from littoral_cloud.fleet.drift_seen import KIND, DriftSeen
from littoral_cloud.fleet.records import Node
from littoral_cloud.terminal.text import when
from littoral_cloud.trust.people import Caller, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftShown:
    """One model's inputs on one node.

    Attributes:
        state: drifted, acknowledged, steady, or learning (its baseline is not full yet).
        score: how far the last full window is from the baseline; None: no window was full yet.
        windows: judged since the baseline was full.
    """

    node: str
    name: str
    model: str
    labels: Mapping[str, str]
    state: str
    score: float | None
    windows: int
    baseline_examples: int
    since: str | None
    updated: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftOfSite:
    """`site`: the value of the label that was asked for."""

    model: str
    site: str
    nodes: int
    drifted: int
    highest: float | None
    mean: float | None


@use_case("drift.list", Role.VIEWER)
async def page(office: Office, caller: Caller, *, model: str, drifted: bool, after: str, limit: int) -> Page[DriftShown]:
    """Each model on each node, those that drifted first, then by the last score."""
    rows = [row for row in await _rows(office, caller) if model in ("", row[1]) and (not drifted or row[2].state == "drifted")]
    return page_of(rows, _key, lambda row: _shown(*row), of="drift", after=after, limit=limit)


@use_case("drift.by-site", Role.VIEWER)
async def by_site(office: Office, caller: Caller, *, label: str) -> tuple[DriftOfSite, ...]:
    """How many nodes drifted, by model and by the value of a label; those with most in front."""
    groups: dict[tuple[str, str], list[DriftSeen]] = {}
    for node, model, seen in await _rows(office, caller):
        groups.setdefault((model, node.labels.get(label, "")), []).append(seen)
    found = [_of_site(model, site, inputs) for (model, site), inputs in groups.items()]
    return tuple(sorted(found, key=lambda each: (-each.drifted, each.model, each.site)))


@use_case("drift.show", Role.VIEWER)
async def of_node(office: Office, caller: Caller, *, node: str) -> tuple[DriftShown, ...]:
    """Each model on one node."""
    found = await found_node(office, caller, node)
    return tuple(_shown(*row) for row in await _rows(office, caller) if row[0].node_id == found.node_id)


_Row = tuple[Node, str, DriftSeen]
"""A node, a model, and how the model's inputs stand there."""


async def _rows(office: Office, caller: Caller) -> list[_Row]:
    nodes, inputs = await records_of(office, "node", Node), await records_of(office, KIND, DriftSeen)
    rows, everywhere = [], caller.scope.everywhere
    for id, seen in inputs.items():
        node_id, _, model = id.partition(":")
        node: Node | None = nodes.get(node_id)
        if node is not None and (everywhere or (caller.scope.has_node(node.labels) and caller.scope.has_model(model))):
            rows.append((node, model, seen))
    return rows


def _shown(node: Node, model: str, seen: DriftSeen) -> DriftShown:
    return DriftShown(
        node=node.node_id,
        name=node.name,
        model=model,
        labels=dict(node.labels),
        state=seen.state,
        score=seen.score,
        windows=seen.windows,
        baseline_examples=seen.baseline_examples,
        since=when(seen.since) if seen.since is not None and seen.drifted else None,
        updated=when(seen.updated_at),
    )


_ORDER = ("drifted", "acknowledged", "steady", "learning")


def _key(row: _Row) -> str:
    """Worst first; of no other row."""
    node, model, seen = row
    return f"{_ORDER.index(seen.state)}.{1_000 - (seen.score or 0.0):012.6f}.{node.name}.{node.node_id}:{model}"


def _of_site(model: str, site: str, inputs: Sequence[DriftSeen]) -> DriftOfSite:
    scores = [seen.score for seen in inputs if seen.score is not None]
    return DriftOfSite(
        model=model,
        site=site,
        nodes=len(inputs),
        drifted=sum(seen.state == "drifted" for seen in inputs),
        highest=max(scores, default=None),
        mean=sum(scores) / len(scores) if scores else None,
    )
