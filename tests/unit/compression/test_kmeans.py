from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from littoral_cloud.compression.kmeans import Quantiser, binary, k_means, prices, uniform

NUMBERS = st.lists(st.floats(-8, 8, width=32), min_size=2, max_size=60)
FEW = st.lists(st.floats(-4, 4, width=16), min_size=1, max_size=12)


@given(FEW, NUMBERS, st.integers(0, 5))
def test_each_value_goes_where_error_and_price_together_are_least(values: list[float], xs: list[float], seed: int) -> None:
    levels, x = Quantiser(np.array(values)), np.array(xs)
    price = np.random.default_rng(seed).uniform(0, 3, len(values)) if seed else np.zeros(len(values))
    index = levels.assign(x, price if seed else None)
    costs = np.square(x[:, None] - levels.values[None]) + price[None]
    assert np.allclose(costs[np.arange(len(x)), index], costs.min(axis=1), atol=1e-9)


@given(FEW, NUMBERS, st.integers(0, 5))
def test_a_guess_changes_nothing_but_the_time(values: list[float], xs: list[float], seed: int) -> None:
    levels, x, chance = Quantiser(np.array(values)), np.array([*xs, *values]), np.random.default_rng(seed)
    price = chance.uniform(0, 3, len(values)) if seed else None
    guess = chance.integers(0, len(values), len(x))
    assert levels.assign(x, price, guess).tolist() == levels.assign(x, price).tolist()


@settings(max_examples=50)
@given(NUMBERS, st.integers(1, 16))
def test_k_means_ends_with_every_level_the_mean_of_its_members(xs: list[float], count: int) -> None:
    x = np.array(xs)
    levels = k_means(x, count)
    index = levels.assign(x)
    for place in np.unique(index):
        assert levels.values[place] == pytest.approx(x[index == place].mean(), abs=1e-9)


def test_levels_begin_evenly_from_the_least_to_the_largest_so_the_large_ones_stay() -> None:
    x = np.concatenate([np.random.default_rng(0).normal(0, 0.1, 10_000), [3.0, 3.1]])
    assert k_means(x, 16).values.max() == pytest.approx(3.05)


def test_few_distinct_values_are_found_exactly() -> None:
    x = np.random.default_rng(1).choice([-2.0, -0.5, 0.25, 1.0], 400)
    assert k_means(x, 4).values.tolist() == [-2.0, -0.5, 0.25, 1.0]


def test_a_price_empties_levels_and_fills_zero() -> None:
    x = np.random.default_rng(2).normal(size=4_000)
    levels = k_means(x, 16, zero=True)
    assert levels.zero is not None
    assert levels.values[levels.zero] == 0
    plain = levels.assign(x)
    dear = levels.assign(x, 0.1 * prices(plain, levels, zeros=40_000))
    assert len(np.unique(dear)) < len(np.unique(plain))
    assert (dear == levels.zero).sum() > 2 * (plain == levels.zero).sum()


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6])
def test_uniform_steps_are_codes_times_one_step_and_exact_in_float16(bits: int) -> None:
    x = np.random.default_rng(3).normal(0, 0.3, 2_000)
    levels = uniform(x, bits)
    shown = levels.rounded(11)
    most = 2 ** (bits - 1) - 1
    assert len(shown) == 2 * most + 1
    step = float(shown[-1]) / most
    assert shown.tolist() == [code * step for code in range(-most, most + 1)]
    assert shown.astype(np.float16).astype(np.float32).tolist() == shown.tolist()
    error = np.abs(x - levels.values[levels.assign(x)])
    assert np.sqrt(np.square(error).mean()) < {2: 0.6, 3: 0.3, 4: 0.16, 5: 0.09, 6: 0.05}[bits] * x.std()


@pytest.mark.parametrize("digits", [2, 3, 4, 8, 11, 24])
def test_rounded_levels_have_so_many_significant_bits(digits: int) -> None:
    x = np.random.default_rng(5).normal(0, 0.3, 2_000)
    levels = k_means(x, 16)
    shown = levels.rounded(digits)
    fractions, _ = np.frexp(shown.astype(np.float64))
    assert (fractions * 2**digits == np.round(fractions * 2**digits)).all()
    assert (np.abs(shown - levels.values) <= np.abs(levels.values) * 2.0**-digits).all()
    half = shown.astype(np.float16).astype(np.float32)
    assert (half == shown).all() == (digits <= 11)


def test_rounded_levels_are_never_minus_zero() -> None:
    levels = Quantiser(np.array([-1e-12, 0.5]))
    assert not np.signbit(levels.rounded(11)).any()
    assert not np.signbit(Quantiser(np.array([-0.0])).rounded(24)).any()


@pytest.mark.parametrize("bits", [2, 4, 6])
def test_binary_steps_are_powers_of_two_that_reach_the_largest_value_and_stay(bits: int) -> None:
    x = np.random.default_rng(bits).normal(size=200) * 3
    levels = binary(x, bits)
    steps = np.diff(levels.values)
    assert np.log2(steps[0]) == round(np.log2(steps[0]))
    assert (steps == steps[0]).all()
    assert np.abs(x).max() <= levels.values[-1] * 2**0.1
    assert levels.moved(x, levels.assign(x)) is levels
    seen = levels.rounded(11).view(np.uint32) & 0xFFFF
    assert not seen.any(), "the two low bytes of a float32 are 0"
