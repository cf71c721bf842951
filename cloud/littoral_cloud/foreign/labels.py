"""What an imported classifier's classes are called, in its order: as the operator says, else the graph itself, else the data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from littoral.errors import BadInput

MOST_CLASSES = 10_000


def labels_of(
    scores: Any, wanted: tuple[str, ...], in_graph: Sequence[tuple[str, ...]], in_data: tuple[str, ...]
) -> tuple[str, ...]:
    """The classes' names, in the model's order; numbers where there are no names.

    Args:
        scores: what the model answered; (n, classes) floats, or it is no classifier.
        wanted: as the operator gives them; in_graph: see class_names.py; in_data: what the data call the classes that they hold.

    Raises BadInput where these are no scores, or as many names are not to be had.
    """
    if not are_scores(scores) or not 2 <= scores.shape[1] <= MOST_CLASSES:
        sizes = list(scores.shape) if isinstance(scores, np.ndarray) else "of other sizes for each example"
        found = f"{scores.dtype} {sizes}" if isinstance(scores, np.ndarray) else sizes
        raise BadInput(
            f"model: its output is {found}, a classifier gives floats of (n, classes)",
            hint="name another with --output, or say what it does with --task",
        )
    numbers = tuple(map(str, range(scores.shape[1])))
    if len(in_data) < len(numbers) and set(in_data) <= set(numbers):  # the data hold some of the classes, by number
        in_data = ()
    own = own_names(in_graph, len(numbers))
    if wanted and wanted != own and sorted(wanted) == sorted(own):
        raise BadInput(
            f"labels: are in another order than the graph itself has them: {', '.join(own[:8])}", hint="leave --labels out"
        )
    labels = wanted or own or in_data or numbers
    if len(labels) != len(numbers) or len(set(labels)) != len(labels):
        raise BadInput(
            f"labels: {len(set(labels))} different ones, and the model has {len(numbers)} classes",
            hint="one for each class, in the model's order: --labels FILE",
        )
    return labels


def own_names(in_graph: Sequence[tuple[str, ...]], classes: int) -> tuple[str, ...]:
    """The names in the graph for this number of classes; empty where there are none, or two different rows."""
    found = [names for names in in_graph if len(names) == classes]
    return found[0] if len(found) == 1 else ()


def are_scores(answers: Any) -> bool:
    """(n, classes) floats."""
    return isinstance(answers, np.ndarray) and answers.ndim == 2 and answers.dtype.kind == "f"


def read_labels(path: Path) -> tuple[str, ...]:
    """One a line. Raises BadInput or NotFound."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"labels: {path} cannot be read: {error}", hint="a text file, one label a line") from error
    labels = tuple(line.strip() for line in lines if line.strip())
    if not labels:
        raise BadInput(f"labels: {path} is empty", hint="one label a line, in the model's order")
    return labels
