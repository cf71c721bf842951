"""The same pixels on every machine: against a slow sum of fractions, against pillow, and against digests kept here."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from littoral.digest import digest_of
from littoral.errors import BadInput
from littoral.preparation import Input, Resize
from littoral.resize import METHODS, resized


def noise(height: int, width: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (1, channels, height, width), dtype=np.uint8)


def area_by_fractions(row: list[int], after: int) -> list[int]:
    """Means of what lies under each new pixel, exact."""
    step = Fraction(len(row), after)
    means = []
    for place in range(after):
        start, end = place * step, (place + 1) * step
        parts = [
            (min(end, i + 1) - max(start, i)) * row[i] for i in range(floor(start), min(len(row), floor(end) + 1)) if i < end
        ]
        means.append(sum(parts, Fraction(0)) / step)
    return [floor(mean + Fraction(1, 2)) for mean in means]


@given(st.lists(st.integers(0, 255), min_size=1, max_size=40), st.integers(1, 40))
def test_area_is_the_mean_of_what_lies_under_a_pixel(row: list[int], after: int) -> None:
    found = resized(np.array(row, np.uint8)[None, None, None], (1, 1, after), "area", "stretch")[0, 0, 0]
    assert np.abs(found.astype(int) - area_by_fractions(row, after)).max() <= 1


@pytest.mark.parametrize(
    ("method", "theirs", "size"),
    [
        ("area", Image.Resampling.BOX, (7, 14)),  # by whole numbers: else pillow's box takes a pixel or leaves it
        ("area", Image.Resampling.BOX, (4, 2)),
        ("bilinear", Image.Resampling.BILINEAR, (28, 41)),  # enlarging: to shrink, pillow's filter grows wider
        ("bilinear", Image.Resampling.BILINEAR, (61, 33)),
    ],
)
def test_pixels_are_those_of_pillow(method: str, theirs: Image.Resampling, size: tuple[int, int]) -> None:
    raw = noise(28, 28)
    wanted = np.asarray(Image.fromarray(raw[0, 0]).resize((size[1], size[0]), theirs), int)
    found = resized(raw, (1, *size), method, "stretch")[0, 0].astype(int)
    assert np.abs(found - wanted).max() <= 1


sides = st.integers(1, 30)


@given(sides, sides, sides, sides, st.sampled_from(METHODS), st.integers(1, 255))
def test_what_is_of_one_brightness_stays_so(h: int, w: int, to_h: int, to_w: int, method: str, value: int) -> None:
    flat = np.full((2, 3, h, w), value, np.uint8)
    assert (resized(flat, (3, to_h, to_w), method, "stretch") == value).all()
    padded = resized(flat, (3, to_h, to_w), method, "pad")
    assert set(np.unique(padded)) <= {0, value}
    lit = padded[0, 0] == value
    assert lit.any(axis=1).all() or lit.any(axis=0).all(), "one side is filled"


def test_the_bits_are_what_they_were() -> None:
    """A change of these would make nodes see other pixels than their models learnt from."""
    made = b"".join(
        resized(noise(61, 83, channels), (wanted, 28, 31), method, fit).tobytes()
        for channels in (1, 3)
        for wanted in (1, 3)
        for method in METHODS
        for fit in ("pad", "stretch")
    )
    assert digest_of(made) == "sha256:f4243a7146cba678cb88bb05d6678904dd1d691458c1a55296256465b1b3ed5c"


def test_an_input_sizes_what_a_client_sends_and_leaves_what_fits() -> None:
    given = Input("x", (1, 4, 4), 1 / 255, (0.0,), (1.0,), Resize("area", "stretch"))
    small = noise(4, 4)
    assert given.sized(small) is small
    assert given.sized(noise(9, 13, 3)).shape == (1, 1, 4, 4)
    with pytest.raises(BadInput, match=r"uint8 \(1, 2, 9, 9\) cannot be resized"):
        given.sized(noise(9, 9, 2))
    with pytest.raises(BadInput, match="cannot be resized"):
        given.sized(np.zeros((1, 1, 9, 9), np.float32))
