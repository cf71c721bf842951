"""What is asked of a federated run. Light: commands read the defaults before anything else."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RunTerms:
    """How a run learns. The defaults were best on MNIST turned by 45 degrees: bench/federated_recipe.py."""

    strategy: str = "fedavg"
    rounds: int = 3
    local_epochs: int = 4
    learning_rate: float = 1e-3
    batch_size: int = 64
    calibration: float = 1.0
    freeze_head: bool = True
    fraction: float = 1.0
    min_nodes: int | None = None  # None: 2, or 1 where one node is all that is asked
    min_replies: int | None = None  # None: as many as min_nodes
    round_timeout_s: float = 120.0
    seed: int = 1
