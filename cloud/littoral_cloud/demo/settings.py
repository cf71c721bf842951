"""The demo's settings: MNIST or a user's own images; in full, or quick with two nodes and no federated rounds."""

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
    DemoMachine,
    Promises,
)
from littoral_cloud.recipes.fitted import fitted
from littoral_cloud.recipes.recipe import DEMO, Production

LEAST_HELD_BACK = 25
"""Labelled images of a node, at least. A node judges a new model by every fifth; fewer than five tell it little."""


@dataclass(frozen=True, slots=True, eq=False)
class DemoSettings:
    """`machines` None: the budgets are shares of the largest student. `learns`: with drift and federated rounds."""

    dataset: Dataset
    held_back: Examples  # what only the nodes have
    recipe: Production
    machines: tuple[DemoMachine, ...] | None
    promises: Promises
    learns: bool = True
    alpha: float = DIRICHLET_ALPHA  # of the Dirichlet draw; a small one makes the nodes' images unlike each other
    left_out: Mapping[str, str] = field(default_factory=dict)  # checks that are impossible with this data, and why

    def machines_for(self, made: Sequence[Manifest]) -> tuple[DemoMachine, ...]:
        """The nodes of the demo, given the manifests of the students."""
        return self.machines or own_machines([manifest.artifact_bytes for manifest in made], quick=not self.learns)


def mnist(*, quick: bool) -> DemoSettings:
    """Raises what load_mnist raises."""
    dataset, held_back = load_mnist().hold_back(HELD_BACK)
    if not quick:
        return DemoSettings(dataset, held_back, DEMO, MACHINES, PROMISES)
    few = dataset.first(QUICK_EXAMPLES, len(dataset.test_y))
    return DemoSettings(few, held_back, fitted(few, MODEL, quick=True), QUICK_MACHINES, QUICK, learns=False)


def own(path: Path, *, quick: bool) -> DemoSettings:
    """A user's images. Every tenth training example of each class goes to the nodes; of few examples more, up to every second.

    Raises BadInput where the data holds no images, or too few for the nodes to learn from; and what load_dataset raises.
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
    return DemoSettings(
        dataset,
        held_back,
        fitted(dataset, quick=quick, solved=False),
        None,
        OWN,
        learns=not quick,
        alpha=OWN_ALPHA,
        left_out=left_out,
    )


def own_machines(sizes: Sequence[int], *, quick: bool) -> tuple[DemoMachine, ...]:
    """One node without limits, one for ncnn, and two whose limits are shares of the largest artifact; one artifact at least fits.

    Args:
        sizes: of the artifacts, bytes.
    """
    most, least = max(sizes), min(sizes)
    gateway, _, handheld, _ = MACHINES
    camera = DemoMachine("camera", f"artifact<={max(least, int(MOST_SIZE * most))}B", drifts=True)
    meter = DemoMachine("meter", f"artifact<={least}B")
    return (gateway, meter) if quick else (gateway, camera, handheld, meter)


def _hold_back(dataset: Dataset, every: int) -> tuple[Dataset, Examples]:
    """Takes every `every`-th example of each class, at least one, for the nodes; none of a class with one example.

    Raises BadInput where nothing is left for the nodes.
    """
    out = split_every(dataset.train_y, every)
    for label in range(dataset.classes):
        if (dataset.train_y == label).sum() < 2:
            out[dataset.train_y == label] = False
    if not out.any():
        raise BadInput(f"demo: {dataset.name} has one training image a class", hint="give more images")
    return dataset.without(out), Examples(dataset.train_x[out], dataset.train_y[out])
