"""littoral-cloud train: trains a teacher and students, and releases them. After a stop or a kill the same command continues."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from littoral.errors import BadInput, NoFit
from littoral_cloud.cli.noun import noun
from littoral_cloud.cli.pushing import PushOption
from littoral_cloud.cli.reading import ResizeOption, described, read_data, remark_on
from littoral_cloud.cli.stopping import stop_on_signal
from littoral_cloud.fleet.names import checked_name
from littoral_cloud.terminal.output import DataDirOption, Format, FormatOption, emit, emit_remarks
from littoral_cloud.terminal.progress import error_console, progress_of

if TYPE_CHECKING:
    from littoral_cloud.data.dataset import Dataset
    from littoral_cloud.factory.production import Made
    from littoral_cloud.recipes.recipe import Production
    from littoral_cloud.settings import CloudSettings
    from littoral_cloud.training.resume import WorkFolders

app = noun("Train a teacher, distil students, export and sign them, and make a release.")

TRAINING = "training"
ANSWERS = "answers"


@app.command(epilog="Example: littoral-cloud train --data data/mnist --model digits --rollout")
def train(
    data: Annotated[
        Path | None,
        typer.Option(
            help="An IDX folder, a folder with a folder of images for each class, or an .npz of images, a table or series."
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="The name under which nodes serve the students. Default: the recipe's, or the data's.")
    ] = None,
    recipe: Annotated[
        str, typer.Option(help="A recipe's name (see --recipes) or a TOML file; auto fits one to the data.")
    ] = "auto",
    rollout: Annotated[bool, typer.Option("--rollout", help="Also start a rollout of the release.")] = False,
    push: PushOption = False,
    every: Annotated[int, typer.Option(help="Training steps between two checkpoints.", min=1)] = 500,
    keep: Annotated[
        bool,
        typer.Option("--keep", help="Keep the checkpoints after the release, for another recipe with this teacher."),
    ] = False,
    resize: ResizeOption = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the data, the plan and its estimated cost; train nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Also release students that are worse than the baseline.")] = False,
    recipes: Annotated[bool, typer.Option("--recipes", help="List the recipes with a name.")] = False,
    data_dir: DataDirOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Train students on a data set and release them; each artifact is measured as exported.

    Checkpoints stay in the data folder until the release: after a stop or a kill the same command continues from them.
    """
    from littoral_cloud.factory.checks import check_recipe, check_teacher
    from littoral_cloud.recipes.fitted import ABOUT, NAME, fitted
    from littoral_cloud.recipes.recipe_file import about, names, recipe_named
    from littoral_cloud.settings import load_settings
    from littoral_cloud.training.resume import WorkFolders

    if recipes:
        emit([{"recipe": NAME, "about": ABOUT}, *({"recipe": name, "about": about(name)} for name in names())], format)
        return
    if data is None:
        raise BadInput("train: --data is missing", hint="name an IDX folder, an .npz file or an image folder")
    settings = load_settings(data_dir=data_dir)
    if model is not None:
        checked_name("model", model)
    named = None if recipe == NAME else recipe_named(recipe, model=model)
    examples = read_data(data, resize, keep=not dry_run)
    plan = named or fitted(examples, model)
    check_recipe(plan, examples)
    if dry_run:
        check_teacher(plan, examples)
        remark_on(examples)
        _print_plan(plan, examples, format)
        return
    folders = WorkFolders(settings.data_dir / TRAINING, settings.data_dir / ANSWERS, every)
    folders.make_writable("train", hint="name another --data-dir")
    remark_on(examples)
    _release(settings, _made(plan, examples, folders), f"recipe {Path(recipe).stem}", data, rollout, yes, format, push=push)
    if not keep:
        folders.forget()


def _release(
    settings: CloudSettings, made: Made, note: str, data: Path, rollout: bool, yes: bool, format: Format, *, push: bool
) -> None:
    """Releases the students that are worth it, and prints them."""
    from littoral_cloud.cli.students import push_students, release_students, students_of
    from littoral_cloud.factory.baseline import baseline_of, teacher_faults, with_baseline, worth_releasing
    from littoral_cloud.recipes.recipe import trained_teachers

    base = baseline_of(made.bench.dataset)
    made = replace(made, packaged=with_baseline(made.packaged, base))
    if made.teacher and trained_teachers(made.production.teacher):
        emit_remarks([("teacher", teacher_faults(made.teacher_accuracy, made.packaged, base))])
    emit_remarks((packaged.manifest.name, packaged.manifest.remarks) for packaged in made.packaged)
    try:
        worth = replace(made, packaged=worth_releasing(made.packaged, base, yes=yes))
    except NoFit:
        emit(students_of(made.packaged, base, made.packaged[:0], format), Format.TABLE, out=sys.stderr)
        raise
    releasing = push_students(settings, worth, note, rollout=rollout) if push else None
    taken, released = asyncio.run(releasing or release_students(settings, worth, note, data, rollout=rollout))
    released["teacher_accuracy"] = made.teacher_accuracy if made.teacher else None
    students = students_of(made.packaged, base, taken, format)
    if format == Format.JSON:
        emit({**released, "baseline": base, "students": students}, format)
    else:
        emit(released, format)
        typer.echo()
        emit(students, format)


def _made(plan: Production, examples: Dataset, folders: WorkFolders) -> Made:
    from littoral_cloud.factory.production import Execution, make_students
    from littoral_cloud.training.resume import Stopped

    console = error_console()
    try:
        with progress_of(TRAINING, console, time.perf_counter) as progress, stop_on_signal() as signals:
            return make_students(examples, plan, Execution(folders, progress, tell=console.print, stop=signals.stop))
    except Stopped as stopped:
        if not signals.received:
            raise
        console.print(f"{stopped.message}; the same command continues from there")
        signals.leave()


def _print_plan(plan: Production, examples: Dataset, format: Format) -> None:
    from littoral_cloud.factory.timing import costs_of

    read, students = described(examples), _planned(plan, examples)
    costs = asdict(costs_of(plan, examples, time.perf_counter))
    if format == Format.JSON:
        emit({"read": read, **costs, "students": students}, format)
        return
    classes = [{"class": label, **counts} for label, counts in read.pop("classes").items()]
    emit({**read, "classes": len(classes), **costs}, format)
    for rows, columns in ((classes, None), (students, ("student", "architecture", "epochs", "methods", "variants"))):
        typer.echo()
        emit(rows, format, columns=columns)


def _planned(plan: Production, examples: Dataset) -> Sequence[dict[str, Any]]:
    from littoral_cloud.factory.plan import plan_of

    return [
        {
            "student": student.name,
            "architecture": str(student.architecture["name"]),
            "epochs": student.epochs,
            "methods": [method.kind for method in student.methods],
            "variants": list(student.variants),
            "teacher": plan.teacher.resolved() if plan.teacher else None,
            "answers_bytes": plan_of(plan, examples).logits_bytes,
            "recipe": student.resolved(),
        }
        for student in plan.students
    ]
