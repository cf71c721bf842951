"""Teachers and students: networks from a data set, by labels alone or by a teacher's answers as well (see trainer.py)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from littoral.architectures import build, sizes_of
from littoral.digest import digest_of
from littoral.errors import BadInput
from littoral.preparation import Input
from littoral_cloud.data.dataset import Dataset, Inputs
from littoral_cloud.data.labels import Labels
from littoral_cloud.training.checkpoint import Checkpoints
from littoral_cloud.training.preparation import input_of, tensor_of
from littoral_cloud.training.schedule import Logits, Progress, Schedule, TeacherLogits, ignore
from littoral_cloud.training.seeding import computing, seeded
from littoral_cloud.training.trainer import Trainer
from littoral_cloud.training.weights import parameters_of, weights_digest

EVALUATION_BATCH = 1000
PLAIN = Schedule()


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

    @classmethod
    def of(cls, name: str, module: nn.Module, spec: Mapping[str, Any], given: Input, seconds: float) -> Trained:
        return cls(name, module.eval(), dict(spec), given, parameters_of(module), weights_digest(module), seconds)


@dataclass(frozen=True, slots=True, eq=False)
class OneCopy:
    """A teacher's logits for the images as they are, and for no moved copy of them."""

    logits: Logits

    @property
    def digest(self) -> str:
        return digest_of(np.ascontiguousarray(self.logits).tobytes())

    def of(self, copy: int) -> Logits:
        """Raises BadInput for a copy other than 0."""
        if copy:
            raise BadInput(
                f"distil: the teacher's answers are of the images as they are, not of copy {copy}",
                hint="leave out augment, or cache answers for each copy",
            )
        return self.logits


def train_teacher(
    dataset: Dataset,
    spec: Mapping[str, Any],
    *,
    epochs: int,
    seed: int,
    name: str = "teacher",
    schedule: Schedule = PLAIN,
    threads: int = 1,
    checkpoints: Checkpoints | None = None,
    progress: Progress = ignore,
    clock: Callable[[], float] = time.perf_counter,
) -> Trained:
    """Trains on the labels alone. The same arguments, threads among them, give the same weights on one machine.

    Raises:
        BadInput: the spec is wrong. TrainingDiverged: see Trainer.teach.
    """
    trainer = Trainer(dataset, threads=threads, checkpoints=checkpoints, progress=progress, clock=clock)
    return taught(trainer, spec, name=name, epochs=epochs, schedule=schedule, seed=seed)


def distil(
    dataset: Dataset,
    answers: TeacherLogits | Logits,
    spec: Mapping[str, Any],
    *,
    epochs: int,
    seed: int,
    name: str = "student",
    alpha: float = 0.1,
    beta: float = 0.9,
    temperature: float = 4.0,
    schedule: Schedule = PLAIN,
    threads: int = 1,
    checkpoints: Checkpoints | None = None,
    progress: Progress = ignore,
    clock: Callable[[], float] = time.perf_counter,
) -> Trained:
    """Trains a student on alpha * cross-entropy with the labels + beta * T^2 * KL(teacher || student) at temperature T.

    Args:
        answers: of the teacher on `dataset.train_x`; as an array, (n, classes), as `logits_of` gives it.

    Raises:
        BadInput: the answers do not belong to this data set, or a weight is wrong. TrainingDiverged: see Trainer.teach.
    """
    given = OneCopy(answers) if isinstance(answers, np.ndarray) else answers
    trainer = Trainer(
        dataset, given, alpha, beta, temperature, threads=threads, checkpoints=checkpoints, progress=progress, clock=clock
    )
    return taught(trainer, spec, name=name, epochs=epochs, schedule=schedule, seed=seed)


def taught(trainer: Trainer, spec: Mapping[str, Any], *, name: str, epochs: int, schedule: Schedule, seed: int) -> Trained:
    """A new, trained network of this architecture. Raises what littoral.architectures.build and Trainer.teach raise."""
    with seeded(seed):
        module = build(spec, **sizes_of(spec, trainer.dataset.shape), classes=trainer.dataset.classes)
    seconds = trainer.teach(module, name=name, epochs=epochs, schedule=schedule, seed=seed)
    return Trained.of(name, module, spec, trainer.input or input_of(trainer.dataset), seconds)


def logits_of(module: nn.Module, given: Input, x: Inputs, *, threads: int = 1) -> Logits:
    """(n, classes) float32, of raw inputs."""
    module = module.eval()
    with computing(threads), torch.inference_mode():
        parts = [module(tensor_of(given, x[i : i + EVALUATION_BATCH])).numpy() for i in range(0, len(x), EVALUATION_BATCH)]
    return np.concatenate(parts).astype(np.float32)


def accuracy_of(logits: npt.NDArray[Any], y: Labels) -> float:
    """A fraction."""
    return float((logits.argmax(axis=1) == y).mean())
