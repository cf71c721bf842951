"""littoral-cloud train: a teacher and its students from a data set, released."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from cloud.cli.output import DataDirOption, Format, FormatOption, emit
from littoral.errors import BadInput

app = typer.Typer(help="Trains a teacher, distils students, exports and signs them, and makes a release.")


@app.callback(invoke_without_command=True, epilog="Example: littoral-cloud train --data data/mnist --model digits --rollout")
def train(
    data: Annotated[Path, typer.Option(help="IDX folder, .npz file, or a folder with one folder of images a class.")],
    model: Annotated[str, typer.Option(help="The name under which nodes serve the students.")],
    recipe: Annotated[str, typer.Option(help="demo: about a minute on MNIST; tiny: seconds, for a first look.")] = "demo",
    rollout: Annotated[bool, typer.Option("--rollout", help="Roll the release out as well.")] = False,
    data_dir: DataDirOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Everything from a data set to a release; each artifact is measured as it was exported."""
    from rich.console import Console
    from rich.progress import Progress

    from cloud.app import open_core
    from cloud.data.sources import load_dataset
    from cloud.factory.production import make_students
    from cloud.factory.recipes import DEMO, TINY
    from cloud.factory.release import release_made
    from cloud.rollouts.controller import start_rollout
    from cloud.settings import load_settings

    recipes = {"demo": DEMO, "tiny": TINY}
    if recipe not in recipes:
        raise BadInput(f"recipe: {recipe!r} is not known", hint=f"one of {', '.join(recipes)}")
    examples = load_dataset(data)

    async def work() -> None:
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("training", total=1.0)
            made = await asyncio.to_thread(
                make_students,
                examples,
                replace(recipes[recipe], model=model),
                progress=lambda share: progress.update(task, completed=share),
                clock=time.perf_counter,
            )
        async with open_core(load_settings(data_dir=data_dir)) as core:
            now = core.clock()
            release = await release_made(core, made, now, kind="initial", note=f"recipe {recipe}", data=str(data.resolve()))
            started = await start_rollout(core.ledger, release, now) if rollout else ""
        students = [
            {"name": m.name, "accuracy": m.accuracy, "bytes": m.artifact_bytes, "runtime": m.runtime}
            for m in (packaged.manifest for packaged in made.packaged)
        ]
        emit(
            {"release": release.release_id, "rollout": started, "teacher_accuracy": made.teacher_accuracy, "students": students},
            format,
        )

    asyncio.run(work())
