"""Checks the answers of a foreign teacher before a student learns from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from littoral.errors import BadInput
from littoral_cloud.recipes.recipe import Gives
from littoral_cloud.training.schedule import Logits

_LEAST = 1e-12  # a probability of 0 has no logarithm


def checked(answered: npt.NDArray[Any], count: int, classes: int, gives: Gives, what: str) -> Logits:
    """The answers as logits, (count, classes) float32.

    Raises BadInput, naming shape or type as found: not numbers, another shape, not finite, or probabilities where logits were
    promised (the other way round too).
    """
    if answered.dtype.kind not in "fiu":
        raise BadInput(f"{what} gave {answered.dtype} values", hint="numbers are wanted, one for each class")
    if answered.shape != (count, classes):
        raise BadInput(
            f"{what} gave shape {answered.shape} for {count} images",
            hint=f"({count}, {classes}) is wanted: a logit for each class of the data set, in the order of its labels",
        )
    answers = answered.astype(np.float32)
    if not np.isfinite(answers).all():
        raise BadInput(f"{what} gave a value that is not finite")
    if gives == "probabilities":
        if not _like_probabilities(answers, 1e-2):  # half precision rounds
            raise BadInput(f"{what} gave rows that do not sum to 1", hint='leave out gives = "probabilities"')
        return np.log(np.maximum(answers, _LEAST)).astype(np.float32)
    if _like_probabilities(answers, 1e-3):
        raise BadInput(
            f"{what} gave probabilities: none negative, each row sums to 1",
            hint='take its values before the softmax, or set gives = "probabilities"',
        )
    return answers


def _like_probabilities(answers: Logits, slack: float) -> bool:
    return bool(answers.min() >= 0 and np.abs(answers.sum(axis=1) - 1).max() < slack)
