"""The data that a command was given: read, remarked on, and described."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from littoral_cloud.data.dataset import Dataset

ResizeOption = Annotated[
    str,
    typer.Option(
        "--resize", help="Bring every image of a folder to this size, HEIGHTxWIDTH or one number; kept in the folder's data.toml."
    ),
]


def read_data(path: Path, resize: str = "", *, keep: bool = True) -> Dataset:
    """The data set.

    Args:
        resize: of `--resize`; "": as the data say.
        keep: write that size down in the folder.

    Raises what load_dataset and sized raise.
    """
    from littoral_cloud.data.image_folder import RULE, keep_rule, sized
    from littoral_cloud.data.sources import load_dataset

    rule = sized(path, resize) if resize else None
    examples = load_dataset(path, rule=rule)
    if rule is not None and keep and keep_rule(path, rule):
        typer.echo(f"{path / RULE}: says now what size all images get", err=True)
    return examples


def remark_on(examples: Dataset) -> None:
    """Says on standard error what was left out of the data, what repeats, and what else one should know of them."""
    from littoral_cloud.data.repeats import repeated
    from littoral_cloud.training.preparation import noted

    for said in (*examples.reading, *repeated(examples), *noted(examples)):
        typer.echo(f"{examples.name}: {said}", err=True)


def described(examples: Dataset) -> dict[str, Any]:
    """What was read, in JSON values."""
    import numpy as np

    counts = [np.bincount(y, minlength=examples.classes).tolist() for y in (examples.train_y, examples.test_y)]
    by_class = {label: {"train": train, "test": test} for label, train, test in zip(examples.labels, *counts, strict=True)}
    return {
        "data": examples.name,
        "kind": examples.kind,
        "shape": list(examples.shape),
        "train": len(examples.train_y),
        "test": len(examples.test_y),
        "classes": by_class,
    }
