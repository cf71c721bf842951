"""A user's own teacher: a function `package.module:function`, called with raw images.

It gets (n, C, H, W) uint8 as a numpy array, n from 1 to a thousand, and gives (n, classes) numbers, a numpy array or a torch
tensor, in the order of the data set's labels. It is called without gradients. It must give one image the same answer
at every call and in every batch: a network left in training mode does not, and is refused.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from littoral.digest import digest_of
from littoral.errors import BadInput, FleetError
from littoral_cloud.data.dataset import Dataset, Images
from littoral_cloud.recipes.own_function import imported
from littoral_cloud.recipes.recipe import FunctionRecipe, Gives
from littoral_cloud.teachers.checks import checked
from littoral_cloud.training.schedule import Logits
from littoral_cloud.training.seeding import computing

SAMPLE = 64
_SAME = 1e-3  # of the largest logit: what another batch may change by rounding, also where a GPU or half precision computes


@dataclass(frozen=True, slots=True, eq=False)
class FunctionTeacher:
    name: str
    digest: str  # of its module's source and its answers to a few training images: what it loads by itself cannot be seen
    classes: int
    call: Callable[[Images], Any]
    gives: Gives = "logits"
    threads: int = 1
    parameters: int = 0
    seconds: float = 0.0

    @classmethod
    def load(cls, recipe: FunctionRecipe, dataset: Dataset) -> FunctionTeacher:
        """Imports it and tries it on a few training images.

        Raises:
            NotFound: no such module or function. BadInput: it cannot be called, raises, or gives something else; says what.
        """
        function = imported(recipe.function)
        teacher = cls(recipe.function, "", dataset.classes, function, recipe.gives, recipe.threads)
        sample = dataset.train_x[np.linspace(0, len(dataset.train_x) - 1, min(SAMPLE, len(dataset.train_x))).astype(np.int64)]
        answers = teacher.logits(sample)
        fewer = teacher.logits(sample[: max(1, len(sample) // 3)])
        gap = float(np.abs(answers[: len(fewer)] - fewer).max())
        if gap > _SAME * max(1.0, float(np.abs(answers).max())):
            raise BadInput(
                f"teacher.function: {recipe.function} answers to an image differently when it is asked again in another batch "
                f"(by {gap:.3g})",
                hint="put the network in evaluation mode: module.eval()",
            )
        body = json.dumps([recipe.function, recipe.gives, _source_of(function)]).encode()
        return replace(teacher, digest=digest_of(body + answers.tobytes()))

    def logits(self, x: Images) -> Logits:
        try:
            with computing(self.threads), torch.no_grad():
                answered = self.call(x.copy())
        except FleetError:
            raise
        except (Exception, SystemExit) as error:  # a function that ends the process would end it as if all were made
            raise BadInput(
                f"teacher.function: {self.name} raised {type(error).__name__}: {error}",
                hint=f"it is called with raw images, uint8 of shape {x.shape}",
            ) from error
        return checked(_array(answered, self.name), len(x), self.classes, self.gives, f"teacher.function: {self.name}")


def _array(answered: Any, name: str) -> npt.NDArray[Any]:
    if isinstance(answered, torch.nn.Module):
        raise BadInput(
            f"teacher.function: {name} gave a network ({type(answered).__name__}), not answers",
            hint="it is called with images and must give their logits: return network(prepared(images))",
        )
    if isinstance(answered, torch.Tensor):
        return np.asarray(answered.detach().float().cpu().numpy())
    return np.asarray(answered)


def _source_of(function: Callable[..., Any]) -> str:
    try:
        return inspect.getsource(inspect.getmodule(function) or function)
    except (OSError, TypeError):  # made at run time, or compiled: its answers tell it apart
        return ""
