"""littoral-cloud rollout: bring a release to the nodes, in waves."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from cloud.app import open_core
from cloud.cli.output import DataDirOption, Format, FormatOption, emit, when
from cloud.fleet.records import Node, Probation, load
from cloud.fleet.releases import read_release
from cloud.rollouts.controller import abort as ask_to_abort
from cloud.rollouts.controller import read_rollout, start_rollout, wait
from cloud.rollouts.state import KIND, Policy, Rollout, State
from cloud.settings import Settings, load_settings
from littoral.errors import BadInput, FleetError

app = typer.Typer(help="Bring a release to the nodes, in waves.", no_args_is_help=True, rich_markup_mode=None)
RolloutArgument = Annotated[str, typer.Argument(metavar="ROLLOUT", help="Its id.")]

DEFAULT = Policy()


class NotPromoted(FleetError):
    """The rollout that was watched did not succeed."""

    code = "not-promoted"
    exit_code = 11


@app.command(epilog="Example: littoral-cloud rollout start digits-1 --canary gateway --waves 1,4")
def start(
    release: Annotated[str, typer.Argument(help="Id of the release.")],
    canary: Annotated[str, typer.Option(help="Name or id of the node that goes first. Unset: one that can judge best.")] = "",
    nodes: Annotated[list[str] | None, typer.Option("--nodes", help="Only these; again for more.")] = None,
    waves: Annotated[str, typer.Option(help="Sizes of the first waves; one more takes the rest.")] = "1",
    probation_s: Annotated[float, typer.Option(min=0, help="How long a new model serves before it is kept.")] = 3.0,
    max_accuracy_drop: Annotated[float, typer.Option(min=0, max=1, help="On a node's own labelled examples.")] = 0.05,
    data_dir: DataDirOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Ask for a rollout; the coordinator carries it out, and stops it by itself when a wave goes wrong."""
    probation = Probation(duration_s=probation_s, max_accuracy_drop=max_accuracy_drop)
    asyncio.run(_start(load_settings(data_dir=data_dir), release, canary, nodes or [], _sizes(waves), probation, format))


async def _start(
    settings: Settings,
    release_id: str,
    canary: str,
    nodes: list[str],
    sizes: tuple[int, ...],
    probation: Probation,
    format: Format,
) -> None:
    async with open_core(settings) as core:
        known = [load(Node, doc) for doc in await core.ledger.all("node")]
        policy = Policy(
            canary=_node_id(known, canary) if canary else "",
            nodes=tuple(_node_id(known, name) for name in nodes),
            wave_sizes=sizes,
            probation=probation,
        )
        release = await read_release(core.ledger, release_id)
        emit({"rollout": await start_rollout(core.ledger, release, core.clock(), policy)}, format)


@app.command("list", epilog="Example: littoral-cloud rollout list")
def list_(data_dir: DataDirOption = None, format: FormatOption = Format.TABLE) -> None:
    """Every rollout, oldest first."""
    asyncio.run(_list(load_settings(data_dir=data_dir), format))


async def _list(settings: Settings, format: Format) -> None:
    async with open_core(settings) as core:
        docs = await core.ledger.all(KIND)
    found = sorted(((doc.id, load(Rollout, doc)) for doc in docs), key=lambda pair: pair[1].created_at)
    emit([_row(rollout_id, rollout) for rollout_id, rollout in found], format)


@app.command(epilog="Example: littoral-cloud rollout show digits-1-r1")
def show(rollout: RolloutArgument, data_dir: DataDirOption = None, format: FormatOption = Format.TABLE) -> None:
    """Who gets what, in which wave, and who is left out and why."""
    asyncio.run(_show(load_settings(data_dir=data_dir), rollout, format))


async def _show(settings: Settings, rollout_id: str, format: Format) -> None:
    async with open_core(settings) as core:
        _, rollout = await read_rollout(core.ledger, rollout_id)
        names = {doc.id: load(Node, doc).name for doc in await core.ledger.all("node")}
    rows = [
        {"node": names.get(a.node_id, a.node_id), "wave": _wave_of(rollout, a.node_id), "gets": a.name, "note": a.dropped}
        for a in rollout.assignments
    ]
    rows += [{"node": names.get(r.node_id, r.node_id), "wave": "-", "gets": "-", "note": r.words} for r in rollout.refused]
    if format == Format.JSON:
        emit({**_row(rollout_id, rollout), "nodes": rows}, format)
    else:
        emit(_row(rollout_id, rollout), format)
        emit(rows, format)


@app.command(epilog="Example: littoral-cloud rollout watch digits-1-r1")
def watch(rollout: RolloutArgument, data_dir: DataDirOption = None, format: FormatOption = Format.TABLE) -> None:
    """Wait for its end; the exit status is 0 only where it SUCCEEDED."""
    asyncio.run(_watch(load_settings(data_dir=data_dir), rollout, format))


async def _watch(settings: Settings, rollout_id: str, format: Format) -> None:
    async with open_core(settings) as core:
        rollout = await wait(core.ledger, rollout_id)
    emit(_row(rollout_id, rollout), format)
    if rollout.state is not State.SUCCEEDED:
        raise NotPromoted(
            f"rollout {rollout_id}: {rollout.state}: {rollout.reason}", hint=f"littoral-cloud rollout show {rollout_id}"
        )


@app.command(epilog="Example: littoral-cloud rollout abort digits-1-r1")
def abort(rollout: RolloutArgument, data_dir: DataDirOption = None) -> None:
    """Stop it; nodes that took the release go back to what they had."""
    asyncio.run(_abort(load_settings(data_dir=data_dir), rollout))


async def _abort(settings: Settings, rollout_id: str) -> None:
    async with open_core(settings) as core:
        await ask_to_abort(core.ledger, rollout_id, "operator")


def _sizes(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise BadInput(f"--waves: {text!r} must be whole numbers from 1", hint="1,4 is a canary, then four, then the rest")
    return tuple(int(part) for part in parts)


def _node_id(known: list[Node], wanted: str) -> str:
    found = next((node.node_id for node in known if wanted in (node.name, node.node_id)), None)
    if found is None:
        raise BadInput(f"node {wanted!r}: is not enrolled", hint="littoral-cloud node list")
    return found


def _wave_of(rollout: Rollout, node_id: str) -> str:
    return next((str(number) for number, wave in enumerate(rollout.waves, 1) if node_id in wave.nodes), "-")


def _row(rollout_id: str, rollout: Rollout) -> dict[str, object]:
    return {
        "id": rollout_id,
        "release": rollout.release_id,
        "kind": rollout.kind,
        "state": str(rollout.state),
        "waves": " ".join(str(len(wave.nodes)) for wave in rollout.waves),
        "created": when(rollout.created_at),
        "reason": rollout.reason,
    }
