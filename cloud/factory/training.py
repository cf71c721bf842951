"""Teachers and students: one training loop, two losses.

Distillation: G. Hinton, O. Vinyals, J. Dean: Distilling the Knowledge in a Neural Network, 2015,
https://arxiv.org/abs/1503.02531. The schedule: L. N. Smith, N. Topin: Super-Convergence, https://arxiv.org/abs/1708.07120.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from cloud.data.dataset import Dataset, Images, Labels
from cloud.factory.preparation import input_of, tensor_of
from cloud.factory.weights import parameters_of, weights_digest
from littoral.architectures import build
from littoral.errors import BadInput, FleetError
from littoral.manifest import Input

Logits = npt.NDArray[np.float32]
EVALUATION_BATCH = 1000
_DRAWING = threading.Lock()


class TrainingDiverged(FleetError):
    """The loss is not a number any more; the message names the step."""

    code = "training-diverged"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of training, for whoever shows progress."""

    name: str  # what is trained
    step: int  # from 1
    steps: int
    loss: float


Progress = Callable[[Step], None]


def no_progress(_: Step) -> None:
    """For callers that show nothing."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How fast; AdamW under one cycle of the learning rate."""

    batch: int = 128
    learning_rate: float = 4e-3  # at its peak
    weight_decay: float = 1e-2
    shift: int = 0  # pixels that a batch may be moved by, up, down and sideways; what comes in is 0

    def __post_init__(self) -> None:
        if self.batch < 1 or not 0 < self.learning_rate < 10 or self.weight_decay < 0 or self.shift < 0:
            raise BadInput(f"schedule: {self}", hint="batch from 1, learning rate between 0 and 10, decay and shift not negative")


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A network for inference, and where it came from."""

    name: str
    module: nn.Module
    spec: Mapping[str, Any]
    input: Input
    parameters: int
    digest: str  # of the weights
    seconds: float


def train_teacher(
    dataset: Dataset,
    spec: Mapping[str, Any],
    *,
    epochs: int,
    seed: int,
    name: str = "teacher",
    schedule: Schedule = Schedule(),
    threads: int = 1,
    progress: Progress = no_progress,
    clock: Callable[[], float] = time.perf_counter,
) -> Trained:
    """Trains on the labels alone. The same arguments, threads among them, give the same weights on one machine.

    Raises:
        BadInput: the spec is wrong. TrainingDiverged: the loss became NaN or infinite; names the step.
    """

    def loss(logits: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(logits, labels[index])

    labels = torch.from_numpy(dataset.train_y.copy())
    return _fit(dataset, spec, loss, name, epochs, schedule, seed, threads, progress, clock)


def cache_logits(teacher: Trained, x: Images, *, threads: int = 1) -> Logits:
    """The teacher's logits of raw images, (n, classes): computed once, used by every student."""
    return logits_of(teacher.module, teacher.input, x, threads=threads)


