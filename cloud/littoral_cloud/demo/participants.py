"""The demo's nodes, its sizes and what it promises: frozen values, no code."""

from __future__ import annotations

from dataclasses import dataclass

MODEL = "digits"
SEED = 20


@dataclass(frozen=True, slots=True)
class DemoMachine:
    """One node of the demo: its own process, folder, certificate, shard and budget."""

    name: str
    budget: str  # as littoral.budget.Budget.parse reads it
    drifts: bool = False


MACHINES = (
    DemoMachine("gateway", "", drifts=True),
    DemoMachine("camera", "artifact<=100KB", drifts=True),
    DemoMachine("handheld", "runtime=ncnn"),
    DemoMachine("meter", "artifact<=20KB"),
)
QUICK_MACHINES = (DemoMachine("gateway", ""), DemoMachine("handheld", "runtime=ncnn"))
DRIFT_DEGREES = -45.0  # clockwise
DIRICHLET_ALPHA = 1.0
HELD_BACK = 6_000  # training images that only the nodes have
OWN_ALPHA = 10.0  # for a user's own images, which may be few: every node must see every class
QUICK_EXAMPLES = 20_000  # of MNIST's training images, with --quick
MOST_SIZE = 0.6  # the camera's limit as a share of the largest student, for a user's own data
REQUESTS_PER_SECOND = 25.0  # on each node
ROUNDS = 3
PROBATION_S = 3.0  # a real fleet takes longer: LITTORAL_PROBATION_S
QUICK_REQUESTS = 50  # answered by each node before the bad release, with --quick


@dataclass(frozen=True, slots=True)
class Promises:
    """What the demo must show; fractions, unless the name has a unit. None: no promise for this data."""

    teacher_accuracy: float | None = 0.99
    best_student_gap: float | None = 0.007
    smallest_bytes: int = 20_000
    smallest_accuracy: float | None = 0.97
    drift_gain: float | None = 0.25
    clean_loss: float | None = 0.015
    agent_rss_bytes: int | None = 100_000_000


PROMISES = Promises()
QUICK = Promises(teacher_accuracy=0.96, best_student_gap=0.03, smallest_accuracy=0.93)
OWN = Promises(
    teacher_accuracy=None,
    best_student_gap=None,
    smallest_accuracy=None,
    drift_gain=None,
    clean_loss=None,
    agent_rss_bytes=None,
)
