"""littoral-cloud run: starts, lists, shows, watches and stops federated runs."""

from __future__ import annotations

import asyncio
import getpass
import secrets
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from littoral.errors import FleetError
from littoral_cloud.app import Core, open_existing
from littoral_cloud.cli.noun import noun
from littoral_cloud.federation.evaluation import by_nodes
from littoral_cloud.federation.run import KIND, Run, RunState, all_runs, read_run, sitting_out, stop_run
from littoral_cloud.federation.start import RunTerms, start_run
from littoral_cloud.fleet.nodes import find_node
from littoral_cloud.settings import CloudSettings, load_settings
from littoral_cloud.terminal.output import DataDirOption, Format, FormatOption, emit, emit_line, when

app = noun("Manage federated runs.", "littoral-cloud run list")

RunArgument = Annotated[str, typer.Argument(help="The run's id.")]

DEFAULT = RunTerms()
_COLUMNS = ("id", "state", "model", "round", "nodes", "seconds", "bytes_down", "bytes_up", "created", "reason")


class RunFailed(FleetError):
    """The watched run failed."""

    code = "run-failed"


@app.command(epilog="Example: littoral-cloud run start --model digits --rounds 3 --for camera")
def start(
    model: Annotated[str, typer.Option(help="The name under which nodes serve the model.")],
    rounds: Annotated[int, typer.Option(min=1, help="The number of rounds.")] = DEFAULT.rounds,
    local_epochs: Annotated[int, typer.Option(min=1, help="The epochs of each node in each round.")] = DEFAULT.local_epochs,
    learning_rate: Annotated[float, typer.Option(help="The learning rate of the nodes' AdamW.")] = DEFAULT.learning_rate,
    batch_size: Annotated[int, typer.Option(min=1, help="The nodes' batch size.")] = DEFAULT.batch_size,
    strategy: Annotated[str, typer.Option(help="The strategy that makes the next model of the replies.")] = DEFAULT.strategy,
    artifact: Annotated[
        str, typer.Option(help="The base, by name or digest. Default: the most accurate one that is served.")
    ] = "",
    node: Annotated[list[str] | None, typer.Option("--nodes", help="Only these nodes (repeatable). Default: every node.")] = None,
    for_node: Annotated[
        list[str] | None, typer.Option("--for", help="The base must fit this node's budget (repeatable).")
    ] = None,
    fraction: Annotated[
        float, typer.Option(help="The fraction of the present nodes that takes part in each round.")
    ] = DEFAULT.fraction,
    min_nodes: Annotated[int | None, typer.Option(min=1, help="The run fails with fewer nodes. Default: 2.")] = None,
    timeout: Annotated[float, typer.Option(help="How long a round waits for its nodes, seconds.")] = DEFAULT.round_timeout_s,
    seed: Annotated[int, typer.Option(help="The seed of the sampling of nodes.")] = DEFAULT.seed,
    data_dir: DataDirOption = None,
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
    asyncio.run(_start(load_settings(data_dir=data_dir), model, terms, artifact, node or [], for_node or [], format))


async def _start(
    settings: CloudSettings,
    model: str,
    terms: RunTerms,
    artifact: str,
    nodes: Sequence[str],
    for_nodes: Sequence[str],
    format: Format,
) -> None:
    async with open_existing(settings) as core:
        run = await start_run(
            core.ledger,
            core.blobs,
            core.trust.signing_keys(),
            run_id=f"{model[:40]}-{secrets.token_hex(4)}".replace(".", "-").replace("_", "-"),
            model=model,
            now=core.clock(),
            terms=terms,
            artifact=artifact,
            for_nodes=await _ids(core, for_nodes),
            cohort=await _ids(core, nodes),
            origin="operator",
            actor=getpass.getuser(),
        )
    emit(_full(run) if format == Format.JSON else _row(run), format)


async def _ids(core: Core, names: Sequence[str]) -> list[str]:
    return [(await find_node(core.ledger, name)).node_id for name in names]


@app.command("list", epilog="Example: littoral-cloud run list --format json")
def list_(data_dir: DataDirOption = None, format: FormatOption = Format.TABLE) -> None:
    """List all runs, oldest first."""
    asyncio.run(_list(load_settings(data_dir=data_dir), format))


async def _list(settings: CloudSettings, format: Format) -> None:
    async with open_existing(settings) as core:
        runs = await all_runs(core.ledger)
    emit([_full(run) if format == Format.JSON else _row(run) for run in runs], format, columns=_COLUMNS)


@app.command(epilog="Example: littoral-cloud run show digits-1f0c9a3e")
def show(run: RunArgument, data_dir: DataDirOption = None, format: FormatOption = Format.TABLE) -> None:
    """Show everything about one run."""
    asyncio.run(_show(load_settings(data_dir=data_dir), run, format))


async def _show(settings: CloudSettings, run_id: str, format: Format) -> None:
    async with open_existing(settings) as core:
        run = await read_run(core.ledger, run_id)
    full = _full(run)
    rounds = full.pop("finished")
    if format == Format.JSON:
        emit({**full, "finished": rounds}, format)
        return
    emit(full, format)
    if rounds:
        emit("")
        emit(rounds, format)


@app.command(
    epilog="Example: littoral-cloud run watch digits-1f0c9a3e --format json",
    help=f"Print a line for each round until the end. Exit code {RunFailed.exit_code} where the run failed.",
)
def watch(run: RunArgument, data_dir: DataDirOption = None, format: FormatOption = Format.TABLE) -> None:
    asyncio.run(_watch(load_settings(data_dir=data_dir), run, format))


async def _watch(settings: CloudSettings, run_id: str, format: Format) -> None:
    async with open_existing(settings) as core, core.ledger.watch(KIND) as news:
        printed = 0
        while True:
            run = await read_run(core.ledger, run_id)
            for finished in run.finished[printed:]:
                if format == Format.JSON:
                    emit_line(finished)
                else:
                    who = f"{len(finished.participants)} nodes"
                    failed = ", ".join(f"{node} ({code})" for node, code in finished.failed.items())
                    without = f", without {failed}" if failed else ""
                    emit(f"round {finished.number} of {run.rounds}: {finished.seconds:.1f} s, {who}{without}")
            printed = run.done
            if run.state.terminal:
                break
            await anext(news)
    if run.state is RunState.FAILED:
        raise RunFailed(f"run {run.run_id}: {run.reason}: {run.detail}", hint="its log is DATA/federation/RUN_ID.log")
    if format != Format.JSON:
        if (found := by_nodes(run)) is not None:
            emit(
                f"accuracy on the nodes' held-out examples: {found[0]:.4f} before the first round, {found[1]:.4f} before the last"
            )
        emit(f"{run.run_id}: {run.state}; next: littoral-cloud release create --run {run.run_id}")


@app.command(epilog="Example: littoral-cloud run stop digits-1f0c9a3e")
def stop(run: RunArgument, data_dir: DataDirOption = None, format: FormatOption = Format.TABLE) -> None:
    """Stop a run: it fails with the reason `stopped`, its worker ends, and the nodes drop their tasks."""
    asyncio.run(_stop(load_settings(data_dir=data_dir), run, format))


async def _stop(settings: CloudSettings, run_id: str, format: Format) -> None:
    async with open_existing(settings) as core:
        run = await stop_run(core.ledger, run_id, core.clock(), actor=getpass.getuser())
    emit(_full(run) if format == Format.JSON else f"{run.run_id} is stopped after {run.done} of {run.rounds} rounds", format)


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
