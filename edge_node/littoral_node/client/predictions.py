"""A model's outputs for people: class names with confidences, or values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from littoral.offload import softmax
from littoral_node.client.model_info import ModelInfo

Array = npt.NDArray[Any]
_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Prediction:
    """For one example.

    `top`: (label, confidence) of the likeliest classes, the likeliest first; empty where the model names no classes.
    `values`: the outputs by name, where `top` is empty.
    """

    top: tuple[tuple[str, float], ...] = ()
    values: tuple[tuple[str, Array], ...] = ()

    def __str__(self) -> str:
        if self.top:
            return ", ".join(f"{label} {confidence:.1%}" for label, confidence in self.top)
        return "; ".join(f"{name} {_shown(values)}" for name, values in self.values)

    def as_dict(self) -> dict[str, Any]:
        if self.top:
            label, confidence = self.top[0]
            return {
                "label": label,
                "confidence": round(confidence, 6),
                "top": [{"label": label, "confidence": round(confidence, 6)} for label, confidence in self.top],
            }
        return {"values": {name: values.tolist() for name, values in self.values}}


def predictions_of(info: ModelInfo, outputs: Mapping[str, Array], examples: int, top: int) -> list[Prediction]:
    """One prediction for each example.

    Args:
        outputs: every tensor by name, (examples, ...).
        top: how many classes each names.
    """
    scores = outputs.get(info.output)
    if info.task == "classification" and info.labels and scores is not None and scores.shape == (examples, len(info.labels)):
        return [_classes(info.labels, row, top) for row in confidences(scores)]
    rows = [(name, values) for name, values in outputs.items() if values.ndim and len(values) == examples]
    whole = [(name, values) for name, values in outputs.items() if not (values.ndim and len(values) == examples)]
    return [Prediction(values=tuple([(name, values[i]) for name, values in rows] + whole)) for i in range(examples)]


def confidences(scores: Array) -> npt.NDArray[np.float64]:
    """Rows that sum to 1: the softmax of logits; probabilities unchanged."""
    exact = np.asarray(scores, np.float64)
    if (exact >= 0).all() and np.abs(exact.sum(axis=1) - 1).max(initial=0.0) < 1e-3:
        return exact
    return softmax(exact)


def _classes(labels: tuple[str, ...], row: npt.NDArray[np.float64], top: int) -> Prediction:
    order = np.argsort(-row, kind="stable")[:top]
    return Prediction(top=tuple((labels[i], float(row[i])) for i in order))


def _shown(values: Array) -> str:
    flat = np.asarray(values).reshape(-1)
    words = " ".join(f"{value:.6g}" for value in flat[:_SHOWN].tolist())
    return words + (f" ... ({'x'.join(map(str, values.shape))})" if flat.size > _SHOWN else "")
