"""How replies become the next global model: one file, one algorithm, one line in REGISTRY."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flwr.app import ArrayRecord, MetricRecord
from flwr.serverapp.strategy import Strategy

from cloud.federation.strategies import fedavg
from littoral.errors import BadInput

OnRound = Callable[[int, ArrayRecord, MetricRecord], None]
"""Called with a finished round's number, its global arrays and the nodes' weighted mean metrics."""

REGISTRY: Mapping[str, Callable[..., Strategy]] = {"fedavg": fedavg.build}


@dataclass(frozen=True, slots=True)
class Sampling:
    """Who takes part: a fraction of the nodes that are there, at least `min_nodes`. A fraction of 0 skips that half."""

    fraction_train: float = 1.0
    fraction_evaluate: float = 0.0
    min_nodes: int = 2


def build_strategy(name: str, sampling: Sampling, *, seed: int, first_round: int, on_round: OnRound, **options: Any) -> Strategy:
    """A strategy by its name.

    Args:
        seed: chooses which nodes are sampled in a round, the same after a restart.
        first_round: the round with which this start begins, from 1; more after a resume.

    Raises BadInput where the name is not known.
    """
    if name not in REGISTRY:
        raise BadInput(f"strategy: {name!r} is not known", hint=f"one of {', '.join(sorted(REGISTRY))}")
    return REGISTRY[name](sampling, seed=seed, first_round=first_round, on_round=on_round, **options)
