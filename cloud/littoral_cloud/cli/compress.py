"""littoral-cloud compress: searches for the best students. After a stop or a kill the same command continues."""

from __future__ import annotations

import asyncio
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from littoral.errors import BadInput
from littoral.process.limits import command_of
from littoral.process.tether import tethered
from littoral_cloud.cli.noun import noun
from littoral_cloud.cli.pushing import PushOption
from littoral_cloud.cli.reading import ResizeOption, read_data, remark_on
from littoral_cloud.cli.search_progress import SearchProgress
from littoral_cloud.cli.stopping import stop_on_signal
from littoral_cloud.terminal.output import DataDirOption, Format, FormatOption, emit, emit_remarks, notice
from littoral_cloud.terminal.progress import error_console

if TYPE_CHECKING:
    from littoral_cloud.data.dataset import Dataset
    from littoral_cloud.factory.baseline import Baseline
    from littoral_cloud.search import SearchControl, SearchRecipe, SearchResult
    from littoral_cloud.settings import CloudSettings

app = noun("Search for students that are accurate, small and fast.")

FOLDER = "search"
_SHOWN = ("trial", "accuracy", "worst_class", "transfer_bytes", "macs", "p95_ms", "runtime", "fits")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h)?")
_SECONDS = {None: 1, "s": 1, "m": 60, "h": 3600}


