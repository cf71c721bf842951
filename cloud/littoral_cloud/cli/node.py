"""littoral-cloud node: lists, shows and explains nodes, and removes one from the fleet."""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from littoral.budget import ESTIMATE
from littoral.errors import BadInput
from littoral_cloud.app import Core
from littoral_cloud.cli.command import command
from littoral_cloud.cli.noun import noun
from littoral_cloud.fleet.nodes import (
    NodeView,
    ServedModel,
    decommission,
    find_node,
    names_of,
    view_node,
    view_nodes,
    view_some_nodes,
)
from littoral_cloud.fleet.quarantine import Quarantine
from littoral_cloud.quarantine.commands import end_quarantine, quarantine
from littoral_cloud.terminal.output import Format, FormatOption, by_class, emit, emit_parts, notice, when, worth

if TYPE_CHECKING:
    from littoral_cloud.rollouts.artifact_choice import Row
    from littoral_cloud.rollouts.explain import Explained

app = noun("Manage the nodes of the fleet.", "littoral-cloud node explain camera")

NodeArgument = Annotated[str, typer.Argument(help="The node's name or id.")]

_WAY_OUT = "a connected node renews it; else enrol the node again with a new join line, under the same id: littoral-node enroll"

_COLUMNS = ("name", "state", "model", "student", "update", "requests", "failed", "p50_ms", "p95_ms", "since", "id")


@command(app, "list", example="node list --limit 50 --after camera-049")
async def list_(
    core: Core,
    limit: Annotated[int | None, typer.Option(min=1, max=10_000, help="Only this many nodes, by name. Default: all.")] = None,
    after: Annotated[str, typer.Option(help="With --limit: the nodes behind this name.")] = "",
    format: FormatOption = Format.TABLE,
) -> None:
    """List the nodes, their state and what they serve."""
    if after and limit is None:
        raise BadInput(f"--after: {after!r} needs --limit", hint="littoral-cloud node list --limit 50 --after NAME")
    now = core.clock()
    views = (
        await view_nodes(core.ledger, now) if limit is None else await view_some_nodes(core.ledger, now, after=after, count=limit)
    )
    if format == Format.JSON:
        emit([_full(view, now) for view in views], format)
        return
    emit([row for view in views for row in _rows(view)], columns=_COLUMNS, empty="no nodes")
    for view in views:
        if warning := view.certificate_warning(now):
            emit(f"{view.node.name}: {warning}: {_WAY_OUT}")
        if (out := view.trouble.quarantine) is not None:
            end = f"until {when(out.until)}" if out.until is not None else "until an operator ends it"
            emit(f"{view.node.name}: in quarantine by {out.by} {end}: {out.reason}")
        if view.twins:
            emit(f"{view.node.name}: runs twice, from {' and '.join(view.twins)}: stop one, empty its folder, and enrol it again")
    if limit is not None and len(views) == limit:
        notice(f"there may be more: --limit {limit} --after {views[-1].node.name}")


@command(app, example="node show gateway")
async def show(core: Core, node: NodeArgument, format: FormatOption = Format.TABLE) -> None:
    """Show everything about one node."""
    now = core.clock()
    full = _full(await view_node(core.ledger, await find_node(core.ledger, node), now), now)
    models = full.pop("models")
    emit_parts(full, "models", models, format)


@command(app, "decommission", example="node decommission gateway")
async def decommission_(core: Core, node: NodeArgument, format: FormatOption = Format.TABLE) -> None:
    """Remove a node from the fleet for ever: ends its session now and refuses its certificate."""
    gone = await decommission(core.ledger, node, actor=getpass.getuser())
    body = {"id": gone.node_id, "name": gone.name, "state": "decommissioned"}
    emit(body if format == Format.JSON else f"{gone.name} ({gone.node_id}) is decommissioned", format)


