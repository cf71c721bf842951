"""littoral-cloud rollout: brings a release to the nodes, in waves."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

import typer

from littoral_cloud.cli.command import command
from littoral_cloud.cli.moments import parse_moment
from littoral_cloud.cli.noun import noun
from littoral_cloud.cli.rollout_explain import add_explain
from littoral_cloud.cli.rollout_gates import GateOption, ShadowOption, UnsureOption
from littoral_cloud.cli.rollout_preview import print_preview
from littoral_cloud.cli.rollout_steering import RolloutArgument, add_steering
from littoral_cloud.cli.rollout_watch import NotPromoted, follow, print_or_follow
from littoral_cloud.client.fleet_client import FleetClient, part
from littoral_cloud.commands.rollout_request import RolloutRequest
from littoral_cloud.rollouts.state import RolloutPolicy, RolloutState
from littoral_cloud.rollouts.waves import parse_waves
from littoral_cloud.terminal.output import Format, FormatOption, emit, emit_parts, notice
from littoral_cloud.terminal.text import shortened, when

app = noun("Bring a release to the nodes, in waves.", "littoral-cloud rollout watch digits-1-r1")

DEFAULT = RolloutPolicy()
_MOST_REASON = 80
"""Characters of a reason in the list; rollout show has all of it."""
_COLUMNS = ("id", "state", "model", "kind", "waves", "nodes", "left_out", "created", "reason")


_EXIT = f"Exit code {NotPromoted.exit_code} where the rollout did not succeed."


WatchOption = Annotated[bool, typer.Option("--watch", help=f"Print each change until the end. {_EXIT}")]


@command(app, example="rollout start digits-2 --canary gateway --waves 1,1%,5%,25% --watch")
async def start(
    fleet: FleetClient,
    release: Annotated[str, typer.Argument(help="The release's id.")],
    canary: Annotated[str, typer.Option(help="The name or id of the first node. Default: a node with labelled examples.")] = "",
    nodes: Annotated[
        list[str] | None, typer.Option("--nodes", help="Only these nodes (repeatable). Default: every eligible node.")
    ] = None,
    where: Annotated[str, typer.Option(help="Only nodes that match: site=harbour,class=CLASS,version=0.1.0,name=cam-*.")] = "",
    cohort: Annotated[str, typer.Option(help="Only nodes of this saved filter; see littoral-cloud cohort.")] = "",
    waves: Annotated[
        str,
        typer.Option(
            help="The first waves: a number of nodes, or the percent of nodes that have the release afterwards. Then all others."
        ),
    ] = ",".join(map(str, DEFAULT.wave_sizes)),
    most_nodes: Annotated[
        int, typer.Option("--most-nodes", min=1, help="The most nodes of one wave; a larger one is divided.")
    ] = DEFAULT.most_nodes,
    probation_s: Annotated[
        float | None,
        typer.Option("--probation-s", min=0, help="The length of probation on each node. Default: LITTORAL_PROBATION_S, 600 s."),
    ] = None,
    probation_max_drop: Annotated[
        float, typer.Option(min=0, max=1, help="How much accuracy a node's labelled examples may lose in probation.")
    ] = DEFAULT.probation.max_accuracy_drop,
    max_drop_vs_served: Annotated[
        float, typer.Option(min=0, max=1, help="How much accuracy a node may lose against the served model, by the manifests.")
    ] = DEFAULT.max_accuracy_loss,
    allow_interface_change: Annotated[
        bool, typer.Option("--allow-interface-change", help="Also replace a model whose clients the new one would refuse.")
    ] = False,
    at: Annotated[str, typer.Option(help="Begin no earlier: 22:00, or 2026-12-31T22:00+01:00.")] = "",
    window: Annotated[
        str,
        typer.Option(help="Update each node then, by its own clock: 'Mon-Fri 01:00-05:00', always. Default: the node's window."),
    ] = "",
    defer_s: Annotated[
        float, typer.Option("--defer-s", min=0, help="How long a node may put its update off; 0: not at all.")
    ] = DEFAULT.defer_s,
    max_silent: Annotated[
        float, typer.Option(min=0, max=1, help="The part of the nodes that may fall silent in their wave; 0: none.")
    ] = DEFAULT.max_silent,
    gates: GateOption = None,
    unsure: UnsureOption = DEFAULT.unsure,
    shadow_s: ShadowOption = None,
    approval: Annotated[
        bool, typer.Option("--approval", help="Wait for another person: littoral-cloud rollout approve.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Also where the first wave has more than a fifth of the nodes.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print who would get what, and when; write nothing.")] = False,
    watch_: WatchOption = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Start a rollout. The coordinator performs it, and stops and restores the old models by itself where a node fails."""
    request = RolloutRequest(
        release=release,
        canary=canary,
        nodes=tuple(nodes or ()),
        where=where,
        cohort=cohort,
        waves=parse_waves(waves),
        most_nodes=most_nodes,
        probation_s=probation_s,
        probation_max_drop=probation_max_drop,
        max_drop_vs_served=max_drop_vs_served,
        allow_interface_change=allow_interface_change,
        not_before=parse_moment(at, "--at", time.time()) if at else 0.0,  # noqa: TID251 - a shell
        window=window,
        defer_s=defer_s,
        max_silent=max_silent,
        gates=tuple(gates or ()),
        unsure=unsure,
        shadow_s=shadow_s,
        approval=approval,
        large_first_wave=yes,
    )
    if dry_run:
        print_preview(await fleet.post("/rollouts/preview", asdict(request)), format)
        return
    await print_or_follow(fleet, await fleet.post("/rollouts", asdict(request)), watch_, format)


