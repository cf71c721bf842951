"""Reads and describes a command's data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from littoral_cloud.terminal.output import notice

if TYPE_CHECKING:
    from littoral_cloud.data.dataset import Dataset

ResizeOption = Annotated[
    str,
    typer.Option(
        "--resize", help="Resize all images of a folder to HEIGHTxWIDTH or one number; writes the size to the folder's data.toml."
    ),
]


def read_data(path: Path, resize: str = "", *, keep: bool = True) -> Dataset:
    """The data set.

    Args:
        resize: the value of `--resize`; "": as the data demand.
        keep: write that size into the folder.

    Raises what load_dataset and sized raise.
    """
    from littoral_cloud.data.image_folder import RULE, keep_rule, sized
    from littoral_cloud.data.sources import load_dataset

    rule = sized(path, resize) if resize else None
    examples = load_dataset(path, rule=rule)
    if rule is not None and keep and keep_rule(path, rule):
        notice(f"{path / RULE}: now has the size of all images")
    return examples


def remark_on(examples: Dataset) -> None:
    """Prints to standard error what was skipped in the data, what repeats, and other remarks."""
    from littoral_cloud.data.repeats import repeated
    from littoral_cloud.training.preparation import noted

    for remark in (*examples.reading, *repeated(examples), *noted(examples)):
        notice(f"{examples.name}: {remark}")


def described(examples: Dataset) -> dict[str, Any]:
    """A summary of the data, as JSON values."""
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
