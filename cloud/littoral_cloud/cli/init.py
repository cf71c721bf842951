"""littoral-cloud init: writes a small project into a new folder."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from littoral.errors import BadInput, unwritten
from littoral_cloud.cli.noun import noun
from littoral_cloud.terminal.output import Format, FormatOption, emit

app = noun("Write a small project: a recipe, a budget, a README.")

RECIPE, NODE, README = "recipe.toml", "node/node.toml", "README.md"

_BUDGETS = """\
# The limits of one model on this node; it serves the most accurate student inside them. `littoral-node run --help` lists all
# limits. Without artifact, any size:
#   budget = "p95<=2ms,worst>=90%"    # 95 of 100 answers within 2 ms here, and no class worse than 90 %
#   budget = "runtime=ncnn"           # only students for ncnn
budget = "artifact<=100KB"
"""

_README = """\
# {model}

`recipe.toml` says how students are trained on {data}, `node/node.toml` their limits on a node. In this folder:

    littoral-cloud train --data {quoted} --recipe recipe.toml --data-dir cloud
    littoral-cloud up --data-dir cloud --node node
    curl -s http://127.0.0.1:8080/v2/models/{model}

`up` serves on this machine until Ctrl-C. For a fleet: `littoral-cloud serve`, and a node on each machine (littoral's README).
"""


@app.command(epilog="Example: littoral-cloud init photos-project --data photos/")
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.")],
    data: Annotated[Path | None, typer.Option(help="The data for the recipe, as for train. Default: a recipe for MNIST.")] = None,
    model: Annotated[str | None, typer.Option(help="The name under which nodes serve the students. Default: the data's.")] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Write a recipe, a node's budget and a README whose commands run unchanged. Overwrites nothing."""
    _check(folder)
    for name, text in _files(data, model).items():
        place = folder / name
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("x", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise unwritten(f"init: {place}", error, hint="name another folder") from error
    train = next(
        line.strip() for line in (folder / README).read_text(encoding="utf-8").splitlines() if "littoral-cloud train" in line
    )
    following = f"cd {shlex.quote(str(folder))} && {train}"
    if format == Format.JSON:
        emit({"folder": folder, "files": [RECIPE, NODE, README], "next": following}, format)
    else:
        emit(f"{folder}: wrote {RECIPE}, {NODE} and {README}")
        emit(f"next: {following}")


def _check(folder: Path) -> None:
    """Raises BadInput where the folder is not empty, or is a file."""
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"init: {folder} is a file", hint="name a new or an empty folder")
    if folder.is_dir() and (present := sorted(path.name for path in folder.iterdir())):
        raise BadInput(f"init: {folder} holds {present[0]}", hint="name a new or empty folder: init overwrites nothing")


def _files(data: Path | None, model: str | None) -> dict[str, str]:
    """The files' texts by name. Raises what load_dataset and check_recipe raise, before anything is written."""
    from littoral_cloud.data.sources import load_dataset
    from littoral_cloud.factory.checks import check_recipe
    from littoral_cloud.fleet.names import checked_name
    from littoral_cloud.recipes.fitted import as_toml, fitted
    from littoral_cloud.recipes.recipe import DEMO

    if model is not None:
        checked_name("model", model)
    if data is None:
        recipe, about, where = replace(DEMO, model=model or DEMO.model), "the demo's recipe, which fits MNIST", "YOUR_DATA"
    else:
        found = load_dataset(data)
        recipe = fitted(found, model)
        check_recipe(recipe, found)
        shape = "x".join(map(str, found.shape))
        about = f"fitted to {found.name}: {found.classes} classes, {len(found.train_y)} training examples of {shape}"
        where = str(data.resolve())
    text = _README.format(model=recipe.model, data=where, quoted=shlex.quote(where))
    return {RECIPE: as_toml(recipe, about), NODE: _BUDGETS, README: text}
