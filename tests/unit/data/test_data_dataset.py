from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from littoral.errors import BadData, BadInput
from littoral_cloud.data.dataset import assemble, split_every
from tests.kit.images import bars
from tests.kit.measured import table


def images(count: int, *shape: int) -> np.ndarray:
    return np.zeros((count, *(shape or (4, 4))), np.uint8)


def test_grey_images_get_a_channel_and_labels_get_names_in_order() -> None:
    data = assemble("d", images(4), np.array([7, 3, 7, 3]), images(2), np.array([3, 7]))
    assert data.shape == (1, 4, 4)
    assert data.labels == ("3", "7")
    assert data.train_y.tolist() == [1, 0, 1, 0]
    assert data.test_y.tolist() == [0, 1]


def test_text_labels_are_classes() -> None:
    data = assemble("d", images(2), np.array(["cat", "ant"]), images(2), np.array(["ant", "cat"]))
    assert data.labels == ("ant", "cat")
    assert data.train_y.tolist() == [1, 0]


@pytest.mark.parametrize("y", [[0.0, 1.0], [False, True], [[0], [1]], [b"0", b"1"], np.array([0, 1], np.uint8)])
def test_labels_are_taken_as_people_store_them(y: object) -> None:
    data = assemble("d", images(2), np.array(y), images(2), np.array(y))
    assert (data.labels, data.train_y.tolist()) == (("0", "1"), [0, 1])


def test_the_digest_names_the_content_not_the_name() -> None:
    one, other = bars(), replace(bars(), name="other")
    assert one.digest == other.digest
    changed = one.train_x.copy()
    changed[0, 0, 0, 0] ^= 1
    assert assemble("d", changed, one.train_y, one.test_x, one.test_y, labels=one.labels).digest != one.digest


@pytest.mark.parametrize(
    ("train", "labels", "test", "test_labels", "words"),
    [
        (images(3), [0, 1], images(2), [0, 1], "3 training images but 2 training labels"),
        (images(2), [0, 1], images(2), [0, 1, 1], "2 test images but 3 test labels"),
        (images(0), [], images(2), [0, 1], "training split is empty"),
        (images(2), [0, 1], images(0), [], "test split is empty"),
        (images(2), [1, 1], images(2), [1, 1], "one class only, '1'"),
        (images(2), [0, 1], images(2), [0, 0], "no example of '1' in the test split"),
        (images(2), [0, 0], images(2), [0, 1], "no example of '1' in the training split"),
        (images(2), [0, 1], images(2, 5, 4), [0, 1], "training images are 1x4x4, test images 1x5x4"),
        (images(2, 8, 8, 3), [0, 1], images(2, 8, 8, 3), [0, 1], "channels last"),
        (np.zeros(2), [0, 1], images(2), [0, 1], "training images: shape is"),
        (images(2, 1, 4, 4).astype(np.float32), [0, 1], images(2), [0, 1], "values are float32"),
        (images(2).astype(np.float32), [0, 1], images(2), [0, 1], "training series are 4x4, test images 1x4x4"),
        (np.array([["a"], ["b"]]), [0, 1], images(2), [0, 1], "values are <U1"),
        (np.zeros((2, 0)), [0, 1], np.zeros((2, 0)), [0, 1], r"shape is \(2, 0\)"),
        (np.array([[1, 2], [3, np.nan]]), [0, 1], np.zeros((2, 2)), [0, 1], "training inputs: row 1, column 1 is nan; 1 values"),
        (np.zeros((2, 2)), [0, 1], np.array([[1, np.inf], [1e300, 0]]), [0, 1], "test inputs: row 0, column 1 is inf; 2 values"),
        (np.zeros((2, 1, 3)), [0, 1], np.array([[[1, 2, -np.inf]]] * 2), [0, 1], "row 0, channel 0, step 2 is -inf"),
        (images(2).astype(np.int32) + 256, [0, 1], images(2), [0, 1], "values run from 256 to 256"),
        (images(2), [[0, 1], [1, 0]], images(2), [0, 1], r"training labels are one-hot rows of 2 classes, shape \(2, 2\)"),
        (images(2), [[0, 1], [1, 1]], images(2), [0, 1], "one row of whole numbers"),
        (images(2), [0.0, 0.5], images(2), [0, 1], "training labels are measured values: row 1 is 0.5"),
        (images(2), [0.0, np.nan], images(2), [0, 1], "training labels: row 1 is nan"),
        (images(2), [0, 1e300], images(2), [0, 1], "row 1 is 1e"),
        (images(60), list(range(60)), images(60), list(range(60)), "60 different values in 120 rows, from 0 to 59"),
        (images(2), ["a", "b"], images(2), [0, 1], "training labels are <U1, test labels"),
    ],
)
def test_what_does_not_fit_together_is_refused_by_name(
    train: np.ndarray, labels: list[object], test: np.ndarray, test_labels: list[object], words: str
) -> None:
    y = np.array(labels) if labels else np.zeros(0, np.int64)
    test_y = np.array(test_labels) if test_labels else np.zeros(0, np.int64)
    with pytest.raises(BadData, match=words) as refused:
        assemble("flowers", train, y, test, test_y)
    assert "flowers" in refused.value.message
    assert refused.value.hint


