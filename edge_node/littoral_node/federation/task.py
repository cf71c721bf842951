"""What a federated message asks of this node, read from Flower's ConfigRecord and checked field by field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from littoral.errors import BadData, BadInput
from littoral.preparation import Input


@dataclass(frozen=True, slots=True)
class TrainingTask:
    """One node's work in one round."""

    model: str
    architecture: Mapping[str, Any]  # what littoral.architectures.build takes
    input: Input
    classes: int
    round: int  # from 1
    local_epochs: int
    learning_rate: float
    batch_size: int
    seed: int
    calibration: float
    freeze_head: bool
    data: str = ""  # folder of MNIST, only for `flwr run`'s simulated nodes

    def prepare(self, raw: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Raises BadData where a value is too large to be prepared in float32."""
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is found here
            prepared = self.input.prepare(raw)
        if not (fine := np.isfinite(prepared)).all():
            first = np.argwhere(~fine)[0]
            raise BadData(
                f"labelled data: {raw[tuple(first)]} in example {first[0]} is not finite in float32 once it is prepared",
                hint="leave those rows out",
            )
        return prepared


def _take(config: Mapping[str, Any], name: str, kind: type | tuple[type, ...]) -> Any:
    if name not in config:
        raise BadInput(f"federated config: {name} is missing")
    value = config[name]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise BadInput(f"federated config: {name} is {value!r}")
    return value


def _positive(config: Mapping[str, Any], name: str) -> int:
    value = int(_take(config, name, int))
    if value < 1:
        raise BadInput(f"federated config: {name} is {value}, must be at least 1")
    return value


def _fraction(config: Mapping[str, Any], name: str) -> float:
    value = float(_take(config, name, (int, float)))
    if not 0 <= value <= 1:
        raise BadInput(f"federated config: {name} is {value}, must lie between 0 and 1")
    return value


def input_from(body: Mapping[str, Any]) -> Input:
    """From {"shape": [C, H, W], [features] or [channels, steps], "scale": s, "mean": [..], "std": [..]}.

    Raises BadInput, naming the field.
    """
    try:
        shape = tuple(int(d) for d in body["shape"])
        mean, std = tuple(float(v) for v in body["mean"]), tuple(float(v) for v in body["std"])
        scale = float(body["scale"])
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"federated config: input is {dict(body)!r}: {error}") from error
    if not 1 <= len(shape) <= 3 or min(shape) < 1 or not mean or not std or 0.0 in std:
        raise BadInput(f"federated config: input is {dict(body)!r}: shape must have one to three sizes, std not 0")
    return Input("input", shape, scale, mean, std)


def task_from(config: Mapping[str, Any]) -> TrainingTask:
    """Raises BadInput, naming the field."""
    try:
        architecture = json.loads(_take(config, "architecture", str))
        raw_input = json.loads(_take(config, "input", str))
    except ValueError as error:
        raise BadInput(f"federated config: architecture or input is not JSON: {error}") from error
    if not isinstance(architecture, dict) or not isinstance(raw_input, dict):
        raise BadInput("federated config: architecture and input must be JSON objects")
    rate = float(_take(config, "learning-rate", (int, float)))
    if not 0 < rate < 10:
        raise BadInput(f"federated config: learning-rate is {rate}, must lie between 0 and 10")
    return TrainingTask(
        model=_take(config, "model", str),
        architecture=architecture,
        input=input_from(raw_input),
        classes=_positive(config, "classes"),
        round=_positive(config, "server-round"),
        local_epochs=_positive(config, "local-epochs"),
        learning_rate=rate,
        batch_size=_positive(config, "batch-size"),
        seed=int(_take(config, "seed", int)),
        calibration=_fraction(config, "calibration"),
        freeze_head=bool(config.get("freeze-head", False)),
        data=str(config.get("data", "")),
    )
