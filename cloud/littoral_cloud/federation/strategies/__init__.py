"""How replies become the next global model: one file, one algorithm, one line in REGISTRY. flwr is imported when one is built."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from littoral.errors import BadInput

REGISTRY: Mapping[str, str] = {"fedavg": "littoral_cloud.federation.strategies.fedavg"}


@dataclass(frozen=True, slots=True)
class Sampling:
    """Who takes part: a fraction of the nodes that are there, at least `min_nodes`. A fraction of 0 skips that half."""

    fraction_train: float = 1.0
    fraction_evaluate: float = 0.0
    min_nodes: int = 2


def check_strategy(name: str) -> None:
    """Raises BadInput where the name is not known."""
    if name not in REGISTRY:
        raise BadInput(f"strategy: {name!r} is not known", hint=f"one of {', '.join(sorted(REGISTRY))}")


def build_strategy(
    name: str,
    sampling: Sampling,
    *,
    seed: int,
    first_round: int,
    on_round: Callable[..., None],
    **options: Any,
) -> Any:
    """A strategy by its name: a flwr.serverapp.strategy.Strategy.

    Args:
        seed: chooses which nodes are sampled in a round, the same after a restart.
        first_round: the round with which this start begins, from 1; more after a resume.
        on_round: called with a finished round's number, its global arrays and the nodes' weighted mean metrics, Flower's records.

    Raises BadInput where the name is not known.
    """
    check_strategy(name)
    build = importlib.import_module(REGISTRY[name]).build
    return build(sampling, seed=seed, first_round=first_round, on_round=on_round, **options)
