"""Who takes part in the demo and what is asked of it: frozen values, no code."""

from __future__ import annotations

from dataclasses import dataclass

MODEL = "digits"
SEED = 20


@dataclass(frozen=True, slots=True)
class Machine:
    """One node of the demo: its own process, folder, certificate, shard and budget."""

    name: str
    budget: str  # as littoral.budget.Budget.parse reads it
    drifts: bool = False


MACHINES = (
    Machine("gateway", "", drifts=True),
    Machine("camera", "artifact<=100KB", drifts=True),
    Machine("handheld", "runtime=ncnn"),
    Machine("meter", "artifact<=20KB"),
)
DRIFT_DEGREES = -45.0  # clockwise
DIRICHLET_ALPHA = 1.0
HELD_BACK = 6_000  # training images that only the nodes have
REQUESTS_PER_SECOND = 25.0  # on each node
ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Promises:
    """What the run must show; a fraction where nothing else is said."""

    teacher_accuracy: float = 0.99
    best_student_gap: float = 0.007
    smallest_bytes: int = 20_000
    smallest_accuracy: float = 0.97
    drift_gain: float = 0.25
    clean_loss: float = 0.015
    agent_rss_bytes: int = 100_000_000
