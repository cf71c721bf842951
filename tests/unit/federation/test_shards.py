from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from littoral_cloud.data.shards import dirichlet_shards, rotate


@given(st.integers(1, 300), st.integers(1, 7), st.sampled_from([0.05, 1.0, 100.0]), st.integers(0, 99))
def test_every_example_is_in_exactly_one_shard_and_shards_are_of_one_size(n: int, nodes: int, alpha: float, seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, 5, n)
    shards = dirichlet_shards(labels, nodes, alpha, np.random.default_rng(seed))
    assert sorted(np.concatenate(shards).tolist()) == list(range(n))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_a_small_alpha_gives_shards_that_are_less_alike() -> None:
    labels = np.repeat(np.arange(10), 600)

    def largest_share(alpha: float) -> float:
        shards = dirichlet_shards(labels, 4, alpha, np.random.default_rng(1))
        return float(np.mean([np.bincount(labels[s], minlength=10).max() / len(s) for s in shards]))

    assert largest_share(0.1) > largest_share(1.0) > largest_share(100.0)


def test_a_quarter_turn_is_exact_and_counter_clockwise() -> None:
    image = np.arange(25, dtype=np.uint8).reshape(1, 5, 5) * 10
    np.testing.assert_array_equal(rotate(image, 90)[0], np.rot90(image[0]))
    np.testing.assert_array_equal(rotate(image, 0), image)
    np.testing.assert_array_equal(rotate(image, 360), image)


def test_what_turns_in_from_outside_is_black_and_the_middle_stays() -> None:
    turned = rotate(np.full((2, 1, 9, 9), 200, np.uint8), 45)
    assert turned.shape == (2, 1, 9, 9)
    assert turned[0, 0, 4, 4] == 200
    assert turned[0, 0, 0, 0] == 0