def distil(
    dataset: Dataset,
    logits: Logits,
    spec: Mapping[str, Any],
    *,
    epochs: int,
    seed: int,
    name: str = "student",
    alpha: float = 0.1,
    beta: float = 0.9,
    temperature: float = 4.0,
    schedule: Schedule = Schedule(),
    threads: int = 1,
    progress: Progress = no_progress,
    clock: Callable[[], float] = time.perf_counter,
) -> Trained:
    """Trains a student on alpha * cross-entropy with the labels + beta * T^2 * KL(teacher || student) at temperature T.

    Args:
        logits: of the teacher on `dataset.train_x`, (n, classes), as `cache_logits` gives them.

    Raises:
        BadInput: the logits do not belong to this data set, or a weight is wrong. TrainingDiverged: names the step.
    """
    if logits.shape != (len(dataset.train_y), dataset.classes):
        raise BadInput(
            f"distil: logits have shape {logits.shape}, the training split wants {(len(dataset.train_y), dataset.classes)}",
            hint="cache the teacher's logits of this very training split",
        )
    if alpha < 0 or beta < 0 or alpha + beta == 0 or temperature <= 0:
        raise BadInput(
            f"distil: alpha {alpha}, beta {beta}, temperature {temperature}", hint="none negative, not both 0, temperature over 0"
        )
    labels = torch.from_numpy(dataset.train_y.copy())
    soft = F.softmax(torch.from_numpy(logits.copy()) / temperature, dim=1)

    def loss(student: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        divergence = F.kl_div(F.log_softmax(student / temperature, dim=1), soft[index], reduction="batchmean")
        return alpha * F.cross_entropy(student, labels[index]) + beta * temperature**2 * divergence

    return _fit(dataset, spec, loss, name, epochs, schedule, seed, threads, progress, clock)


def logits_of(module: nn.Module, given: Input, x: Images, *, threads: int = 1) -> Logits:
    """(n, classes) float32, of raw images."""
    module = module.eval()
    with _threads(threads), torch.inference_mode():
        parts = [module(tensor_of(given, x[i : i + EVALUATION_BATCH])).numpy() for i in range(0, len(x), EVALUATION_BATCH)]
    return np.concatenate(parts).astype(np.float32)


def accuracy_of(logits: npt.NDArray[Any], y: Labels) -> float:
    """A fraction."""
    return float((logits.argmax(axis=1) == y).mean())


def _fit(
    dataset: Dataset,
    spec: Mapping[str, Any],
    loss_of: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    name: str,
    epochs: int,
    plan: Schedule,
    seed: int,
    threads: int,
    progress: Progress,
    clock: Callable[[], float],
) -> Trained:
    if epochs < 1:
        raise BadInput(f"{name}: epochs is {epochs}", hint="at least 1")
    began = clock()
    given = input_of(dataset)
    count, batch = len(dataset.train_y), min(plan.batch, len(dataset.train_y))
    per_epoch = count // batch  # what is left over of an epoch has its turn in another one
    steps = epochs * per_epoch
    chance = torch.Generator().manual_seed(seed)
    with _threads(threads):
        module = _new(spec, dataset, seed).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimiser = torch.optim.AdamW(module.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay)
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, plan.learning_rate, total_steps=steps + 1)
        module.train()
        for step in range(1, steps + 1):
            place = (step - 1) % per_epoch
            if place == 0:
                order = torch.randperm(count, generator=chance)
            index = order[place * batch : (place + 1) * batch]
            raw = dataset.train_x[index.numpy()]
            if plan.shift:
                raw = _moved(raw, *torch.randint(-plan.shift, plan.shift + 1, (2,), generator=chance).tolist())
            loss = loss_of(module(tensor_of(given, raw)), index)
            value = loss.item()
            if not math.isfinite(value):
                raise TrainingDiverged(
                    f"{name}: the loss is {value} at step {step} of {steps}", hint="lower the learning rate, or look at the data"
                )
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            cycle.step()
            progress(Step(name, step, steps, value))
        module.eval()
    return Trained(name, module, dict(spec), given, parameters_of(module), weights_digest(module), clock() - began)


def _new(spec: Mapping[str, Any], dataset: Dataset, seed: int) -> nn.Module:
    channels, height, width = dataset.shape
    # torch draws first weights from one generator for the whole process, and several students may be trained at once.
    with _DRAWING, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(spec, channels=channels, height=height, width=width, classes=dataset.classes)


def _moved(raw: Images, down: int, right: int) -> Images:
    """The same images, moved by whole pixels; what comes in is 0."""
    moved = np.zeros_like(raw)
    height, width = raw.shape[2:]
    down, right = max(-height, min(height, down)), max(-width, min(width, right))
    moved[:, :, max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)] = raw[
        :, :, max(0, -down) : height + min(0, -down), max(0, -right) : width + min(0, -right)
    ]
    return moved


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """torch's threads for as long as it lasts: never its default, which is the host's cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
