"""One row: `train` or `compress --release` on one set in one order of its rows, as a user runs them, beside scikit-learn's
logistic regression on the same split.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.baseline.sets import ordered, write_folder, write_npz
from littoral_cloud.data.dataset import Dataset
from littoral_cloud.data.sources import load_dataset

MINUTES = 10
"""That `compress` is given."""

COMMANDS: dict[str, tuple[str, ...]] = {
    "train": ("train",),
    "compress": ("compress", "small", "--release", "--time-budget", f"{MINUTES}m"),
}
SOURCES: dict[str, tuple[str, str]] = {
    "digits_folder": ("digits", "folder"),
    "digits_npz": ("digits", "npz"),
    "wine": ("wine", "npz"),
    "breast_cancer": ("breast_cancer", "npz"),
    "colours": ("colours", "npz"),
}
"""By name: the set, and how it lies on the disk."""


@dataclass(frozen=True, slots=True)
class Row:
    """Accuracies are fractions of the test split."""

    source: str
    command: str
    seed: int
    tested: int  # examples
    logistic: float  # scikit-learn's
    own_logistic: float  # the baseline that the command shows
    best: str  # the most accurate of the release: which a node without limits takes
    accuracy: float
    worst_class: float
    chosen: str  # by held-out examples; "" where the command holds none out
    chosen_accuracy: float
    bytes: int
    chance: float
    seconds: float
    ended: str  # why a search ended


def made(source: str, command: str, seed: int) -> Row:
    """Raises RuntimeError with what the command said where it failed."""
    with tempfile.TemporaryDirectory(prefix="littoral-baseline-") as folder:
        data = _written(Path(folder), source, seed)
        began = time.perf_counter()
        said = _run([*COMMANDS[command], "--data", str(data), "--data-dir", str(Path(folder, "cloud")), "--format", "json"])
        seconds = time.perf_counter() - began
        dataset = load_dataset(data)
    students = said["artifacts" if command == "compress" else "students"]
    released = [student for student in students if student["released"]]
    best = max(released, key=lambda student: (student["accuracy"], -student["bytes"]))
    chosen = next((student for student in students if student["name"] == said.get("chosen")), None)
    return Row(
        source,
        command,
        seed,
        len(dataset.test_y),
        logistic_of(dataset),
        said["baseline"]["logistic"] if command == "train" else said["test_baseline"]["logistic"],
        best["name"],
        best["accuracy"],
        best["worst_class"],
        chosen["name"] if chosen else "",
        chosen["accuracy"] if chosen else 0.0,
        best["bytes"],
        1 / dataset.classes,
        round(seconds, 1),
        said.get("ended", ""),
    )


def logistic_of(dataset: Dataset) -> float:
    """scikit-learn's logistic regression as it comes, on features of mean 0 and deviation 1."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, tested = (part.reshape(len(part), -1).astype(np.float64) for part in (dataset.train_x, dataset.test_x))
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000)).fit(x, dataset.train_y)
    return float(model.score(tested, dataset.test_y))


def _written(folder: Path, source: str, seed: int) -> Path:
    name, kind = SOURCES[source]
    x, y = ordered(name, seed)
    return write_npz(folder / f"{name}.npz", x, y) if kind == "npz" else write_folder(folder / name, x, y)


def _run(arguments: list[str]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "littoral_cloud.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)}: {done.stderr}")
    body: dict[str, Any] = json.loads(done.stdout)
    return body
