"""littoral-cloud run: starts, lists, shows, watches and stops federated runs."""

from __future__ import annotations

import getpass
import secrets
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from littoral.errors import FleetError
from littoral_cloud.app import Core
from littoral_cloud.cli.archived import or_archived
from littoral_cloud.cli.command import command
from littoral_cloud.cli.noun import noun
from littoral_cloud.federation.evaluation import by_nodes
from littoral_cloud.federation.participants import waits_for
from littoral_cloud.federation.run import KIND, Run, RunState, all_runs, read_run, sitting_out, stop_run
from littoral_cloud.federation.start import RunTerms, start_run
from littoral_cloud.fleet.nodes import find_node
from littoral_cloud.lineage.find import all_artifacts, find
from littoral_cloud.local.discovery import Serving
from littoral_cloud.terminal.output import Format, FormatOption, emit, emit_line, emit_parts, notice
from littoral_cloud.terminal.text import counted, when

app = noun("Manage federated runs.", "littoral-cloud run list")

RunArgument = Annotated[str, typer.Argument(help="The run's id.")]

DEFAULT = RunTerms()
_COLUMNS = ("id", "state", "model", "round", "nodes", "seconds", "bytes_down", "bytes_up", "created", "reason")


class RunFailed(FleetError):
    """The watched run failed."""

    code = "run-failed"


@command(app, example="run start --model digits --rounds 3 --for camera")
async def start(
    core: Core,
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
    of_model = [each for each in await all_artifacts(core.ledger) if each.model == model]
    run = await start_run(
        core,
        run_id=f"{model[:40]}-{secrets.token_hex(4)}".replace(".", "-").replace("_", "-"),
        model=model,
        terms=terms,
        base=find(of_model, artifact) if artifact else None,
        for_nodes=await _ids(core, for_nodes or ()),
        cohort=await _ids(core, nodes or ()),
        actor=getpass.getuser(),
    )
    row = _full(run) if format == Format.JSON else _row(run)
    emit({**row, "waits_for": await _waits_for(core, run)}, format)


async def _ids(core: Core, names: Sequence[str]) -> list[str]:
    return [(await find_node(core.ledger, name)).node_id for name in names]


async def _waits_for(core: Core, run: Run) -> list[str]:
    if not run.state.terminal and core.settings.redis_url is None and Serving.read(core.settings.data_dir) is None:
        return ["a running coordinator: littoral-cloud serve"]
    return await waits_for(core.ledger, run, core.clock())


@command(app, "list", example="run list --format json")
async def list_(core: Core, format: FormatOption = Format.TABLE) -> None:
    """List all runs, oldest first."""
    shown = _full if format == Format.JSON else _row
    emit([shown(run) for run in await all_runs(core.ledger)], format, columns=_COLUMNS, empty="no runs")


@command(app, example="run show digits-1f0c9a3e")
async def show(core: Core, run: RunArgument, format: FormatOption = Format.TABLE) -> None:
    """Show everything about one run, and what it waits for."""
    found, place = await or_archived(core, Run, KIND, run, read_run(core.ledger, run))
    full = {**_full(found), "waits_for": await _waits_for(core, found), **place}
    rounds = full.pop("finished")
    emit_parts(full, "finished", rounds, format)


@command(
    app,
    example="run watch digits-1f0c9a3e --format json",
    help=f"Print a line for each round until the end. Exit code {RunFailed.exit_code} where the run failed.",
)
async def watch(core: Core, run: RunArgument, format: FormatOption = Format.TABLE) -> None:
    for line in await _waits_for(core, await read_run(core.ledger, run)):
        notice(f"waits for {line}")
    async with core.ledger.watch(KIND) as news:
        printed = 0
        while True:
            seen = await read_run(core.ledger, run)
            for finished in seen.finished[printed:]:
                if format == Format.JSON:
                    emit_line(finished)
                else:
                    failed = ", ".join(f"{node} ({code})" for node, code in finished.failed.items())
                    who = counted(len(finished.participants), "node") + (f", without {failed}" if failed else "")
                    emit(f"round {finished.number} of {seen.rounds}: {finished.seconds:.1f} s, {who}")
            printed = seen.done
            if seen.state.terminal:
                break
            await anext(news)
    if seen.state is RunState.FAILED:
        raise RunFailed(f"run {run}: {seen.reason}: {seen.detail}", hint="its log is DATA/federation/RUN_ID.log")
    if format != Format.JSON:
        if (found := by_nodes(seen)) is not None:
            emit(
                f"accuracy on the nodes' held-out examples: {found[0]:.4f} before the first round, {found[1]:.4f} before the last"
            )
        emit(f"{run}: {seen.state}; next: littoral-cloud release create --run {run}")


@command(app, example="run stop digits-1f0c9a3e")
async def stop(core: Core, run: RunArgument, format: FormatOption = Format.TABLE) -> None:
    """Stop a run: it fails with the reason `stopped`, its worker ends, and the nodes drop their tasks."""
    ended = await stop_run(core.ledger, run, core.clock(), actor=getpass.getuser())
    words = f"{run} is stopped after {ended.done} of {counted(ended.rounds, 'round')}"
    emit(_full(ended) if format == Format.JSON else words, format)


def _row(run: Run) -> dict[str, Any]:
    return {
        "id": run.run_id,
        "state": run.state,
        "model": run.model,
        "round": f"{run.done}/{run.rounds}",
        "nodes": len(run.participants),
        "seconds": round(sum(run.seconds_per_round), 1),
        "bytes_down": run.bytes_down,
        "bytes_up": run.bytes_up,
        "created": when(run.created_at),
        "reason": run.reason,
    }


def _full(run: Run) -> dict[str, Any]:
    return {
        **_row(run),
        "detail": run.detail or None,
        "strategy": run.strategy,
        "local_epochs": run.local_epochs,
        "learning_rate": run.learning_rate,
        "batch_size": run.batch_size,
        "architecture": dict(run.architecture),
        "base": run.base_manifest or run.base_weights,
        "weights": run.weights,
        "data": run.data or None,
        "cohort": list(run.cohort),
        "participants": list(run.participants),
        "sit_out": list(sitting_out(run)),
        "min_replies": run.min_replies,
        "origin": run.origin,
        "finished": list(run.finished),
    }
