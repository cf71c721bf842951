"""Teachers and students: one training loop, two losses.

Distillation: G. Hinton, O. Vinyals, J. Dean: Distilling the Knowledge in a Neural Network, 2015,
https://arxiv.org/abs/1503.02531. The schedule: L. N. Smith, N. Topin: Super-Convergence, https://arxiv.org/abs/1708.07120.
"""

from __future__ import annotations

import math
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
    """How long and how fast; AdamW under one cycle of the learning rate."""

    epochs: int
    batch: int = 128
    learning_rate: float = 4e-3  # at its peak
    weight_decay: float = 1e-4

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 1 or not 0 < self.learning_rate < 10 or self.weight_decay < 0:
            raise BadInput(f"schedule: {self} must have epochs and batch from 1 and a learning rate between 0 and 10")


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
    schedule: Schedule | None = None,
    threads: int = 1,
    progress: Progress = no_progress,
    clock: Callable[[], float] = time.perf_counter,
) -> Trained:
    """Trains on the labels alone. The same arguments, threads among them, give the same weights on one machine.

    Raises:
        BadInput: the spec is wrong. TrainingDiverged: the loss became NaN or infinite; names the step.
    """
    plan = schedule or Schedule(epochs)

    def loss(logits: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(logits, labels[index])

    labels = torch.from_numpy(dataset.train_y)
    return _fit(dataset, spec, loss, name=name, plan=plan, seed=seed, threads=threads, progress=progress, clock=clock)


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
    schedule: Schedule | None = None,
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
    labels = torch.from_numpy(dataset.train_y)
    soft = F.softmax(torch.from_numpy(logits) / temperature, dim=1)

    def loss(student: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        divergence = F.kl_div(F.log_softmax(student / temperature, dim=1), soft[index], reduction="batchmean")
        return alpha * F.cross_entropy(student, labels[index]) + beta * temperature**2 * divergence

    plan = schedule or Schedule(epochs)
    return _fit(dataset, spec, loss, name=name, plan=plan, seed=seed, threads=threads, progress=progress, clock=clock)


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
    *,
    name: str,
    plan: Schedule,
    seed: int,
    threads: int,
    progress: Progress,
    clock: Callable[[], float],
) -> Trained:
    began = clock()
    channels, height, width = dataset.shape
    given = input_of(dataset)
    count, batch = len(dataset.train_y), min(plan.batch, len(dataset.train_y))
    per_epoch = max(1, count // batch)  # what is left over of an epoch comes in another one
    with _threads(threads), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = build(spec, channels=channels, height=height, width=width, classes=dataset.classes)
        module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        x = tensor_of(given, dataset.train_x)
        optimiser = torch.optim.AdamW(module.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay)
        steps = plan.epochs * per_epoch
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, plan.learning_rate, total_steps=steps + 1)
        module.train()
        step = 0
        for _ in range(plan.epochs):
            order = torch.randperm(count)
            for i in range(per_epoch):
                step += 1
                index = order[i * batch : (i + 1) * batch]
                loss = loss_of(module(x[index]), index)
                value = loss.item()
                if not math.isfinite(value):
                    raise TrainingDiverged(
                        f"{name}: the loss is {value} at step {step} of {steps}",
                        hint="lower the learning rate, or look at the data",
                    )
                optimiser.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                cycle.step()
                progress(Step(name, step, steps, value))
        module.eval()
    return Trained(name, module, dict(spec), given, parameters_of(module), weights_digest(module), clock() - began)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """torch's threads for as long as it lasts: never its default, which is the host's cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
