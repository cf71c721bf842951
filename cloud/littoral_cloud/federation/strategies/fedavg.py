"""Federated averaging: the next global model is the mean of the nodes' models, weighted by their examples.

H. B. McMahan, E. Moore, D. Ramage, S. Hampson, B. A. y Arcas: Communication-Efficient Learning of Deep Networks from
Decentralized Data, AISTATS 2017, https://arxiv.org/abs/1602.05629. The algorithm is Flower's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from flwr.app import ArrayRecord, MetricRecord
from flwr.serverapp.strategy import FedAvg, Strategy

from littoral_cloud.federation.strategies.resumable import Resumable

if TYPE_CHECKING:
    from littoral_cloud.federation.strategies import Sampling


class ResumableFedAvg(Resumable, FedAvg):
    """Flower's FedAvg with our rounds."""


def build(
    sampling: Sampling,
    *,
    seed: int,
    first_round: int,
    on_round: Callable[[int, ArrayRecord, MetricRecord], None],
    grid_judges: bool = False,
) -> Strategy:
    strategy = ResumableFedAvg(
        fraction_train=sampling.fraction_train,
        fraction_evaluate=sampling.fraction_evaluate,
        min_train_nodes=sampling.min_nodes,
        min_evaluate_nodes=sampling.min_nodes if sampling.fraction_evaluate else 0,
        min_available_nodes=sampling.min_nodes,
    )
    strategy.resume(seed, first_round, on_round, quorum=sampling.min_nodes, grid_judges=grid_judges)
    return strategy
