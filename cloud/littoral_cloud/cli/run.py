"""littoral-cloud run: starts, lists, shows, watches and stops federated runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

import typer

from littoral.errors import FleetError
from littoral_cloud.cli.command import command
from littoral_cloud.cli.noun import noun
from littoral_cloud.client.fleet_client import FleetClient, part
from littoral_cloud.federation.terms import RunTerms
from littoral_cloud.terminal.output import Format, FormatOption, emit, emit_line, emit_parts, notice
from littoral_cloud.terminal.text import counted

app = noun("Manage federated runs.", "littoral-cloud run list")

RunArgument = Annotated[str, typer.Argument(help="The run's id.")]

DEFAULT = RunTerms()


class RunFailed(FleetError):
    """The watched run failed."""

    code = "run-failed"


@command(app, example="run start --model digits --rounds 3 --for camera")
async def start(
    fleet: FleetClient,
    model: Annotated[str, typer.Option(help="The name under which nodes serve the model.")],
    rounds: Annotated[int, typer.Option(min=1, help="The number of rounds.")] = DEFAULT.rounds,
    local_epochs: Annotated[int, typer.Option(min=1, help="The epochs of each node in each round.")] = DEFAULT.local_epochs,
    learning_rate: Annotated[float, typer.Option(help="The learning rate of the nodes' AdamW.")] = DEFAULT.learning_rate,
    batch_size: Annotated[int, typer.Option(min=1, help="The nodes' batch size.")] = DEFAULT.batch_size,
    strategy: Annotated[str, typer.Option(help="The strategy that makes the next model of the replies.")] = DEFAULT.strategy,
    artifact: Annotated[
        str,
        typer.Option(
            help="The base, by its name, its digest or the first characters of that. Default: the most accurate served one."
        ),
    ] = "",
    nodes: Annotated[
        list[str] | None, typer.Option("--nodes", help="Only these nodes (repeatable). Default: every node.")
    ] = None,
    for_nodes: Annotated[
        list[str] | None, typer.Option("--for", help="The base must fit this node's budget (repeatable).")
    ] = None,
    fraction: Annotated[
        float, typer.Option(help="The fraction of the present nodes that takes part in each round.")
    ] = DEFAULT.fraction,
    min_nodes: Annotated[int | None, typer.Option(min=1, help="The run fails with fewer nodes. Default: 2.")] = None,
    timeout: Annotated[float, typer.Option(help="How long a round waits for its nodes, seconds.")] = DEFAULT.round_timeout_s,
    seed: Annotated[int, typer.Option(help="The seed of the sampling of nodes.")] = DEFAULT.seed,
    format: FormatOption = Format.TABLE,
) -> None:
    """Start a run: the nodes learn from their own labelled data. The coordinator performs it; see `run watch`."""
    terms = RunTerms(
        strategy=strategy,
        rounds=rounds,
        local_epochs=local_epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        fraction=fraction,
        min_nodes=min_nodes,
        round_timeout_s=timeout,
        seed=seed,
    )
    body = {"model": model, "terms": asdict(terms), "artifact": artifact, "nodes": nodes or [], "for_nodes": for_nodes or []}
    run = await fleet.post("/runs", body)
    row = _full(run) if format == Format.JSON else _row(run)
    emit({**row, "waits_for": run["waits_for"]}, format)


@command(app, "list", example="run list --format json")
async def list_(fleet: FleetClient, format: FormatOption = Format.TABLE) -> None:
    """List all runs, oldest first."""
    shown = _full if format == Format.JSON else _row
    emit([shown(run) for run in await fleet.every("/runs")], format, columns=_ROW, empty="no runs")


@command(app, example="run show digits-1f0c9a3e")
async def show(fleet: FleetClient, run: RunArgument, format: FormatOption = Format.TABLE) -> None:
    """Show everything about one run, and what it waits for."""
    found = await fleet.get(f"/runs/{part(run)}")
    place = {"archived": found["archived"]} if found["archived"] else {}
    full = {**_full(found), "waits_for": found["waits_for"], **place}
    rounds = full.pop("finished")
    emit_parts(full, "finished", rounds, format)


@command(
    app,
    example="run watch digits-1f0c9a3e --format json",
    help=f"Print a line for each round until the end. Exit code {RunFailed.exit_code} where the run failed.",
)
async def watch(fleet: FleetClient, run: RunArgument, format: FormatOption = Format.TABLE) -> None:
    path = f"/runs/{part(run)}"
    async with fleet.events("run") as news:
        seen = await fleet.get(path)
        for line in seen["waits_for"]:
            notice(f"waits for {line}")
        printed = 0
        while True:
            for finished in seen["finished"][printed:]:
                if format == Format.JSON:
                    emit_line(finished)
                else:
                    failed = ", ".join(f"{node} ({code})" for node, code in finished["failed"].items())
                    who = counted(len(finished["participants"]), "node") + (f", without {failed}" if failed else "")
                    emit(f"round {finished['number']} of {seen['rounds']}: {finished['seconds']:.1f} s, {who}")
            printed = len(seen["finished"])
            if seen["ended"]:
                break
            await anext(news)
            seen = await fleet.get(path)
    if seen["state"] == "FAILED":
        raise RunFailed(f"run {run}: {seen['reason']}: {seen['detail']}", hint="its log is DATA/federation/RUN_ID.log")
    if format != Format.JSON:
        if (found := seen["by_nodes"]) is not None:
            emit(
                f"accuracy on the nodes' held-out examples: {found[0]:.4f} before the first round, {found[1]:.4f} before the last"
            )
        emit(f"{run}: {seen['state']}; next: littoral-cloud release create --run {run}")


@command(app, example="run stop digits-1f0c9a3e")
async def stop(fleet: FleetClient, run: RunArgument, format: FormatOption = Format.TABLE) -> None:
    """Stop a run: it fails with the reason `stopped`, its worker ends, and the nodes drop their tasks."""
    ended = await fleet.post(f"/runs/{part(run)}/stop")
    words = f"{run} is stopped after {len(ended['finished'])} of {counted(ended['rounds'], 'round')}"
    emit(_full(ended) if format == Format.JSON else words, format)


_ROW = ("id", "state", "model", "round", "nodes", "seconds", "bytes_down", "bytes_up", "created", "reason")
_NOT_SHOWN = ("waits_for", "rounds", "ended", "by_nodes", "archived")


def _row(run: Mapping[str, Any]) -> dict[str, Any]:
    return {name: run[name] for name in _ROW}


def _full(run: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in run.items() if name not in _NOT_SHOWN}
