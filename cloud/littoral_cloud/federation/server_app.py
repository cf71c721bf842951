"""Flower ServerApp: builds the strategy that the run's configuration names and runs its rounds over the Grid that it gets.

Standard form: `flwr run` starts it with Flower's own Grid, the run's worker process (worker.py) with the fleet's. Beyond
Flower's interface it knows two optional things: initial arrays under "arrays" in the context's state (else weights are drawn
from the run's seed), and a Grid that is also a RoundKeeper, which is handed each finished round.
"""

from __future__ import annotations

import json
import os
from typing import Any, Protocol, runtime_checkable

import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp

from littoral.architectures import build, sizes_of
from littoral.errors import BadInput
from littoral_cloud.federation.strategies import Sampling, build_strategy

app = ServerApp()


@runtime_checkable
class RoundKeeper(Protocol):
    """A Grid that wants each finished round, and has judged the replies that it gives."""

    def round_finished(self, number: int, arrays: ArrayRecord, metrics: MetricRecord) -> None: ...


@app.main()
def main(grid: Grid, context: Context) -> None:
    config = context.run_config
    rounds, first = int(config["rounds"]), int(config.get("first-round", 1))
    keeper = grid if isinstance(grid, RoundKeeper) else None

    def on_round(number: int, arrays: ArrayRecord, metrics: MetricRecord) -> None:
        if keeper is not None:
            keeper.round_finished(number, arrays, metrics)

    strategy = build_strategy(
        str(config["strategy"]),
        Sampling(float(config["fraction-train"]), float(config["fraction-evaluate"]), int(config["min-nodes"])),
        seed=int(config["seed"]),
        first_round=first,
        on_round=on_round,
        grid_judges=keeper is not None,
    )
    if first > rounds:
        return  # a worker that was killed between the last round and its farewell
    strategy.start(
        grid=grid,
        initial_arrays=initial_arrays(context),
        num_rounds=rounds - first + 1,
        timeout=float(config["round-timeout"]),
        train_config=train_config(config),
        evaluate_config=train_config(config),
    )


def initial_arrays(context: Context) -> ArrayRecord:
    """The arrays in the context's state, else a new network's, drawn from the run's seed."""
    given = context.state.get("arrays")
    if isinstance(given, ArrayRecord):
        return given
    shape = json.loads(str(context.run_config["input"]))["shape"]
    torch.manual_seed(int(context.run_config["seed"]))
    spec = json.loads(str(context.run_config["architecture"]))
    net = build(spec, **sizes_of(spec, tuple(shape)), classes=int(context.run_config["classes"]))
    return ArrayRecord(net.state_dict())


def train_config(config: Any) -> ConfigRecord:
    """What goes to the nodes with every message; edge_node/littoral_node/federation/task.py reads it."""
    names = (
        "model",
        "architecture",
        "input",
        "classes",
        "local-epochs",
        "learning-rate",
        "batch-size",
        "seed",
        "calibration",
        "freeze-head",
    )
    missing = [name for name in names if name not in config]
    if missing:
        raise BadInput(f"run config: {missing[0]} is missing")
    record = ConfigRecord({name: config[name] for name in names})
    if config.get("data"):  # simulated nodes read MNIST from here, wherever Ray starts them
        record["data"] = os.path.abspath(str(config["data"]))
    return record