@command(app, "list", example="rollout list --format json")
async def list_(fleet: FleetClient, format: FormatOption = Format.TABLE) -> None:
    """List all rollouts, oldest first."""
    found = [_with_id_first(each) for each in await fleet.every("/rollouts")]
    rows = found if format == Format.JSON else [_in_list(each) for each in found]
    emit(rows, format, columns=_COLUMNS, empty="no rollouts")


@command(app, example="rollout show digits-1-r1")
async def show(
    fleet: FleetClient,
    rollout: RolloutArgument,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Only this many nodes, by their ids.")] = 500,
    after: Annotated[str, typer.Option(help="The nodes behind this node id.")] = "",
    format: FormatOption = Format.TABLE,
) -> None:
    """Show the state of a rollout, what it waits for, what each node gets, and why others get nothing."""
    found = _with_id_first(await fleet.get(f"/rollouts/{part(rollout)}", after=after, limit=limit))
    last, nodes, archived, _ = (found.pop(name) for name in ("next", "nodes", "archived", "generation"))
    place = {"archived": archived} if archived else {}
    waits, gates = found.pop("waits_for"), found.pop("gates")
    if format == Format.JSON:
        emit_parts({**found, "gates": gates, "waits_for": waits, **place}, "nodes", nodes, format)
    else:
        emit_parts(
            {**_row(found), **_people(found), "remarks": found["remarks"], "waits_for": waits, **place}, "nodes", nodes, format
        )
        if gates:
            print()
            emit(gates)
    if last:
        notice(f"there may be more: --limit {limit} --after {last}")


@command(app, "gates", example="rollout gates")
async def list_gates(fleet: FleetClient, format: FormatOption = Format.TABLE) -> None:
    """List the gates that a rollout can have, what each asks, and its usual limit."""
    emit(await fleet.get("/rollouts/gates"), format)


@command(app, example="rollout watch digits-1-r1", help=f"Print each change until the end. {_EXIT}")
async def watch(fleet: FleetClient, rollout: RolloutArgument, format: FormatOption = Format.TABLE) -> None:
    await follow(fleet, rollout, format)


@command(app, example="rollout back digits --watch")
async def back(
    fleet: FleetClient,
    model: Annotated[str, typer.Argument(help="The model's name.")],
    to: Annotated[str, typer.Option(help="A release's id. Default: the last one that passed its rollout.")] = "",
    watch_: WatchOption = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Give every node the release before, one node first, without another probation."""
    await print_or_follow(fleet, await fleet.post("/rollouts/back", {"model": model, "to": to}), watch_, format)


def _with_id_first(rollout: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": rollout["id"], **rollout}


def _people(rollout: Mapping[str, Any]) -> dict[str, str]:
    people = {"paused": f"by {rollout['paused_by']} since {when(rollout['paused_at'])}"} if rollout["paused_by"] else {}
    people |= {"started": f"by {rollout['started_by']}"} if rollout["started_by"] else {}
    return people | (
        {"approved": f"by {rollout['approved_by']} at {when(rollout['approved_at'])}"} if rollout["approved_by"] else {}
    )


def _state(rollout: Mapping[str, Any]) -> str:
    state: str = rollout["state"]
    if rollout["paused_by"]:
        return f"{state}, paused"
    unapproved = state == RolloutState.PENDING and rollout["policy"]["approval"] and not rollout["approved_by"]
    return f"{state}, not approved" if unapproved else state


def _in_list(rollout: Mapping[str, Any]) -> dict[str, Any]:
    row = _row(rollout)
    return row | {"reason": shortened(row["reason"], _MOST_REASON)}


def _row(rollout: Mapping[str, Any]) -> dict[str, Any]:
    started = rollout["waves"][-1]["number"] if rollout["waves"] else 0
    return {
        "id": rollout["id"],
        "release": rollout["release_id"],
        "state": _state(rollout),
        "model": rollout["model"],
        "kind": rollout["kind"],
        "waves": f"{started}/{started + rollout['waves_to_come']}",
        "nodes": rollout["planned"],
        "left_out": sum(rule["nodes"] for rule in rollout["refused"]),
        "created": when(rollout["created_at"]),
        "reason": rollout["reason"],
    }


add_explain(app)
add_steering(app)
