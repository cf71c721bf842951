"""The sampler against random values: the hypervolume of the front after the same number of trials, five seeds.

Both searches are the same but for `sampler`; none is halved, so that a trial is a trial. What counts is held-out accuracy and the
bytes that travel. The reference point was set before anything ran: an error of 20 %, and 10,000 bytes; of the bytes the logarithm
to base 2 counts. So a front's volume is in bits of size times error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.factory.kept import Kept, Row, tell
from bench.factory.tables import Part, data
from bench.report import Figure, Table
from littoral_cloud.search import SearchResult, compress, search_from
from littoral_cloud.search.front import Point, non_dominated

ROOT = Path("build/bench/search")
SEEDS = (1, 2, 3, 4, 5)
SAMPLERS = ("tpe", "random")
TRIALS = 32
IMAGES = 2_000
REFERENCE = (0.2, math.log2(10_000))
BODY: dict[str, Any] = {
    "model": "digits",
    "student": [
        {
            "name": "s",
            "architecture": {"name": "compact_cnn", "widths": [8, 16, 16], "head": "map"},
            "epochs": 3,
            "variants": ["onnx"],
            "method": [{"kind": "weight-sharing", "epochs": 1, "bits": 4}],
        }
    ],
}
SPACE: dict[str, Any] = {
    "width": {"low": 0.25, "high": 2.0, "log": True},
    "resolution": {"choices": [1.0, 0.75, 0.5]},
    "architecture.stem": {"choices": [3, 5, 7]},
    "architecture.head": {"choices": ["mean", "map"]},
    "schedule.learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
    "schedule.batch": {"low": 16, "high": 256, "log": True},
    "schedule.weight_decay": {"low": 1e-4, "high": 1.0, "log": True},
    "weight-sharing.bits": {"low": 2, "high": 5},
}


def made() -> Part:
    kept = Kept("hypervolume", root=ROOT)
    rows = [_row(kept, sampler, seed) for seed in SEEDS for sampler in SAMPLERS]
    volumes = {(row["sampler"], row["seed"]): row["hypervolume"] for row in rows}
    ratios = tuple(volumes["tpe", seed] / volumes["random", seed] for seed in SEEDS)
    columns = ("sampler", "seed", "trials", "in the front", "hypervolume", "best accuracy")
    names = ("sampler", "seed", "trials", "front", "hypervolume", "best")
    table = Table(
        "The sampler against random values, the same number of trials",
        columns,
        tuple(tuple(row[name] for name in names) for row in rows),
        (
            f"{IMAGES:,} MNIST images, a quarter held out; 3 epochs and one of a codebook; {len(SPACE)} dimensions.",
            "Reference point: an error of 20 % and 10,000 bytes; log2 of the bytes counts.",
        ),
    )
    note = f"{TRIALS} trials each, held-out accuracy against bytes that travel"
    figure = Figure(ratios, "x", "higher", note, ("random search", 1.0))
    return Part(table, {"hypervolume_vs_random": figure}, kept.seconds)


def _row(kept: Kept, sampler: str, seed: int) -> Row:
    def make() -> Row:
        found = searched(sampler, seed)
        row = {"sampler": sampler, "seed": seed, "trials": len(found.trials), "front": len(found.front)}
        best = max(run.outcome.accuracy for run in found.trials if run.outcome)
        tell(f"hypervolume: {sampler}, seed {seed}: {volume(found):.4f} after {len(found.trials)} trials")
        return {**row, "hypervolume": volume(found), "best": best}

    settings = {"body": BODY, "space": SPACE, "trials": TRIALS, "images": IMAGES, "reference": REFERENCE}
    code = ("littoral_cloud.search.draw", "littoral_cloud.search.front", "littoral_cloud.search.space")
    return kept.row(f"{sampler}-{seed}", {**settings, "sampler": sampler, "seed": seed}, code, make)


def searched(sampler: str, seed: int) -> SearchResult:
    objectives = ["accuracy", "bytes"]
    settings = {"trials": TRIALS, "batch": 8, "rungs": [1.0], "held_out": 0.25, "seed": seed, "sampler": sampler}
    search = {**settings, "objectives": objectives, "steer": objectives, "space": SPACE}
    recipe = search_from({**BODY, "search": search}, what="hypervolume")
    return compress(None, data().first(IMAGES, 1_000), recipe=recipe, folder=ROOT / "hypervolume")


def volume(found: SearchResult) -> float:
    points = [(1 - run.outcome.accuracy, math.log2(run.outcome.transfer_bytes)) for run in found.trials if run.outcome]
    return hypervolume(points, REFERENCE)


def hypervolume(points: Sequence[Point], reference: Point) -> float:
    """The volume that the points dominate below a reference point; a point that is not better than it everywhere adds nothing."""
    inside = [tuple(p) for p in points if all(x < r for x, r in zip(p, reference, strict=True))]
    return _volume([inside[i] for i in non_dominated(inside)], tuple(reference))


def _volume(points: Sequence[tuple[float, ...]], reference: tuple[float, ...]) -> float:
    """By slices along the last objective."""
    if not points:
        return 0.0
    if len(reference) == 1:
        return reference[0] - min(p[0] for p in points)
    heights = sorted({p[-1] for p in points})
    total = 0.0
    for low, high in zip(heights, [*heights[1:], reference[-1]], strict=True):
        below = [p[:-1] for p in points if p[-1] <= low]
        total += (high - low) * _volume([below[i] for i in non_dominated(below)], reference[:-1])
    return total
