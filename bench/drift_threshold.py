"""Chooses the drift threshold, and shows what it is worth, on real MNIST.

    python bench/drift_threshold.py

Fleets of four nodes with Dirichlet(1.0) shards. Each node's baseline is its first 300 inputs; windows of 200 inputs of the same
shard follow, as they are and turned by 45 degrees. The threshold is chosen on shards of training images (`chosen_*`): between
the highest score without drift and the lowest with it. What counts is judged on test images and other shards. Single windows
are judged, which is harder than what littoral_cloud.fleet.drift asks for (two in a row, or one that is far over).
"""

from __future__ import annotations

import time
import timeit
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from bench.report import Figure, record
from littoral.manifest import SketchSpec
from littoral.sketch import Counts, Sketch, fit, shift
from littoral_cloud.data.shards import dirichlet_shards, rotate
from littoral_cloud.data.sources import load_mnist
from littoral_cloud.fleet.drift import DriftPolicy

NODES, ALPHA, DEGREES = 4, 1.0, 45.0
FLEETS = 5
WINDOWS = 200  # without drift, on each shard
DRIFTED = 50  # with drift, on each shard
SPEC_SEED, SPEC_EXAMPLES = 1, 4096

Images = npt.NDArray[np.uint8]


def main() -> None:
    began = time.perf_counter()
    policy = DriftPolicy()
    data = load_mnist()
    places = np.linspace(0, len(data.train_x) - 1, SPEC_EXAMPLES).astype(np.int64)
    spec = fit(data.train_x[places], seed=SPEC_SEED)

    def of(x: Images, y: npt.NDArray[np.int64], seed: int) -> tuple[list[float], list[float]]:
        same: list[float] = []
        turned: list[float] = []
        for rng, shard in shards(x, y, seed):
            s, t = scores(spec, shard, rng, policy)
            same += s
            turned += t
        return same, turned

    chosen_same, chosen_turned = of(data.train_x[: 6_000 * FLEETS], data.train_y[: 6_000 * FLEETS], 100)
    same, turned = of(data.test_x, data.test_y, 200)
    threshold = float(np.sqrt(max(chosen_same) * min(chosen_turned)))
    sketch, one = Sketch(spec), data.test_x[:1]
    sketch.add(one)
    each = [1e6 * t / 2_000 for t in timeit.repeat(lambda: sketch.add(one), number=2_000, repeat=9, timer=time.process_time)]
    false_alarms = sum(s > policy.threshold for s in same)
    seen = float(np.mean([t > policy.threshold for t in turned]))
    figures = {
        "drift_false_alarms": Figure.of(
            false_alarms, "windows", "lower", f"of {len(same)} windows of {policy.window_examples} inputs without drift"
        ),
        "drift_seen_in_first_window": Figure.of(
            seen, "fraction", "higher", f"of {len(turned)} first windows turned by {DEGREES:g} degrees"
        ),
        "drift_score_without": Figure.of(max(same), "score", "lower", "highest, without drift"),
        "drift_score_with": Figure.of(min(turned), "score", "higher", "lowest, with drift"),
        "drift_threshold_in_use": Figure.of(policy.threshold, "score", "higher", "littoral_cloud.fleet.drift.DriftPolicy"),
        "drift_threshold_chosen": Figure.of(
            threshold,
            "score",
            "higher",
            f"geometric mean of {max(chosen_same):.4f} (highest without) and {min(chosen_turned):.4f} (lowest with drift), "
            "training images",
        ),
        "sketch_add_us": Figure(tuple(each), "us", "lower", "one input of 784 values, 16 features of 10 bins; CPU time"),
    }
    record("drift", command="make bench-drift", seconds=time.perf_counter() - began, figures=figures)
    for name, found in figures.items():
        print(f"{name:28} {found.value:10.4f} {found.unit:9} {found.note}")


def shards(x: Images, y: npt.NDArray[np.int64], seed: int) -> Iterator[tuple[np.random.Generator, Images]]:
    """Every shard of every fleet; fleets share the images evenly, so that no two shards share one."""
    order = np.random.default_rng(seed).permutation(len(y))
    for fleet, part in enumerate(np.array_split(order, FLEETS)):
        rng = np.random.default_rng((seed, fleet))
        for index in dirichlet_shards(y[part], NODES, ALPHA, rng):
            yield rng, x[part[index]]


def scores(spec: SketchSpec, shard: Images, rng: np.random.Generator, policy: DriftPolicy) -> tuple[list[float], list[float]]:
    """Scores of windows against one baseline of a shard: as it is, and turned. Inputs come with replacement, as requests do."""

    def window(images: Images, examples: int) -> Counts:
        sketch = Sketch(spec)
        sketch.add(images[rng.integers(0, len(images), examples)])
        return sketch.counts

    turned = rotate(shard, DEGREES)
    baseline = window(shard, policy.baseline_examples)
    return (
        [shift(baseline, window(shard, policy.window_examples)) for _ in range(WINDOWS)],
        [shift(baseline, window(turned, policy.window_examples)) for _ in range(DRIFTED)],
    )


if __name__ == "__main__":
    main()
