"""The whole rollouts of bench.simulated, to a small fleet: a bad release is stopped in the first wave, a good one is not."""

from __future__ import annotations

import pytest

from bench.simulated import found, scenario_of
from littoral_cloud.simulate.world import World

NODES = 250


@pytest.mark.slow
def test_a_bad_release_is_stopped_early_and_a_good_one_is_not() -> None:
    bad = World(scenario_of("bad", NODES), 1).run()
    good = World(scenario_of("good", NODES), 1).run()
    assert bad.rollouts[0].exposed <= 10
    assert good.rollouts[0].state == "SUCCEEDED"
    _, figures = found("bad", [bad], 1.0)
    assert set(figures) == {"simulated_contained"}
    _, figures = found("good", [good], 1.0)
    assert figures["simulated_false_stops"].samples == (0.0,)
