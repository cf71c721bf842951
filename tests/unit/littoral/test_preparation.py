"""What a model is given of raw values, and which of them cannot overflow."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.preparation import Input, Preparation

SHAPE = (2, 3, 3)
LARGEST = float(np.finfo(np.float32).max)
scales = st.floats(1e-30, 1e30) | st.sampled_from([1.0, 1 / 255])
means = st.lists(st.floats(-(2.0**126), 2.0**126, width=32), min_size=2, max_size=2).map(tuple)
stds = st.lists(st.floats(0.0, 2.0**126, width=32), min_size=2, max_size=2).map(tuple)


@given(scales, means, stds)
def test_no_value_of_at_most_that_size_overflows(scale: float, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    prepare = Preparation(Input("x", SHAPE, scale, mean, std))
    most = np.float32(min(prepare.most, LARGEST))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for value in (most, -most) if prepare.most else ():
            assert np.isfinite(prepare(np.full((1, *SHAPE), value, np.float32))).all()


def test_what_images_and_tables_mostly_have() -> None:
    assert Preparation(Input("x", SHAPE, 1 / 255, (0.13,), (0.31,))).most > LARGEST
    assert Preparation(Input("x", (5,), 1.0, (1e6, 0.0, 1.0, 2.0, 3.0), (1e-3, 1.0, 1.0, 1.0, 1e9))).most > 2.0**64
    assert Preparation(Input("x", SHAPE, 1e30, (0.0,), (1.0,))).most < 1e9
    for scale, std in ((1.0, 0.0), (1e-30, 1e-46), (0.0, 1.0), (float("nan"), 1.0), (1.0, float("nan"))):
        assert Preparation(Input("x", SHAPE, scale, (0.0,), (std,))).most == 0.0


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.float32, np.float64])
def test_each_channel_has_its_own_mean_and_deviation(kind: type) -> None:
    raw = np.arange(2 * 18).reshape(2, *SHAPE).astype(kind)
    given_ = Input("x", SHAPE, 0.5, (1.0, 2.0), (4.0, 8.0))
    prepared = given_.prepare(raw)
    assert prepared.dtype == np.float32
    assert prepared.flags.c_contiguous
    for channel, (mean, std) in enumerate(zip(given_.mean, given_.std, strict=True)):
        np.testing.assert_allclose(prepared[:, channel], (raw[:, channel] * 0.5 - mean) / std, rtol=1e-6)
    np.testing.assert_array_equal(given_.prepare(np.asfortranarray(raw)), prepared)
