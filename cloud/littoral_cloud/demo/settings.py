"""What the demo is played with: MNIST, or a user's own images; in full, or quick with two nodes and no federation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from littoral.errors import BadInput
from littoral.manifest import Manifest
from littoral_cloud.data.dataset import Dataset, Examples, split_every
from littoral_cloud.data.sources import load_dataset, load_mnist
from littoral_cloud.demo.participants import (
    DIRICHLET_ALPHA,
    HELD_BACK,
    MACHINES,
    MODEL,
    MOST_SIZE,
    OWN,
    OWN_ALPHA,
    PROMISES,
    QUICK,
    QUICK_EXAMPLES,
    QUICK_MACHINES,
    Machine,
    Promises,
)
from littoral_cloud.recipes.fitted import fitted
from littoral_cloud.recipes.recipe import DEMO, Production

LEAST_HELD_BACK = 25
"""Labelled images of a node: it judges a new model by every fifth, and fewer than five tell no bad one from a good one."""


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
    alpha: float = DIRICHLET_ALPHA  # how unlike each other the nodes' images are: small is unlike
    left_out: Mapping[str, str] = field(default_factory=dict)  # checks that this data does not allow, and why

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
    """A user's images: of each class every tenth training example goes to the nodes, and up to every second of few.

    Raises BadInput where they are no images or too few for four nodes to learn from; what load_dataset raises.
    """
    whole = load_dataset(path)
    if len(whole.shape) != 3:
        raise BadInput(f"demo: {path} holds no images", hint="tables and series: littoral-cloud train and up")
    wanted = LEAST_HELD_BACK * (2 if quick else len(MACHINES))
    dataset, held_back = _hold_back(whole, max(2, min(10, len(whole.train_y) // wanted)))
    too_few = len(held_back) < wanted
    if too_few and not quick:
        raise BadInput(
            f"demo: {path} has {len(whole.train_y)} training images, of which {len(held_back)} go to {len(MACHINES)} nodes",
            hint=f"each needs {LEAST_HELD_BACK} to learn from and to judge by: give more images, or --quick",
        )
    why = f"the nodes have {len(held_back)} labelled images in all: too few to tell a bad model from a good one"
    left_out = {"bad-release": why} if too_few else {}
    return Setting(
        dataset,
        held_back,
        fitted(dataset, quick=quick, solved=False),
        None,
        OWN,
        learns=not quick,
        alpha=OWN_ALPHA,
        left_out=left_out,
    )


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


def _hold_back(dataset: Dataset, every: int) -> tuple[Dataset, Examples]:
    """Of each class every so many-th, and at least one; a class of one example keeps it. Raises BadInput for none at all."""
    out = split_every(dataset.train_y, every)
    for label in range(dataset.classes):
        if (dataset.train_y == label).sum() < 2:
            out[dataset.train_y == label] = False
    if not out.any():
        raise BadInput(f"demo: {dataset.name} has one training image a class", hint="give more images")
    kept = dataset.without(out)
    return kept, Examples(dataset.train_x[out], dataset.train_y[out])