@command(app, "quarantine", example='node quarantine camera --reason "its disk is worn" --hours 24')
async def quarantine_(
    core: Core,
    node: NodeArgument,
    reason: Annotated[str, typer.Option(help="Why, for other operators.")] = "by hand",
    hours: Annotated[float | None, typer.Option(help="How long it lasts. Default: until end-quarantine.")] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Leave a node out of updates and federated rounds. It serves what it has."""
    lasts_s = None if hours is None else hours * 3_600
    out = await quarantine(core.ledger, node, core.clock(), reason=reason, actor=getpass.getuser(), lasts_s=lasts_s)
    body = {"id": out.node_id, "name": out.name, "quarantined": True}
    emit(body if format == Format.JSON else f"{out.name} is in quarantine", format)


@command(app, "end-quarantine", example="node end-quarantine camera")
async def end_quarantine_(core: Core, node: NodeArgument, format: FormatOption = Format.TABLE) -> None:
    """Let updates and federated rounds reach a node again."""
    back = await end_quarantine(core.ledger, node, core.clock(), actor=getpass.getuser())
    body = {"id": back.node_id, "name": back.name, "quarantined": False}
    emit(body if format == Format.JSON else f"{back.name} is not in quarantine any more", format)


@command(app, example="node explain camera --model digits")
async def explain(
    core: Core,
    node: NodeArgument,
    model: Annotated[str | None, typer.Option(help="Only this model.")] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Show all candidates with their figures, measured on this node or its hardware class, and the limits that exclude them.

    A ~ before an energy: estimated from processor time. Budgets ignore estimates.
    """
    from littoral_cloud.rollouts.explain import explain_node

    found = await explain_node(core.ledger, node, model)
    if format == Format.JSON:
        emit({name: [_candidate(row, of) for row in of.rows] for name, of in found.items()}, format)
        return
    names = await names_of(core.ledger, (row.measured_on for of in found.values() for row in of.rows if row.measured_on))
    for name, of in found.items():
        holds = f" ({', '.join(of.conditions)})" if of.conditions else ""
        emit(f"{name}: {of.release or 'no release yet'}; budget: {str(of.budget) or 'no limits'}{holds}")
        if of.remark:
            emit(of.remark)
        emit([_line(row, of, names, format) for row in of.rows], empty="no candidates")
        for row in of.rows:
            for note in row.notes:
                emit(f"{row.name}: {note}")


def _candidate(row: Row, of: Explained) -> dict[str, Any]:
    """All fields, for programs."""
    about = {"budget": str(of.budget), "conditions": list(of.conditions), "release": of.release, "remark": of.remark}
    return {
        **asdict(row),
        "energy_estimated": row.energy_source == ESTIMATE,
        "serving": row.manifest_digest == of.serving,
        **about,
    }


def _line(row: Row, of: Explained, names: Mapping[str, str], format: Format) -> dict[str, Any]:
    estimated = "~" if row.energy_source == ESTIMATE else ""
    by = row.measured_by if row.measured_by != "its class" else f"its class, {names.get(row.measured_on, row.measured_on)}"
    return {
        "candidate": row.name,
        "runtime": row.runtime,
        **worth(row.accuracy, row.metric, format, classes=row.class_accuracy),
        **by_class((row.worst_label, row.worst_class) if row.worst_class is not None else None, row.class_accuracy, format),
        "bytes": row.artifact_bytes,
        "p50_ms": row.p50_ms,
        "p95_ms": row.latency_ms,
        "p99_ms": row.p99_ms,
        "rss_bytes": row.peak_rss_bytes,
        "energy_mj": None if row.energy_mj is None else f"{estimated}{row.energy_mj:.4g}",
        "measured_by": by,
        "chosen": row.chosen,
        "serves": row.manifest_digest == of.serving,
        "why_not": row.why_not,
    }


def _rows(view: NodeView) -> list[dict[str, Any]]:
    """A row for each model; one for a node without models."""
    node = {
        "name": view.node.name,
        "id": view.node.node_id,
        "state": view.state,
        "since": when(view.presence.since) if view.presence else None,
    }
    return [node | (_served(model) if model else {}) for model in view.models or (None,)]


def _served(model: ServedModel) -> dict[str, Any]:
    until = f", until {when(model.put_off_until)} at the latest" if model.put_off_until is not None else ""
    return {
        "model": model.model,
        "student": model.student,
        "update": f"{model.state.value} ({model.reason}{until})" if model.reason else model.state.value,
        "requests": model.requests,
        "failed": model.failed_requests,
        "p50_ms": model.p50_ms,
        "p95_ms": model.p95_ms,
    }


def _quarantine(quarantine: Quarantine | None) -> dict[str, Any] | None:
    if quarantine is None:
        return None
    until = when(quarantine.until) if quarantine.until is not None else None
    return {"since": when(quarantine.since), "until": until, "by": quarantine.by, "reason": quarantine.reason}


def _full(view: NodeView, now: float) -> dict[str, Any]:
    node, presence = view.node, view.presence
    return {
        "id": node.node_id,
        "name": node.name,
        "state": view.state,
        "labels": dict(node.labels),
        "enrolled": when(node.enrolled_at),
        "certificate_expires": when(node.certificate_expires_at),
        "warning": view.certificate_warning(now) or None,
        "runs_twice_from": list(view.twins),
        "quarantine": _quarantine(view.trouble.quarantine),
        "failures": [f"{when(each.at)} {each.of}: {each.reason}" for each in view.trouble.failures],
        "since": when(presence.since) if presence else None,
        "agent_version": presence.agent_version if presence else None,
        "protocol_version": presence.protocol_version if presence else None,
        "features": list(presence.features) if presence else [],
        "runtimes": list(presence.runtimes) if presence else [],
        "hardware_class": presence.hardware_class if presence else None,
        "hardware": dict(presence.hardware) if presence else {},
        "budgets": {name or "*": str(budget) for name, budget in presence.budgets.items()} if presence else {},
        "memory_bytes": presence.limits.memory_bytes if presence else None,  # for all models
        "disk_bytes": presence.limits.disk_bytes if presence else None,
        "requests": presence.limits.requests if presence else None,
        "conditions": dict(presence.conditions) if presence else {},
        "update_window": (presence.update_window or None) if presence else None,
        "time_zone": (presence.time_zone or None) if presence else None,
        "labelled_examples": dict(presence.labelled_examples) if presence else {},
        "problem": view.problem or None,
        "models": list(view.models),
    }
