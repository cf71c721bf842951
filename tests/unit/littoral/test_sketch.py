"""The drift sketch: counts that add up, and a score that chance does not raise."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from littoral.errors import BadInput
from littoral.manifest import SketchSpec
from littoral.sketch import MIN_EXAMPLES, Sketch, fit, shift, sketch_id

RNG = np.random.default_rng(5)
SPEC = fit(RNG.integers(0, 256, (500, 1, 6, 6), dtype=np.uint8), seed=3)
MNIST = Path(__file__).parents[3] / "data" / "mnist" / "t10k-images-idx3-ubyte.gz"

batches = hnp.arrays(np.uint8, st.tuples(st.integers(0, 30), st.just(1), st.just(6), st.just(6)))
counts = hnp.arrays(np.uint32, (4, 5), elements=st.integers(0, 1_000))


def counted(spec: SketchSpec, raw: npt.NDArray[np.generic]) -> npt.NDArray[np.uint32]:
    sketch = Sketch(spec)
    sketch.add(raw)
    return sketch.counts


@given(batches)
def test_every_input_is_counted_once_in_every_feature(raw: npt.NDArray[np.uint8]) -> None:
    sketch = Sketch(SPEC)
    sketch.add(raw)
    assert sketch.examples == len(raw)
    assert (sketch.counts.sum(axis=1) == len(raw)).all()
    assert sketch.counts.dtype == np.uint32
    assert sketch.counts.shape == (16, 10)


@given(batches, batches)
def test_windows_add_up_however_they_were_cut(left: npt.NDArray[np.uint8], right: npt.NDArray[np.uint8]) -> None:
    whole = Sketch(SPEC)
    for one in np.concatenate([left, right]):
        whole.add(one[None])
    assert (counted(SPEC, left) + counted(SPEC, right) == whole.counts).all()


@given(batches)
def test_the_type_of_the_pixels_changes_nothing(raw: npt.NDArray[np.uint8]) -> None:
    for dtype in (np.float32, np.float64, np.int32):
        assert (counted(SPEC, raw.astype(dtype)) == counted(SPEC, raw)).all()


def test_what_was_fitted_fills_the_bins_evenly() -> None:
    raw = RNG.integers(0, 256, (1_000, 3, 8, 8), dtype=np.uint8)
    spec = fit(raw, seed=1, features=5, bins=4)
    assert np.abs(counted(spec, raw).astype(int) - 250).max() <= 5


def test_two_machines_count_alike() -> None:
    """The signs come from SHAKE-256, not from numpy's generators: these counts may never change."""
    ramp = (np.arange(36, dtype=np.int64) * np.arange(20)[:, None] % 256).astype(np.uint8).reshape(20, 1, 6, 6)
    edges = ((83.0, 108.5, 114.25), (49.25, 71.5, 74.5), (-1023.0, -616.0, -294.5), (-246.0, -132.0, -18.0))
    spec = SketchSpec(7, edges)
    assert counted(spec, ramp[5:12]).tolist() == [[0, 5, 1, 1], [0, 3, 2, 2], [1, 2, 4, 0], [1, 3, 1, 2]]
    assert sketch_id(spec, 36) == "e9a298a83f01ba4c9f0adb8117e4b22a"


def test_the_id_names_seed_edges_and_size() -> None:
    other_edges = SketchSpec(SPEC.seed, (tuple(edge + 1 for edge in SPEC.edges[0]), *SPEC.edges[1:]))
    ids = {
        sketch_id(SPEC, 36),
        sketch_id(SPEC, 49),
        sketch_id(SketchSpec(SPEC.seed + 1, SPEC.edges), 36),
        sketch_id(other_edges, 36),
    }
    assert len(ids) == 4
    assert Sketch(SPEC, 36).sketch_id == sketch_id(SPEC, 36)


def test_take_gives_the_window_and_begins_the_next() -> None:
    sketch = Sketch(SPEC, 36)
    sketch.add(np.zeros((3, 36), np.uint8))
    taken = sketch.take()
    assert (taken.sketch_id, taken.examples, int(taken.counts.sum())) == (sketch_id(SPEC, 36), 3, 48)
    assert (sketch.examples, int(sketch.counts.sum())) == (0, 0)
    sketch.add(np.zeros((1, 36), np.uint8))
    assert int(taken.counts.sum()) == 48


def test_an_input_of_another_size_is_refused() -> None:
    sketch = Sketch(SPEC)
    sketch.add(np.zeros((1, 36), np.uint8))
    with pytest.raises(BadInput, match="49 values"):
        sketch.add(np.zeros((1, 49), np.uint8))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300, 3e38])
def test_what_is_not_finite_is_counted_without_a_warning(value: float) -> None:
    sketch = Sketch(SPEC)
    sketch.add(np.full((2, 36), value, np.float64))
    assert (sketch.counts.sum(axis=1) == 2).all()


def test_what_cannot_be_fitted_is_refused() -> None:
    with pytest.raises(BadInput, match="cannot fill"):
        fit(np.zeros((5, 4), np.uint8), seed=1)
    with pytest.raises(BadInput, match="not finite"):
        fit(np.full((20, 4), np.inf), seed=1)
    with pytest.raises(BadInput, match="features"):
        fit(np.zeros((20, 4), np.uint8), seed=1, features=2)


@given(counts, counts)
def test_the_score_is_a_number_and_has_no_direction(left: npt.NDArray[np.uint32], right: npt.NDArray[np.uint32]) -> None:
    totals = left.sum(axis=1, keepdims=True), right.sum(axis=1, keepdims=True)
    left, right = left + (totals[0].max() - totals[0]).astype(np.uint32), right + (totals[1].max() - totals[1]).astype(np.uint32)
    assert np.isfinite(shift(left, right))
    assert shift(left, right) == pytest.approx(shift(right, left))


@given(hnp.arrays(np.uint32, (4, 5), elements=st.integers(20, 1_000)))
def test_what_did_not_move_scores_nothing(same: npt.NDArray[np.uint32]) -> None:
    assert shift(same, same) <= 0


def test_few_examples_score_nothing() -> None:
    left, right = np.zeros((2, 2), np.uint32), np.zeros((2, 2), np.uint32)
    left[:, 0], right[:, 1] = MIN_EXAMPLES - 1, 1_000
    assert shift(left, right) == 0


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), labels=st.integers(1, 10))
def test_digits_that_turned_are_told_from_digits_that_did_not(
    digits: npt.NDArray[np.uint8], digit_spec: SketchSpec, seed: int, labels: int
) -> None:
    """Real digits; the shard is a stretch of the test images. A quarter turn is the drift here."""
    rng = np.random.default_rng(seed)
    shard = digits[rng.choice(len(digits), 200 * labels, replace=False)]
    baseline = counted(digit_spec, shard[rng.integers(0, len(shard), 300)])
    window = shard[rng.integers(0, len(shard), 200)]
    assert shift(baseline, counted(digit_spec, window)) < 0.16
    assert shift(baseline, counted(digit_spec, np.rot90(window, axes=(1, 2)))) > 0.2


@pytest.fixture(scope="module")
def digits() -> npt.NDArray[np.uint8]:
    return np.frombuffer(gzip.decompress(MNIST.read_bytes()), np.uint8, offset=16).reshape(-1, 28, 28)


@pytest.fixture(scope="module")
def digit_spec(digits: npt.NDArray[np.uint8]) -> SketchSpec:
    return fit(digits[:2_000], seed=1)
