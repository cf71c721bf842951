"""Many draws: littoral_cloud.simulate.draws, and what a node finds in its probation: littoral_cloud.simulate.trials."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from littoral_cloud.simulate.draws import ObservedRate, summed_up
from littoral_cloud.simulate.population import NodeTraits
from littoral_cloud.simulate.scenario import NodeGroup, PlannedRollout, Scenario, SimulatedArtifact
from littoral_cloud.simulate.trials import compared, discordant
from littoral_cloud.simulate.world import World

BEFORE = SimulatedArtifact(name="before", bytes=1_000, accuracy=0.9, serving=True)
AFTER = SimulatedArtifact(name="after", bytes=1_000, accuracy=0.9, field_accuracy=0.85)


def test_the_interval_of_a_rate_is_wilsons() -> None:
    rate = ObservedRate.observed([True] * 2 + [False] * 198)
    assert (rate.count, rate.of) == (2, 200)
    assert (round(rate.low, 4), round(rate.high, 4)) == (0.0027, 0.0357)
    assert ObservedRate.observed([False] * 200).low == 0.0
    assert round(ObservedRate.observed([False] * 200).high, 4) == 0.0188


@pytest.mark.parametrize("disagreement", [None, 0.0, 0.1, 1.0])
def test_the_drawn_disagreement_keeps_both_accuracies(disagreement: float | None) -> None:
    worse, better = discordant(0.9, 0.85, disagreement)
    assert worse - better == pytest.approx(0.05)
    assert min(worse, better) >= 0.0
    assert worse <= 0.9


def test_on_the_same_examples_two_models_differ_as_their_accuracies_do() -> None:
    group = NodeGroup(name="g", nodes=1, labelled=100_000)
    traits = NodeTraits("a", "a", group, 0.0, 0.0, 1.0, 1.0, 0.0, None)
    found = compared(AFTER, BEFORE, traits, np.random.default_rng(1))
    assert found is not None
    assert found.previous_accuracy is not None
    assert found.accuracy == pytest.approx(0.85, abs=0.01)
    assert found.previous_accuracy - found.accuracy == pytest.approx(0.05, abs=0.005)


def test_draws_are_summed_up_by_quantiles_and_rates() -> None:
    scenario = Scenario(
        group=(NodeGroup(name="g", nodes=5),),
        artifact=(BEFORE, replace(AFTER, field_accuracy=None)),
        rollout=(PlannedRollout(at_s=60.0, artifacts=("after",)),),
    )
    draws = summed_up([World(scenario, seed).run() for seed in range(1, 5)])
    (rollout,) = draws.rollouts
    assert (draws.draws, draws.seeds, rollout.stopped.count, rollout.false_stops.of) == (4, (1, 4), 0, 4)
    values = [value for value in rollout.lasted_s.values() if value is not None]
    assert values == sorted(values)
    assert len(values) == 4
