"""What students learn from: a network trained here or read from a file, an ONNX file, a user's function, or several of them.

G. Hinton, O. Vinyals, J. Dean: Distilling the Knowledge in a Neural Network, 2015, https://arxiv.org/abs/1503.02531: where the
teacher is an ensemble, its soft targets are the arithmetic or the geometric mean of the members' predictions. The geometric mean
of softmax(z_i / T) is, but for a factor that the next softmax takes out, softmax(mean z_i / T): the mean of the logits, at every
temperature. The arithmetic one is at one temperature: logits T * log(mean softmax(z_i / T)) give it back there.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from littoral.architectures import sizes_of
from littoral.digest import digest_of
from littoral.errors import BadInput
from littoral.preparation import Input
from littoral_cloud.data.dataset import Dataset, Inputs
from littoral_cloud.recipes.recipe import (
    AnyTeacherRecipe,
    EnsembleRecipe,
    FunctionRecipe,
    Gives,
    OnnxRecipe,
    TeacherRecipe,
    WeightsRecipe,
    trained_teachers,
)
from littoral_cloud.teachers.function_teacher import FunctionTeacher
from littoral_cloud.teachers.onnx_teacher import OnnxTeacher
from littoral_cloud.training.preparation import INPUT_NAME, SCALE, input_of
from littoral_cloud.training.schedule import Logits
from littoral_cloud.training.train import Trained, logits_of
from littoral_cloud.training.weights import load_weights, module_of


class Teacher(Protocol):
    """Answers raw images."""

    @property
    def name(self) -> str: ...

    @property
    def digest(self) -> str:
        """Of all that decides its answers; of a network as our own are prepared, the digest of its weights."""
        ...

    @property
    def parameters(self) -> int:
        """How many it has; 0 where that is not known."""
        ...

    @property
    def seconds(self) -> float:
        """That it was trained for here; 0 where it came from elsewhere."""
        ...

    def logits(self, x: Inputs) -> Logits:
        """(n, classes) float32 to raw images, (n, C, H, W) uint8.

        Raises BadInput or RuntimeFailure where it cannot, or answers something else.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class NetworkTeacher:
    """One of our own networks."""

    trained: Trained
    digest: str
    threads: int = 1

    @classmethod
    def of(cls, trained: Trained, threads: int = 1) -> NetworkTeacher:
        return cls(trained, trained.digest, threads)

    @property
    def name(self) -> str:
        return self.trained.name

    @property
    def parameters(self) -> int:
        return self.trained.parameters

    @property
    def seconds(self) -> float:
        return self.trained.seconds

    def logits(self, x: Inputs) -> Logits:
        return logits_of(self.trained.module, self.trained.input, x, threads=self.threads)


@dataclass(frozen=True, slots=True, eq=False)
class Ensemble:
    """Several teachers as one: a weighted mean of their logits, or of their probabilities at one temperature."""

    members: tuple[Teacher, ...]
    weights: tuple[float, ...]  # each over 0; only their proportions count
    combine: Gives = "logits"
    temperature: float = 4.0

    @property
    def name(self) -> str:
        return f"ensemble of {len(self.members)}"

    @property
    def digest(self) -> str:
        heat = self.temperature if self.combine == "probabilities" else None
        body = [[m.digest for m in self.members], list(self.weights), self.combine, heat]
        return digest_of(json.dumps(body).encode())

    @property
    def parameters(self) -> int:
        return sum(member.parameters for member in self.members)

    @property
    def seconds(self) -> float:
        return sum(member.seconds for member in self.members)

    def logits(self, x: Inputs) -> Logits:
        shares = np.array(self.weights, np.float64) / sum(self.weights)
        if self.combine == "logits":
            mean = sum(share * m.logits(x).astype(np.float64) for share, m in zip(shares, self.members, strict=True))
            return np.asarray(mean).astype(np.float32)
        voices = [
            np.log(share) + _log_softmax(m.logits(x).astype(np.float64) / self.temperature)
            for share, m in zip(shares, self.members, strict=True)
        ]
        logits: Logits = (self.temperature * np.logaddexp.reduce(voices, axis=0)).astype(np.float32)
        return logits


