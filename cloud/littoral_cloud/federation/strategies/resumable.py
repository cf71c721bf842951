"""What every strategy of ours adds to Flower's: rounds that can be resumed, sampling that can be repeated, a checkpoint.

Flower's `Strategy.start` always counts rounds from 1 and keeps nothing. Mixed in before a Flower strategy, this shifts the
count to where a run stands, seeds Flower's sampling by run and round (so that a restarted worker asks the same nodes), judges
each reply before any are mixed where the Grid has not done that already, and hands each finished round on before the next begins.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from littoral.errors import FleetError
from littoral_cloud.federation.faults import Fault
from littoral_cloud.federation.judging import judged

log = logging.getLogger(__name__)


class RoundFailed(FleetError):
    """A round brought no usable reply."""

    code = "round-failed"


class StrategyFailed(FleetError):
    """The strategy itself raised: it would do so again."""

    code = "strategy-failed"


class Resumable(Strategy):
    """Mix in before a Flower strategy, which `super()` then means; call `resume` once, before `start`."""

    _seed: int
    _skipped: int
    _on_round: Callable[[int, ArrayRecord, MetricRecord], None]
    _sent: ArrayRecord
    _quorum: int
    _grid_judges: bool

    def resume(
        self,
        seed: int,
        first_round: int,
        on_round: Callable[[int, ArrayRecord, MetricRecord], None],
        *,
        quorum: int = 1,
        grid_judges: bool = False,
    ) -> None:
        """`quorum`: a round of which replies were left out fails with fewer than these. `grid_judges`: it leaves them out."""
        self._seed = seed
        self._skipped = first_round - 1
        self._on_round = on_round
        self._quorum = quorum
        self._grid_judges = grid_judges

    def configure_train(self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid) -> Iterable[Message]:
        number = server_round + self._skipped
        self._sent = arrays
        random.seed(f"{self._seed}:{number}:train")  # Flower samples with the module's generator
        with self._own_errors(number):
            return super().configure_train(number, arrays, config, grid)  # type: ignore[safe-super]

    def aggregate_train(self, server_round: int, replies: Iterable[Message]) -> tuple[ArrayRecord | None, MetricRecord | None]:
        number = server_round + self._skipped
        good = self._usable(number, "train", self._sent, replies)
        with self._own_errors(number):
            arrays, metrics = super().aggregate_train(number, good)  # type: ignore[safe-super]
        if arrays is None or metrics is None:
            raise RoundFailed(f"round {number}: no node gave a usable reply", hint="see the nodes' worker.log")
        arrays = _as_sent(arrays, self._sent, number)
        self._on_round(number, arrays, metrics)
        return arrays, metrics

    def configure_evaluate(self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid) -> Iterable[Message]:
        number = server_round + self._skipped
        random.seed(f"{self._seed}:{number}:evaluate")
        with self._own_errors(number):
            return super().configure_evaluate(number, arrays, config, grid)  # type: ignore[safe-super]

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        number = server_round + self._skipped
        good = self._usable(number, "evaluate", None, replies)
        with self._own_errors(number):
            return super().aggregate_evaluate(number, good)  # type: ignore[safe-super]

    def _usable(self, number: int, kind: str, sent: ArrayRecord | None, replies: Iterable[Message]) -> list[Message]:
        came = list(replies)
        if self._grid_judges:
            return came
        verdicts = judged(came, kind, sent, [None] * len(came))
        faults = [
            f"node {reply.metadata.src_node_id}: {verdict.code}: {verdict.detail}"
            for reply, verdict in zip(came, verdicts, strict=True)
            if isinstance(verdict, Fault)
        ]
        good = [verdict for verdict in verdicts if isinstance(verdict, Message)]
        for fault in faults:
            log.warning("round %d: %s", number, fault)
        if faults and len(good) < self._quorum:
            raise RoundFailed(
                f"round {number}: {len(good)} of {len(came)} replies can be used, {self._quorum} are needed ({'; '.join(faults)})"
            )
        return good

    @contextmanager
    def _own_errors(self, number: int) -> Iterator[None]:
        """What Flower's strategy raises on the same replies it raises again: the run ends with its message. What the Grid
        raises beneath it is not the strategy's."""
        try:
            yield
        except (FleetError, OSError, CancelledError):
            raise
        except Exception as error:
            raise StrategyFailed(f"round {number}: {type(self).__name__}: {type(error).__name__}: {error}") from error


def _as_sent(arrays: ArrayRecord, sent: ArrayRecord, number: int) -> ArrayRecord:
    """Averaging turns counters into float64: each array gets the type and shape back that it was sent with."""
    typed: dict[str, Array] = {}
    for name, array in sent.items():
        if name not in arrays:
            raise RoundFailed(f"round {number}: replies lack {name}")
        value = np.asarray(arrays[name].numpy())
        if value.shape != tuple(array.shape):
            raise RoundFailed(f"round {number}: {name} has shape {value.shape}, was sent as {tuple(array.shape)}")
        if not np.isfinite(value).all():
            raise RoundFailed(f"round {number}: {name} holds values that are not finite", hint="lower the learning rate")
        wanted = np.dtype(array.dtype)
        typed[name] = Array(np.asarray(np.rint(value) if wanted.kind in "iu" else value, wanted))  # rint of 0-d is no array
    return ArrayRecord(typed)
