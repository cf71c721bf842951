"""What the demo is played with: MNIST, or a user's own images; in full, or quick with two nodes and no federation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cloud.data.dataset import Dataset, Examples, split_every
from cloud.data.sources import load_dataset, load_mnist
from cloud.demo.scenario import (
    HELD_BACK,
    MACHINES,
    MODEL,
    MOST_SIZE,
    OWN,
    OWN_HELD_BACK_EVERY,
    PROMISES,
    QUICK,
    QUICK_EXAMPLES,
    QUICK_MACHINES,
    Machine,
    Promises,
)
from cloud.factory.fitted import fitted
from cloud.factory.recipes import DEMO, Production
from littoral.errors import BadInput
from littoral.manifest import Manifest

LEAST_HELD_BACK = 10
"""Labelled images of a node, below which a round of training on it is not worth the name."""


@dataclass(frozen=True, slots=True, eq=False)
class Setting:
    """`machines` None: budgets are chosen from what was made, as shares of the largest student. `learns`: the inputs of some
    nodes drift, and federated rounds follow."""

    dataset: Dataset
    held_back: Examples  # what only the nodes have
    recipe: Production
    machines: tuple[Machine, ...] | None
    promises: Promises
    learns: bool = True

    def machines_for(self, made: Sequence[Manifest]) -> tuple[Machine, ...]:
        """The nodes, once the students are there."""
        return self.machines or own_machines([manifest.artifact_bytes for manifest in made], quick=not self.learns)


def mnist(*, quick: bool) -> Setting:
    """Raises what load_mnist raises."""
    dataset, held_back = load_mnist().hold_back(HELD_BACK)
    if not quick:
        return Setting(dataset, held_back, DEMO, MACHINES, PROMISES)
    few = dataset.first(QUICK_EXAMPLES, len(dataset.test_y))
    return Setting(few, held_back, fitted(few, MODEL, quick=True), QUICK_MACHINES, QUICK, learns=False)


def own(path: Path, *, quick: bool) -> Setting:
    """A user's images: of each class every tenth training example goes to the nodes.

    Raises BadInput where they are no images or too few for four nodes to learn from; what load_dataset raises.
    """
    whole = load_dataset(path)
    if len(whole.shape) != 3:
        raise BadInput(f"demo: {path} holds no images", hint="tables and series: littoral-cloud train and up")
    dataset, held_back = _hold_back(whole)
    if not quick and len(held_back) < LEAST_HELD_BACK * len(MACHINES):
        raise BadInput(
            f"demo: {path} has {len(whole.train_y)} training images, of which {len(held_back)} go to {len(MACHINES)} nodes",
            hint=f"each needs {LEAST_HELD_BACK} to learn from: give more images, or --quick, where no node learns",
        )
    return Setting(dataset, held_back, fitted(dataset, quick=quick), None, OWN, learns=not quick)


def own_machines(sizes: Sequence[int], *, quick: bool) -> tuple[Machine, ...]:
    """One node without limits, one for ncnn, and two whose limits are shares of the largest artifact that at least one meets.

    Args:
        sizes: of the artifacts, bytes.
    """
    most, least = max(sizes), min(sizes)
    gateway, _, handheld, _ = MACHINES
    camera = Machine("camera", f"artifact<={max(least, int(MOST_SIZE * most))}B", drifts=True)
    meter = Machine("meter", f"artifact<={least}B")
    return (gateway, meter) if quick else (gateway, camera, handheld, meter)


def _hold_back(dataset: Dataset) -> tuple[Dataset, Examples]:
    """Of each class every tenth, and at least one; a class of one example stays where it is. Raises BadInput for none at all."""
    out = split_every(dataset.train_y, OWN_HELD_BACK_EVERY)
    for label in range(dataset.classes):
        if (dataset.train_y == label).sum() < 2:
            out[dataset.train_y == label] = False
    if not out.any():
        raise BadInput(f"demo: {dataset.name} has one training image a class", hint="give more images")
    kept = dataset.without(out)
    return kept, Examples(dataset.train_x[out], dataset.train_y[out])
