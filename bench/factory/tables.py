"""What every table of the factory has in common: the data, and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from bench.report import Figure, Table
from littoral_cloud.data.dataset import Dataset
from littoral_cloud.data.sources import load_mnist


@dataclass(frozen=True, slots=True)
class Part:
    """One table with its figures, and the seconds that it takes from nothing."""

    table: Table
    figures: Mapping[str, Figure]
    seconds: float


@cache
def data() -> Dataset:
    """MNIST, read once."""
    return load_mnist()


@cache
def held_out() -> Dataset:
    """MNIST with the last 5,000 training images in the place of its test images: what settings are chosen on."""
    return data().for_validation(5_000)
