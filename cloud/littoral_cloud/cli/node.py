"""littoral-cloud node: lists, shows and explains nodes, and removes one from the fleet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from littoral.errors import BadInput
from littoral.metric import Metric
from littoral_cloud.cli.command import command
from littoral_cloud.cli.node_admission import NodeArgument, add_admission
from littoral_cloud.cli.noun import noun
from littoral_cloud.client.fleet_client import FleetClient, part
from littoral_cloud.commands.paging import cursor
from littoral_cloud.lineage.find import short
from littoral_cloud.terminal.output import Format, FormatOption, by_class, emit, emit_parts, notice, worth
from littoral_cloud.terminal.text import when

app = noun("Manage the nodes of the fleet.", "littoral-cloud node explain camera")

add_admission(app)

_WAY_OUT = "a node that is there renews it, and one that was away gets another one when it comes back"

LIST = "nodes"
PAGE = 1_000
"""Nodes of one request."""

_COLUMNS = ("name", "state", "model", "student", "update", "requests", "failed", "p50_ms", "p95_ms", "since", "id")


@command(app, "list", example="node list --label site=harbour --limit 50")
async def list_(
    fleet: FleetClient,
    limit: Annotated[int | None, typer.Option(min=1, max=10_000, help="Only this many nodes, by name. Default: all.")] = None,
    after: Annotated[str, typer.Option(help="With --limit: the nodes behind this name.")] = "",
    label: Annotated[list[str] | None, typer.Option(help="Only nodes with this label key=value (repeatable).")] = None,
    state: Annotated[
        str,
        typer.Option(help="Only nodes in this state: online, away, offline, cloned, quarantined, pending, revoked."),
    ] = "",
    model: Annotated[str, typer.Option(help="Only nodes with this model.")] = "",
    format: FormatOption = Format.TABLE,
) -> None:
    """List the nodes, their state and what they serve."""
    if after and limit is None:
        raise BadInput(f"--after: {after!r} needs --limit", hint="littoral-cloud node list --limit 50 --after NAME")
    nodes: list[dict[str, Any]] = []
    behind = cursor(LIST, after)
    while True:
        most = PAGE if limit is None else min(PAGE, limit - len(nodes))
        page = await fleet.get("/nodes", after=behind, limit=most, label=label or (), state=state, model=model)
        nodes += page["items"]
        behind = page["next"]
        if not behind or (limit is not None and len(nodes) >= limit):
            break
    if format == Format.JSON:
        emit(nodes, format)
        return
    emit([row for node in nodes for row in _rows(node)], columns=_COLUMNS, empty="no nodes")
    for node in nodes:
        name = node["name"]
        if node["state"] == "pending":
            emit(f"{name}: waits for an operator: littoral-cloud node accept {name}, or node reject")
        if node["warning"]:
            emit(f"{name}: {node['warning']}: {_WAY_OUT}")
        if (out := node["quarantine"]) is not None:
            end = f"until {out['until']}" if out["until"] else "until an operator ends it"
            emit(f"{name}: in quarantine by {out['by']} {end}: {out['reason']}")
        if node["runs_twice_from"]:
            places = " and ".join(node["runs_twice_from"])
            emit(f"{name}: runs twice, from {places}: stop one, empty its folder, and enrol it again")
    if behind:
        notice(f"there are more: --limit {limit} --after {nodes[-1]['name']}")


@command(app, example="node show gateway")
async def show(fleet: FleetClient, node: NodeArgument, format: FormatOption = Format.TABLE) -> None:
    """Show everything about one node."""
    full = await fleet.get(f"/nodes/{part(node)}")
    models = full.pop("models")
    emit_parts(full, "models", models, format)


@command(app, example='node quarantine camera --reason "its disk is worn" --hours 24')
async def quarantine(
    fleet: FleetClient,
    node: NodeArgument,
    reason: Annotated[str, typer.Option(help="Why, for other operators.")] = "by hand",
    hours: Annotated[float | None, typer.Option(help="How long it lasts. Default: until end-quarantine.")] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Leave a node out of updates and federated rounds. It serves what it has."""
    out = await fleet.post(f"/nodes/{part(node)}/quarantine", {"reason": reason, "hours": hours})
    body = {"id": out["id"], "name": out["name"], "quarantined": True}
    emit(body if format == Format.JSON else f"{out['name']} is in quarantine", format)


