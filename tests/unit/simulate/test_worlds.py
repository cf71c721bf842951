"""Whole simulations: littoral_cloud.simulate.world, with the real controller and the agent's own decisions."""

from __future__ import annotations

import random
from dataclasses import replace

from littoral_cloud.rollouts.state import RolloutPolicy
from littoral_cloud.simulate.outcome import FleetOutcome
from littoral_cloud.simulate.population import population
from littoral_cloud.simulate.scenario import (
    NodeGroup,
    PlannedRollout,
    Restart,
    Scenario,
    SimulatedArtifact,
)
from littoral_cloud.simulate.world import World

BEFORE = SimulatedArtifact(name="before", bytes=100_000, accuracy=0.95, serving=True)
GOOD = SimulatedArtifact(name="good", bytes=80_000, accuracy=0.96)
BAD = SimulatedArtifact(name="bad", bytes=80_000, accuracy=0.96, failure_rate=0.05, bad=True)
CAMERAS = NodeGroup(name="camera", nodes=40, requests_per_s=1.0)
PLAIN = Scenario(group=(CAMERAS,), artifact=(BEFORE, GOOD), rollout=(PlannedRollout(at_s=600.0, artifacts=("good",)),))


def simulated(scenario: Scenario, seed: int = 1) -> FleetOutcome:
    return World(scenario, seed).run()


def of(artifact: SimulatedArtifact, **fields: object) -> Scenario:
    found = replace(PLAIN, artifact=(BEFORE, artifact), rollout=(PlannedRollout(at_s=600.0, artifacts=(artifact.name,)),))
    return replace(found, **fields)  # type: ignore[arg-type]


def test_a_good_release_reaches_every_node_in_waves() -> None:
    outcome = simulated(PLAIN)
    (rollout,) = outcome.rollouts
    assert (rollout.state, rollout.reached, rollout.exposed) == ("SUCCEEDED", 40, 0)
    assert [each.nodes for each in rollout.waves] == [1, 9, 30]
    assert rollout.half_s is not None
    assert rollout.most_s is not None
    assert rollout.lasted_s is not None
    assert rollout.waves[-1].started_s < rollout.half_s <= rollout.most_s <= rollout.lasted_s
    assert outcome.artifact_bytes == 40 * GOOD.bytes
    assert not rollout.false_stop
    assert not rollout.missed


def test_a_release_whose_requests_fail_is_stopped_at_the_canary() -> None:
    (rollout,) = simulated(of(BAD)).rollouts
    assert (rollout.state, rollout.reached, rollout.exposed) == ("ROLLED_BACK", 0, 1)
    assert "failure-rate" in rollout.reason
    assert 0 < rollout.exposed_hours < 0.2
    assert not rollout.missed


def test_the_same_seed_gives_the_same_simulation_and_another_one_another() -> None:
    assert simulated(PLAIN, 3) == simulated(PLAIN, 3)
    assert simulated(PLAIN, 3) != simulated(PLAIN, 4)


def test_nodes_that_are_switched_off_at_night_are_left_out() -> None:
    night = replace(CAMERAS, name="night", nodes=20, awake="22:00-06:00")
    (rollout,) = simulated(replace(PLAIN, group=(CAMERAS, night), starts="10:00", hours=4.0)).rollouts
    assert (rollout.state, rollout.reached) == ("SUCCEEDED", 40)


def test_a_day_begins_where_the_node_is() -> None:
    group = replace(CAMERAS, awake="08:00-20:00", time_zones=(9.0,))
    traits = next(population(replace(PLAIN, group=(group,)), random.Random(1)))
    assert traits.until_awake_s(0.0) == 0.0  # 09:00 there
    assert traits.until_asleep_s(0.0) == 11 * 3_600.0
    assert traits.until_awake_s(12 * 3_600.0) == 11 * 3_600.0


def test_a_slow_link_takes_the_time_that_its_bytes_need() -> None:
    slow = replace(CAMERAS, nodes=3, down_kbit_s=8.0)  # 1,000 bytes a second
    (rollout,) = simulated(replace(PLAIN, group=(slow,))).rollouts
    (fast,) = simulated(replace(PLAIN, group=(replace(CAMERAS, nodes=3),))).rollouts
    assert rollout.lasted_s is not None
    assert fast.lasted_s is not None
    assert 75 < rollout.lasted_s - fast.lasted_s < 90, "80,000 bytes, once: who measured it has it"


def test_a_download_that_is_cut_goes_on_at_the_byte() -> None:
    shaky = replace(CAMERAS, nodes=20, down_kbit_s=8.0, drops_per_day=24 * 30, drop_lasts_s=5.0)
    outcome = simulated(replace(PLAIN, group=(shaky,), hours=6.0))
    (rollout,) = outcome.rollouts
    assert outcome.sessions > 100
    assert rollout.reached > 0
    assert outcome.artifact_bytes <= 20 * (GOOD.bytes + 10)


def test_one_liar_stops_a_good_release() -> None:
    liars = replace(CAMERAS, name="liar", nodes=5, liars=1.0)
    (rollout,) = simulated(replace(PLAIN, group=(CAMERAS, liars))).rollouts
    assert rollout.false_stop
    assert "invented" in rollout.reason


def test_a_herd_comes_back_after_the_coordinator_was_killed_and_the_rollout_goes_on() -> None:
    many = replace(CAMERAS, nodes=300)
    outcome = simulated(replace(PLAIN, group=(many,), restart=(Restart(at_s=1_500.0, down_s=20.0),)))
    (rollout,) = outcome.rollouts
    assert (rollout.state, rollout.reached) == ("SUCCEEDED", 300)
    assert outcome.sessions == 600
    assert outcome.unanswered >= 300


def test_nobody_is_left_with_a_bad_model_when_the_simulation_ends() -> None:
    ruined = replace(BAD, failure_rate=0.0, field_accuracy=0.5)
    group = replace(CAMERAS, labelled=100)
    world = World(of(ruined, group=(group,)), 1)
    (rollout,) = world.run().rollouts
    assert (rollout.state, rollout.exposed) == ("ROLLED_BACK", 1)
    assert not world.books.serving_bad


def test_a_download_that_takes_longer_than_the_agent_allows_fails_there() -> None:
    """A day, by the agent's table of an update."""
    slow = replace(CAMERAS, name="slow", nodes=2, down_kbit_s=0.1)
    scenario = of(replace(GOOD, bytes=2_000_000), group=(replace(CAMERAS, nodes=4), slow), hours=80.0)
    patient = PlannedRollout(at_s=600.0, artifacts=("good",), policy=RolloutPolicy(wave_s=2 * 86_400.0))
    (rollout,) = simulated(replace(scenario, rollout=(patient,))).rollouts
    assert rollout.state == "ROLLED_BACK"
    assert "timed-out" in rollout.reason
    assert rollout.lasted_s is not None
    assert 86_400.0 < rollout.lasted_s < 90_000.0


def test_a_node_takes_an_update_inside_its_window_by_its_own_clock() -> None:
    evening = replace(CAMERAS, nodes=4, update_window="20:00-22:00", time_zones=(2.0,))
    (rollout,) = simulated(replace(PLAIN, group=(evening,), starts="10:00")).rollouts
    assert (rollout.state, rollout.reached) == ("SUCCEEDED", 4)
    assert rollout.half_s is not None
    assert 7.8 < rollout.half_s / 3_600 < 8.8, "18:00 UTC, and two probations"