@app.command(
    epilog="Example: littoral-cloud compress small --data data/mnist --model digits --budget 'artifact<=20KB,p95<=2ms'",
)
def compress(
    recipe: Annotated[str, typer.Argument(help="A TOML file with a [search] table, or the name of a search.")] = "small",
    data: Annotated[
        Path | None, typer.Option(help="An IDX folder, an .npz file, or a folder with a folder of images for each class.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="The name under which nodes serve the students. Default: the recipe's.")
    ] = None,
    budget: Annotated[
        str, typer.Option(help="Stop at a student inside this budget, like artifact<=20KB,p95<=2ms,worst>=97%,runtime=ncnn.")
    ] = "",
    trials: Annotated[int | None, typer.Option(help="The number of trials. Default: the recipe's.", min=1)] = None,
    time_budget: Annotated[
        str, typer.Option("--time-budget", help="Stop after this time, with the best students so far: 90s, 30m, 2h.")
    ] = "",
    workers: Annotated[
        int, typer.Option(help="The number of processes on this machine, each with one thread.", min=1, max=64)
    ] = 1,
    report: Annotated[
        Path | None, typer.Option(help="The folder for front.png, report.html and front.json. Default: in the data folder.")
    ] = None,
    release: Annotated[bool, typer.Option("--release", help="Release the front, or its part inside the budget.")] = False,
    rollout: Annotated[bool, typer.Option("--rollout", help="Make a release, and start its rollout.")] = False,
    push: PushOption = False,
    every: Annotated[int, typer.Option(help="Training steps between two checkpoints.", min=1)] = 500,
    yes: Annotated[bool, typer.Option("--yes", help="Also release students that are worse than the baseline.")] = False,
    resize: ResizeOption = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the estimated trials, minutes and bytes; search nothing.")
    ] = False,
    only_work: Annotated[bool, typer.Option("--only-work", hidden=True)] = False,
    data_dir: DataDirOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Draw students from a search space, train and measure each, and print those that no other beats: the front.

    Processes with one LITTORAL_REDIS_URL, recipe and data share a search. After a stop or a kill the same command continues.
    """
    from littoral.budget import Budget
    from littoral_cloud.search.control import SearchControl
    from littoral_cloud.search.recipe import names, search_named, with_trials
    from littoral_cloud.search.report import rows_of
    from littoral_cloud.search.starting import search_for
    from littoral_cloud.search.state import check_budget
    from littoral_cloud.search.trial import SearchData
    from littoral_cloud.settings import load_settings
    from littoral_cloud.training.resume import made_writable

    if data is None:
        raise BadInput("compress: --data is missing", hint="name an IDX folder, an .npz file or an image folder")
    settings = load_settings(data_dir=data_dir)
    seconds = _seconds(time_budget)
    check_budget(Budget.parse(budget))
    if recipe not in names():
        search_named(recipe, model=model)  # a wrong recipe fails before the data are read
    examples = read_data(data, resize, keep=not dry_run)
    plan = with_trials(search_for(recipe, examples, model=model), trials)
    name = plan.name(examples.digest)
    if dry_run:
        from littoral_cloud.search.estimate import estimated

        search_data = SearchData.of(examples, plan.settings.held_out)
        plan.check(search_data.dataset)
        emit({"search": name, **asdict(estimated(plan, search_data, clock=time.perf_counter))}, format)
        return
    place = None if only_work else report or settings.data_dir / FOLDER / name
    if place is not None:
        made_writable(place, "--report", hint="name another folder")
        remark_on(examples)
    same = ["compress", recipe, "--data", str(data), "--budget", budget, "--time-budget", time_budget, "--every", str(every)]
    same += ["--trials", str(plan.settings.trials), "--data-dir", str(settings.data_dir), "--only-work"]
    with stop_on_signal() as signals, _others(workers - 1, same):
        control = SearchControl(stop=signals.stop, time_budget_s=seconds, releasing=release or rollout or push, every=every)
        found = asyncio.run(_searched(settings, plan, examples, budget, control, place))
    if only_work:
        return
    body = {"search": name, "ended": found.reason, "trials": len(found.trials), "seconds": round(found.seconds, 1)}
    body |= {"best": found.best.number if found.best else None, "report": str(place)}
    if found.reason != "stopped" and found.best is not None and (release or rollout or push):
        body |= asyncio.run(_released(settings, found, examples, data, rollout, yes, format, push=push))
    _emitted(body, found.baseline, rows_of(found, found.front), format)
    if found.reason == "stopped":
        notice(f"search {name}: stopped after {len(found.trials)} trials; the same command continues from there")
        signals.leave()
    found.check()


def _seconds(text: str) -> float | None:
    """Seconds of "90s", "30m", "2h"; None for "". Raises BadInput."""
    if not text:
        return None
    match = _DURATION.fullmatch(text.strip())
    if match is None or float(match[1]) == 0:
        raise BadInput(f"--time-budget: {text!r} is not a length of time", hint="write 90s, 30m or 2h")
    return float(match[1]) * _SECONDS[match[2]]


async def _searched(
    settings: CloudSettings, plan: SearchRecipe, examples: Dataset, budget: str, control: SearchControl, report: Path | None
) -> SearchResult:
    from littoral_cloud.app import open_search
    from littoral_cloud.search.compress import compress as searched
    from littoral_cloud.search.report import write_report

    console, name = error_console(), plan.name(examples.digest)
    async with open_search(settings, name) as store:
        begins = f"begins with {', '.join(plan.starts)}, then at most " if plan.starts else ""
        console.print(f"search {name}: {begins}{plan.settings.trials} trials")
        with SearchProgress(console, plan, budget, control.time_budget_s, time.perf_counter) as shown:
            found = await asyncio.to_thread(
                searched,
                None,
                examples,
                budget,
                recipe=plan,
                store=store,
                folder=settings.data_dir / FOLDER,
                control=replace(control, watch=shown, tell=console.print),
            )
        if report is not None:
            await asyncio.to_thread(write_report, found, report)
    return found


def _emitted(body: dict[str, Any], base: Baseline, rows: Sequence[dict[str, Any]], format: Format) -> None:
    if format == Format.JSON:
        emit({**body, "baseline": base, "front": rows}, format)
        return
    students, _ = body.pop("artifacts", None), body.pop("test_baseline", None)
    emit(body, format)
    plain = [{"trial": row["name"], "accuracy": row["accuracy"], "worst_class": row["worst_class"]} for row in base.rows()]
    typer.echo()
    emit([*plain, *rows], format, columns=_SHOWN)
    if students:
        typer.echo("\nThe students of the release, on the test split:")
        emit(students, format)


async def _released(
    settings: CloudSettings,
    found: SearchResult,
    examples: Dataset,
    data: Path,
    rollout: bool,
    yes: bool,
    format: Format,
    *,
    push: bool,
) -> dict[str, Any]:
    from littoral.budget import Budget, excesses
    from littoral_cloud.cli.students import push_students, release_students, students_of
    from littoral_cloud.factory.baseline import baseline_of, teacher_faults, with_baseline, worth_releasing

    inside = [r for r in found.front if r.outcome and not excesses(r.outcome.measured(""), found.budget or Budget())]
    if found.best is not None and found.best not in inside:  # another one outside the budget beats it in everything
        inside.append(found.best)
    if not yes:  # students below the baseline on the held-out examples are not made again
        worth = [r for r in inside if r.outcome and not found.baseline.faults(r.outcome.accuracy, r.outcome.worst)]
        inside = worth or [r for r in [found.best] if r is not None]
    made = await asyncio.to_thread(found.made, found.worth_making(inside))
    base = await asyncio.to_thread(baseline_of, examples)
    packaged = with_baseline(made.packaged, base)
    if made.teacher_accuracy:  # it was trained here, and measured
        emit_remarks([("teacher", teacher_faults(made.teacher_accuracy, packaged, base))])
    emit_remarks((p.manifest.name, p.manifest.remarks) for p in packaged)
    made = replace(made, packaged=worth_releasing(packaged, base, yes=yes))
    note = f"search {found.name}"
    releasing = push_students(settings, made, note, rollout=rollout) if push else None
    taken, released = await (releasing or release_students(settings, made, note, data, rollout=rollout))
    return {
        **released,
        "chosen": found.artifact_of(found.best) if found.best else None,  # on the held-out examples
        "students": [p.manifest.name for p in taken],
        "test_baseline": asdict(base),
        "artifacts": students_of(packaged, base, taken, format),
    }


@contextmanager
def _others(count: int, arguments: Sequence[str]) -> Iterator[None]:
    """Runs `count` more worker processes of the same search until the block ends."""
    started = [
        subprocess.Popen(
            tethered(*command_of("littoral_cloud.cli"), *arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(count)
    ]
    try:
        yield
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait()
