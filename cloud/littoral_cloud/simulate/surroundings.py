"""What all nodes of one simulation share."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from littoral_cloud.simulate.books import Books
from littoral_cloud.simulate.coordinator import SimulatedCoordinator
from littoral_cloud.simulate.scenario import SimulatedArtifact


@dataclass(frozen=True, slots=True)
class Surroundings:
    model: str
    coordinator: SimulatedCoordinator
    artifacts: Mapping[str, SimulatedArtifact]  # by manifest digest
    books: Books
    clock: Callable[[], float]
    rng: random.Random
    draws: np.random.Generator
    tasks: asyncio.TaskGroup