def test_labels_outside_the_names_are_refused() -> None:
    with pytest.raises(BadData, match="whole numbers from 0 to 1"):
        assemble("d", images(2), np.array([0, 2]), images(2), np.array([0, 1]), labels=("a", "b"))


def test_what_is_held_back_is_the_end_of_the_training_split() -> None:
    data = bars(300)
    kept, held = data.hold_back(30)
    assert len(kept.train_y) == 210
    assert len(held) == 30
    assert np.array_equal(np.concatenate([kept.train_x, held.x]), data.train_x)
    assert kept.digest != data.digest
    assert np.array_equal(kept.test_x, data.test_x)
    with pytest.raises(BadInput, match="240 of 240"):
        data.hold_back(240)
    same, nothing = data.hold_back(0)
    assert same is data
    assert len(nothing) == 0


def test_a_validation_split_is_taken_from_training_images_only() -> None:
    data = bars(300)
    chosen = data.for_validation(60)
    assert np.array_equal(chosen.test_x, data.train_x[-60:])
    assert len(chosen.train_y) == 180


def test_every_class_with_two_examples_is_in_both_splits() -> None:
    y = np.array([0] * 11 + [1] * 2 + [2] * 5)
    test = split_every(y)
    assert {int(label): int(test[y == label].sum()) for label in np.unique(y)} == {0: 2, 1: 1, 2: 1}
    assert test.tolist() == split_every(y).tolist()


def test_numbers_of_two_dimensions_are_a_table_and_floats_of_three_are_series() -> None:
    y = np.array([0, 1])
    for x, kind in ((np.zeros((2, 7), np.int64), "table"), (np.zeros((2, 7)), "table"), (np.zeros((2, 3, 9)), "series")):
        data = assemble("d", x, y, x, y)
        assert (data.kind, data.shape, data.train_x.dtype) == (kind, x.shape[1:], np.float32)
    assert assemble("d", images(2), y, images(2), y).kind == "images"


def test_the_digest_of_images_is_what_it_was_before_there_were_tables() -> None:
    """Checkpoints, answers and manifests name data by it."""
    assert bars().digest == "sha256:8aca3cd32e31c8b15c3de57279dd233380ac0dfee17a4b507273a6fd0a36b4d4"


def test_parts_of_a_table_are_tables() -> None:
    data = table()
    kept, held = data.hold_back(60)
    assert (kept.kind, kept.shape, held.x.dtype, len(held)) == ("table", (5,), np.float32, 60)
    assert kept.digest != data.digest
    assert data.first(30, 30).shape == (5,)


def test_more_class_names_than_labels_are_counted() -> None:
    with pytest.raises(BadData, match=r"d: 3 class names, 2 labels: no example of 'c' in the training split"):
        assemble("d", images(2), np.array([0, 1]), images(2), np.array([0, 1]), labels=("a", "b", "c"))
