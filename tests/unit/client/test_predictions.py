"""Words of what a model gave."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.tensor_spec import TensorSpec
from littoral_node.client.model_info import ModelInfo
from littoral_node.client.predictions import confidences, predictions_of

ABOUT = ModelInfo(
    "m", "v", "classification", ("cat", "dog", "fox"), "logits", (2,), None, (TensorSpec("x", "FP32", (-1, 2)),), True
)


def test_the_likeliest_classes_by_name_the_likeliest_first() -> None:
    logits = np.log(np.array([[0.1, 0.7, 0.2], [0.5, 0.25, 0.25]]))
    first, second = predictions_of(ABOUT, {"logits": logits, "label": np.array([1, 0])}, 2, 2)
    assert str(first) == "dog 70.0%, fox 20.0%"
    assert second.as_dict()["label"] == "cat"
    assert second.as_dict()["top"][1] == {"label": "dog", "confidence": 0.25}  # of equals the first


def test_what_names_no_classes_gives_its_values() -> None:
    about = replace(ABOUT, task="regression", labels=(), output="y")
    (answer,) = predictions_of(about, {"y": np.array([[2.5]]), "note": np.array(7)}, 1, 3)
    assert (str(answer), answer.as_dict()) == ("y 2.5; note 7", {"values": {"y": [2.5], "note": 7}})


@given(st.lists(st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=3), min_size=1, max_size=4))
def test_confidences_are_in_the_order_of_the_scores_and_sum_to_one(scores: list[list[float]]) -> None:
    given_scores = np.array(scores)
    found = confidences(given_scores)
    assert found.sum(axis=1) == pytest.approx(1, abs=2e-3)
    for row, score in zip(found, given_scores, strict=True):
        assert row[score.argmax()] == row.max()


def test_probabilities_stay_as_they_are() -> None:
    already = np.array([[0.2, 0.3, 0.5]], np.float32)
    assert confidences(already) == pytest.approx(already)