@command(app, "end-quarantine", example="node end-quarantine camera")
async def end_quarantine(fleet: FleetClient, node: NodeArgument, format: FormatOption = Format.TABLE) -> None:
    """Let updates and federated rounds reach a node again."""
    back = await fleet.delete(f"/nodes/{part(node)}/quarantine")
    body = {"id": back["id"], "name": back["name"], "quarantined": False}
    emit(body if format == Format.JSON else f"{back['name']} is not in quarantine any more", format)


@command(app, example="node explain camera --model digits")
async def explain(
    fleet: FleetClient,
    node: NodeArgument,
    model: Annotated[str | None, typer.Option(help="Only this model.")] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Show all candidates with their figures, measured on this node or its hardware class, and the limits that exclude them.

    A ~ before an energy: estimated from processor time. Budgets ignore estimates.
    """
    found = await fleet.get(f"/nodes/{part(node)}/candidates", model=model)
    if format == Format.JSON:
        emit({name: [_candidate(each, of) for each in of["candidates"]] for name, of in found.items()}, format)
        return
    for name, of in found.items():
        holds = f" ({', '.join(of['conditions'])})" if of["conditions"] else ""
        emit(f"{name}: {of['release'] or 'no release yet'}; budget: {of['budget'] or 'no limits'}{holds}")
        if of["remark"]:
            emit(of["remark"])
        names = [each["row"]["name"] for each in of["candidates"]]
        emit([_line(each, format, names) for each in of["candidates"]], empty="no candidates")
        for each in of["candidates"]:
            for note in each["row"]["notes"]:
                emit(f"{each['row']['name']}: {note}")


def _candidate(each: Mapping[str, Any], of: Mapping[str, Any]) -> dict[str, Any]:
    """All fields, for programs."""
    about = {name: of[name] for name in ("budget", "conditions", "release", "remark")}
    return {**each["row"], "energy_estimated": each["energy_estimated"], "serving": each["serving"], **about}


def _line(each: Mapping[str, Any], format: Format, names: Sequence[str]) -> dict[str, Any]:
    """`names`: of all candidates; a name that several have needs its digest beside it."""
    row = each["row"]
    estimated = "~" if each["energy_estimated"] else ""
    by = row["measured_by"] if row["measured_by"] != "its class" else f"its class, {each['measured_on']}"
    metric = Metric(**row["metric"]) if row["metric"] is not None else None
    worst = (row["worst_label"], row["worst_class"]) if row["worst_class"] is not None else None
    return {
        "candidate": f"{row['name']} {short(row['manifest_digest'])}" if names.count(row["name"]) > 1 else row["name"],
        "runtime": row["runtime"],
        **worth(row["accuracy"], metric, format, classes=row["class_accuracy"]),
        **by_class(worst, row["class_accuracy"], format),
        "bytes": row["artifact_bytes"],
        "p50_ms": row["p50_ms"],
        "p95_ms": row["latency_ms"],
        "p99_ms": row["p99_ms"],
        "rss_bytes": row["peak_rss_bytes"],
        "energy_mj": None if row["energy_mj"] is None else f"{estimated}{row['energy_mj']:.4g}",
        "measured_by": by,
        "chosen": row["chosen"],
        "serves": each["serving"],
        "why_not": row["why_not"],
    }


def _rows(node: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each model; one for a node without models."""
    head = {key: node[key] for key in ("name", "id", "state", "since")}
    return [head | (_served(model) if model else {}) for model in node["models"] or (None,)]


def _served(model: Mapping[str, Any]) -> dict[str, Any]:
    until = f", until {when(model['put_off_until'])} at the latest" if model["put_off_until"] is not None else ""
    return {
        "model": model["model"],
        "student": model["student"],
        "update": f"{model['state']} ({model['reason']}{until})" if model["reason"] else model["state"],
        "requests": model["requests"],
        "failed": model["failed_requests"],
        "p50_ms": model["p50_ms"],
        "p95_ms": model["p95_ms"],
    }