Train = Callable[[str, TeacherRecipe], Trained]
"""Trains a teacher, under a name."""


def ready_teacher(plan: AnyTeacherRecipe, dataset: Dataset, train: Train) -> Teacher:
    """The teacher that a recipe describes: those from elsewhere are loaded and tried on a few images, then the others trained.

    Raises:
        NotFound, BadInput, RuntimeFailure: a file or function is not there, or does not fit this data set; the message names
        what was found. What `train` raises.
    """
    loaded = loaded_teachers(plan, dataset)
    trained = {name: NetworkTeacher.of(train(name, recipe), recipe.threads) for name, recipe in trained_teachers(plan)}
    ours = iter(trained.values())
    members = tuple(next(ours) if teacher is None else teacher for teacher in loaded)
    if isinstance(plan, EnsembleRecipe):
        return Ensemble(members, tuple(m.weight for m in plan.members), plan.combine, plan.temperature)
    return members[0]


def loaded_teachers(plan: AnyTeacherRecipe, dataset: Dataset) -> list[Teacher | None]:
    """Of each voice in turn the teacher that was made elsewhere, tried on a few images; None: it is trained here.

    Raises what ready_teacher raises of them.
    """
    voices = [member.teacher for member in plan.members] if isinstance(plan, EnsembleRecipe) else [plan]
    return [None if isinstance(voice, TeacherRecipe) else foreign_teacher(voice, dataset) for voice in voices]


def foreign_teacher(recipe: OnnxRecipe | WeightsRecipe | FunctionRecipe, dataset: Dataset) -> Teacher:
    """One that was not trained here. Raises what ready_teacher raises."""
    if isinstance(recipe, FunctionRecipe):
        return FunctionTeacher.load(recipe, dataset)
    given = prepared_as(recipe, dataset)
    if isinstance(recipe, OnnxRecipe):
        return OnnxTeacher.load(recipe, dataset, given)
    arrays, spec = load_weights(Path(recipe.weights))
    module = module_of(spec, arrays, **sizes_of(spec, dataset.shape), classes=dataset.classes)
    network = Trained.of(Path(recipe.weights).stem, module, spec, given, 0.0)
    digest = network.digest
    if given != input_of(dataset):  # the same weights with other inputs are another teacher
        digest = digest_of(json.dumps([digest, recipe.resolved()], sort_keys=True).encode())
    return NetworkTeacher(network, digest, recipe.threads)


def prepared_as(recipe: OnnxRecipe | WeightsRecipe, dataset: Dataset) -> Input:
    """How a foreign network wants its pixels. Raises BadInput where its mean is not one value or one a channel."""
    if dataset.kind != "images" and (recipe.mean or recipe.prepare == "unit"):
        raise BadInput(
            f"teacher.{'mean' if recipe.mean else 'prepare'}: speaks of pixels over 255, {dataset.name} holds {dataset.kind}",
            hint='prepare = "standard" as our own networks have it, or "raw"',
        )
    if recipe.mean:
        if len(recipe.mean) not in (1, dataset.shape[0]):
            raise BadInput(
                f"teacher.mean: holds {len(recipe.mean)} values, the images have {dataset.shape[0]} channels",
                hint="one value, or one a channel",
            )
        return Input(INPUT_NAME, dataset.shape, SCALE, recipe.mean, recipe.std)
    if recipe.prepare == "standard":
        return input_of(dataset)
    return Input(INPUT_NAME, dataset.shape, SCALE if recipe.prepare == "unit" else 1.0, (0.0,), (1.0,))


def _log_softmax(z: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    shifted = z - z.max(axis=1, keepdims=True)
    found: npt.NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return found
