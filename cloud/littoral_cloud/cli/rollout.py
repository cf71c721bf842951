"""littoral-cloud rollout: brings a release to the nodes, in waves."""

from __future__ import annotations

import getpass
from dataclasses import asdict
from typing import Annotated, Any

import typer

from littoral.errors import BadInput, NotFound
from littoral_cloud.app import Core
from littoral_cloud.cli.command import command
from littoral_cloud.cli.moments import parse_moment
from littoral_cloud.cli.noun import noun
from littoral_cloud.cli.rollout_explain import add_explain
from littoral_cloud.cli.rollout_gates import GateOption, ShadowOption, UnsureOption, gate_rows, known_gates
from littoral_cloud.cli.rollout_nodes import rows_of_nodes
from littoral_cloud.cli.rollout_preview import print_preview
from littoral_cloud.cli.rollout_steering import RolloutArgument, add_steering
from littoral_cloud.cli.rollout_watch import NotPromoted, follow, print_or_follow
from littoral_cloud.commands.archived import or_archived
from littoral_cloud.fleet.cohorts import read_cohort
from littoral_cloud.fleet.nodes import find_node
from littoral_cloud.fleet.records import Probation, load
from littoral_cloud.releases.catalogue import read_release
from littoral_cloud.rollouts.back import go_back
from littoral_cloud.rollouts.commands import read_rollout, start_rollout
from littoral_cloud.rollouts.events import Waits
from littoral_cloud.rollouts.gating import with_gates
from littoral_cloud.rollouts.judge import observe
from littoral_cloud.rollouts.seen import read_one
from littoral_cloud.rollouts.state import ENDED, KIND, Rollout, RolloutPolicy, RolloutState
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
    core: Core,
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
    probation: Annotated[
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
    defer: Annotated[
        float, typer.Option("--defer-s", min=0, help="How long a node may put its update off; 0: not at all.")
    ] = DEFAULT.defer_s,
    max_silent: Annotated[
        float, typer.Option(min=0, max=1, help="The part of the nodes that may fall silent in their wave; 0: none.")
    ] = DEFAULT.max_silent,
    gates: GateOption = None,
    unsure: UnsureOption = DEFAULT.unsure,
    shadow: ShadowOption = None,
    approval: Annotated[
        bool, typer.Option("--approval", help="Wait for another person: littoral-cloud rollout approve.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Also where the first wave has more than a fifth of the nodes.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print who would get what, and when; write nothing.")] = False,
    watch_: WatchOption = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Start a rollout. The coordinator performs it, and stops and restores the old models by itself where a node fails."""
    if where and cohort:
        raise BadInput("--where and --cohort: give one of them", hint="littoral-cloud cohort show has a cohort's filter")
    sizes, trial_s = parse_waves(waves), core.settings.probation_s if probation is None else probation
    found = await read_release(core.ledger, release)
    policy = RolloutPolicy(
        canary=await _named(core, "--canary", canary) if canary else "",
        nodes=tuple([await _named(core, "--nodes", name) for name in nodes or ()]),
        where=(await read_cohort(core.ledger, cohort)).where if cohort else where,
        wave_sizes=sizes,
        most_nodes=most_nodes,
        probation=Probation(duration_s=trial_s, max_accuracy_drop=probation_max_drop),
        max_accuracy_loss=max_drop_vs_served,
        allow_interface_change=allow_interface_change,
        not_before=parse_moment(at, "--at", core.clock()) if at else 0.0,
        approval=approval,
        window=window,
        defer_s=defer,
        max_silent=max_silent,
    )
    policy = with_gates(policy, gates or (), shadow, unsure)
    if dry_run:
        await print_preview(core, found, policy, format)
        return
    actor = getpass.getuser()
    above = core.settings.approval_above
    rollout_id = await start_rollout(
        core.ledger, found, core.clock(), policy, large_first_wave=yes, approval_above=above, actor=actor
    )
    await print_or_follow(core, rollout_id, watch_, format)


async def _named(core: Core, option: str, name: str) -> str:
    """The node's id. Raises NotFound or BadInput, naming the option."""
    try:
        return (await find_node(core.ledger, name)).node_id
    except (NotFound, BadInput) as error:
        raise type(error)(f"{option}: {error.message.removeprefix('node: ')}", hint=error.hint) from error


@command(app, "list", example="rollout list --format json")
async def list_(core: Core, format: FormatOption = Format.TABLE) -> None:
    """List all rollouts, oldest first."""
    found = {doc.id: load(Rollout, doc) for doc in await core.ledger.all(KIND)}
    ordered = sorted(found.items(), key=lambda item: (item[1].created_at, item[0]))
    rows = [{"id": id, **asdict(each)} if format == Format.JSON else _in_list(id, each) for id, each in ordered]
    emit(rows, format, columns=_COLUMNS, empty="no rollouts")


@command(app, example="rollout show digits-1-r1")
async def show(
    core: Core,
    rollout: RolloutArgument,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Only this many nodes, by their ids.")] = 500,
    after: Annotated[str, typer.Option(help="The nodes behind this node id.")] = "",
    format: FormatOption = Format.TABLE,
) -> None:
    """Show the state of a rollout, what it waits for, what each node gets, and why others get nothing."""
    found, place = await or_archived(core, Rollout, KIND, rollout, _read(core, rollout))
    waits: tuple[str, ...] = ()
    gates: list[dict[str, Any]] = []
    if found.state not in ENDED and (seen := await read_one(core.ledger, rollout)) is not None:
        event, gates = observe(seen, core.clock()), gate_rows(seen) if found.state is RolloutState.WAVE else []
        waits = event.waits_for if isinstance(event, Waits) else ("a running coordinator",)
    people = {"paused": f"by {found.paused_by} since {when(found.paused_at)}"} if found.paused_by else {}
    people |= {"started": f"by {found.started_by}"} if found.started_by else {}
    people |= {"approved": f"by {found.approved_by} at {when(found.approved_at)}"} if found.approved_by else {}
    row = {**_row(rollout, found), **people, "remarks": found.remarks}
    head = {"id": rollout, **asdict(found)} if format == Format.JSON else row
    rows, last = await rows_of_nodes(core, rollout, found, after=after, most=limit)
    if format == Format.JSON:
        head["gates"] = gates
    emit_parts({**head, "waits_for": waits, **place}, "nodes", rows, format)
    if format != Format.JSON and gates:
        print()
        emit(gates)
    if last:
        notice(f"there may be more: --limit {limit} --after {last}")


async def _read(core: Core, rollout_id: str) -> Rollout:
    return (await read_rollout(core.ledger, rollout_id))[1]


@app.command("gates", epilog="Example: littoral-cloud rollout gates")
def list_gates(format: FormatOption = Format.TABLE) -> None:
    """List the gates that a rollout can have, what each asks, and its usual limit."""
    emit(known_gates(), format)


@command(app, example="rollout watch digits-1-r1", help=f"Print each change until the end. {_EXIT}")
async def watch(core: Core, rollout: RolloutArgument, format: FormatOption = Format.TABLE) -> None:
    await follow(core, rollout, format)


@command(app, example="rollout back digits --watch")
async def back(
    core: Core,
    model: Annotated[str, typer.Argument(help="The model's name.")],
    to: Annotated[str, typer.Option(help="A release's id. Default: the last one that passed its rollout.")] = "",
    watch_: WatchOption = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Give every node the release before, one node first, without another probation."""
    rollout_id = await go_back(core.ledger, model, core.clock(), to=to, actor=getpass.getuser())
    await print_or_follow(core, rollout_id, watch_, format)


def _state(rollout: Rollout) -> str:
    if rollout.paused_by:
        return f"{rollout.state}, paused"
    unapproved = rollout.state is RolloutState.PENDING and rollout.policy.approval and not rollout.approved_by
    return f"{rollout.state}, not approved" if unapproved else rollout.state


def _in_list(rollout_id: str, rollout: Rollout) -> dict[str, Any]:
    row = _row(rollout_id, rollout)
    return row | {"reason": shortened(row["reason"], _MOST_REASON)}


def _row(rollout_id: str, rollout: Rollout) -> dict[str, Any]:
    started = rollout.waves_started
    return {
        "id": rollout_id,
        "release": rollout.release_id,
        "state": _state(rollout),
        "model": rollout.model,
        "kind": rollout.kind,
        "waves": f"{started}/{started + rollout.waves_to_come}",
        "nodes": rollout.planned,
        "left_out": sum(rule.nodes for rule in rollout.refused),
        "created": when(rollout.created_at),
        "reason": rollout.reason,
    }


add_explain(app)
add_steering(app)
