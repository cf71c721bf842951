"""A node that may spend something else: what it gets instead, when, and what is said of it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from littoral.budget import Budget
from littoral_cloud.fleet.measurements import MeasurementRecord
from littoral_cloud.fleet.records import Artifact, DesiredModel, Presence, Release, UpdateState
from littoral_cloud.rollouts.assignments import KIND as ASSIGNMENT
from littoral_cloud.rollouts.assignments import Assignment, AssignmentState, assignment_id
from littoral_cloud.rollouts.explain import Explained, explained
from littoral_cloud.rollouts.rechoice import Fleet, holder, rechoice
from littoral_cloud.rollouts.state import ENDED, KIND, Rollout, RolloutPolicy, RolloutState
from tests.kit.rollout_world import MODEL, Fate, World, artifact

BEST, MIDDLE, CHEAP = (
    artifact("best", accuracy=0.99, size=30_000),
    artifact("middle", accuracy=0.97, size=10_000),
    artifact("cheap", accuracy=0.90, size=1_000),
)
LATER = artifact("later", accuracy=0.995, size=40_000)
WIDE, NARROW, NONE = Budget(), Budget(artifact_bytes=2_000), Budget(artifact_bytes=10)


def fleet_of(world: World) -> Fleet:
    snapshot = world.snapshot()
    rollouts = world.of(Rollout, KIND)
    given = world.of(Assignment, ASSIGNMENT)
    of = snapshot.releases, snapshot.artifacts, snapshot.measurements
    return Fleet(rollouts, *of, lambda rollout_id, node_id: given.get(assignment_id(rollout_id, node_id)))


def rechoose(world: World) -> None:
    for node in world.snapshot().nodes.values():
        if (change := rechoice(node, fleet_of(world), world.now).change) is not None:
            world.commit(change)


def spends(world: World, node_id: str, budget: Budget) -> None:
    world.edit("presence", node_id, Presence, budgets={MODEL: budget}, conditions={"in_force": ["battery_low"]})


def wanted(world: World, node_id: str) -> DesiredModel:
    return world.desired(node_id)[1].models[MODEL]


def run(world: World, rollout_id: str, *, until: RolloutState | None = None) -> Rollout:
    """Until it has ended, or is in a state; budgets are looked at as often as the rollout."""
    for _ in range(2_000):
        world.control()
        rechoose(world)
        if (rollout := world.rollout(rollout_id)).state in (ENDED if until is None else {until}):
            return rollout
        world.tick(1.0)
    raise AssertionError(f"still {rollout.state}")


def settle(world: World) -> None:
    for _ in range(30):
        rechoose(world)
        world.tick(1.0)


def released(*nodes: tuple[str, Budget]) -> World:
    """A fleet that has the release of all three."""
    world = World([BEST, MIDDLE, CHEAP])
    for node_id, budget in nodes:
        world.add_node(node_id, budget=budget)
    assert run(world, world.start(world.release(1, BEST, MIDDLE, CHEAP))).state is RolloutState.SUCCEEDED
    return world


def test_a_narrower_budget_gives_a_cheaper_student_without_a_rollout_and_the_wider_one_gives_the_better_back() -> None:
    world = released(("a", WIDE), ("b", WIDE))
    assert world.actors["a"].serving == BEST.manifest_digest
    before = wanted(world, "a")
    spends(world, "a", NARROW)
    settle(world)
    assert world.actors["a"].serving == CHEAP.manifest_digest
    assert world.actors["b"].serving == BEST.manifest_digest
    assert wanted(world, "a").generation > before.generation
    assert wanted(world, "a").rollout_id == before.rollout_id
    line = world.trail[-1]
    assert (line.action, line.subject, line.actor) == ("choice.changed", "a", "choice")
    assert line.details == {
        "model": MODEL,
        "budget": "artifact<=2000B",
        "conditions": ["battery_low"],
        "release": f"{MODEL}-1",
        "from": "best",
        "to": "cheap",
    }
    spends(world, "a", WIDE)
    settle(world)
    assert world.actors["a"].serving == BEST.manifest_digest
    assert [line.action for line in world.trail].count("choice.changed") == 2


def test_probation_allows_what_the_manifests_say_that_the_cheaper_one_loses() -> None:
    world = released(("a", WIDE))
    spends(world, "a", NARROW)
    rechoose(world)
    assert round(wanted(world, "a").probation.max_accuracy_drop, 6) == 0.05 + 0.09
    settle(world)
    spends(world, "a", WIDE)
    rechoose(world)
    assert wanted(world, "a").probation.max_accuracy_drop == 0.05


def test_where_nothing_fits_the_node_keeps_what_it_has_and_it_is_said_once() -> None:
    world = released(("a", WIDE))
    before = wanted(world, "a").generation
    spends(world, "a", NONE)
    settle(world)
    assert world.actors["a"].serving == BEST.manifest_digest
    [line] = [line for line in world.trail if line.action == "choice.unchanged"]
    assert line.details["keeps"] == "best"
    assert "nearest is cheap, artifact_bytes: 1000 is over 10" in str(line.details["reason"])
    assert wanted(world, "a").unfit == line.details["reason"]
    spends(world, "a", WIDE)
    settle(world)
    assert wanted(world, "a").unfit == ""
    assert wanted(world, "a").generation == before


def test_another_budget_that_changes_nothing_wakes_no_node() -> None:
    world = released(("a", WIDE))
    before = wanted(world, "a")
    spends(world, "a", Budget(artifact_bytes=31_000))
    rechoose(world)
    assert wanted(world, "a").generation == before.generation
    assert world.trail[-1].action == "rollout.promoted"
    written = world.desired("a")[0]
    rechoose(world)
    assert world.desired("a")[0] == written


def test_a_node_that_is_away_is_chosen_for_when_it_is_back() -> None:
    world = released(("a", WIDE))
    world.actors["a"].fate = Fate(away=((world.now, world.now + 20),))
    world.tick(1.0)
    spends(world, "a", NARROW)
    rechoose(world)
    assert wanted(world, "a").manifest_digest == BEST.manifest_digest
    settle(world)
    assert world.actors["a"].serving == CHEAP.manifest_digest


def test_a_rollout_that_has_touched_the_node_decides_until_it_ends() -> None:
    world = released(("a", WIDE), ("b", WIDE))
    slow = world.start(world.release(2, LATER, CHEAP), RolloutPolicy(wave_sizes=(1,)))
    run(world, slow, until=RolloutState.WAVE)
    assert holder(world.snapshot().nodes["a"], MODEL, fleet_of(world)) == slow
    spends(world, "a", NARROW)
    rechoose(world)
    assert wanted(world, "a").manifest_digest == LATER.manifest_digest
    assert run(world, slow).state is RolloutState.SUCCEEDED
    settle(world)
    assert world.actors["a"].serving == CHEAP.manifest_digest
    assert wanted(world, "a").rollout_id == slow
    assert world.actors["b"].serving == LATER.manifest_digest


def test_a_node_whose_wave_is_to_come_changes_at_once_and_its_place_in_the_rollout_is_chosen_again() -> None:
    world = released(("a", WIDE), ("b", WIDE))
    slow = world.start(world.release(2, LATER, artifact("later-cheap", accuracy=0.91, size=1_500)))
    run(world, slow, until=RolloutState.WAVE)
    spends(world, "b", NARROW)
    rechoose(world)
    assert wanted(world, "b").manifest_digest == CHEAP.manifest_digest
    ended = run(world, slow)
    assert world.assignments(slow)["b"].name == "later-cheap"
    assert world.assignments(slow)["b"].chosen_for == NARROW
    assert world.assignments(slow)["b"].state is AssignmentState.COMMITTED
    assert ended.state is RolloutState.SUCCEEDED


def test_a_node_whose_wave_is_to_come_and_that_nothing_fits_any_more_is_left_out() -> None:
    world = released(("a", WIDE), ("b", WIDE))
    slow = world.start(world.release(2, LATER))
    run(world, slow, until=RolloutState.WAVE)
    spends(world, "b", NARROW)
    ended = run(world, slow)
    assert ended.state is RolloutState.SUCCEEDED
    assert world.assignments(slow)["b"].why.startswith("has another budget since: none of 1 candidates is inside")
    assert world.actors["b"].serving == CHEAP.manifest_digest


def test_after_a_rollout_that_was_taken_back_a_changed_budget_is_still_followed() -> None:
    world = released(("a", WIDE))
    world.actors["a"].fate = Fate(outcome={LATER.manifest_digest: UpdateState.ROLLED_BACK})
    bad = world.start(world.release(2, LATER))
    run(world, bad, until=RolloutState.WAVE)
    spends(world, "a", NARROW)
    assert run(world, bad).state is RolloutState.ROLLED_BACK
    settle(world)
    assert world.actors["a"].serving == CHEAP.manifest_digest


def test_a_node_that_got_nothing_because_of_its_budget_gets_something_when_that_is_wider() -> None:
    world = released(("a", WIDE), ("b", NONE))
    assert MODEL not in world.desired("b")[1].models
    spends(world, "b", NARROW)
    settle(world)
    assert world.actors["b"].serving == CHEAP.manifest_digest
    assert world.trail[-1].details["from"] == ""


def test_a_node_that_a_newer_release_did_not_fit_chooses_from_it_as_soon_as_it_does() -> None:
    world = released(("a", WIDE), ("b", NARROW))
    assert run(world, world.start(world.release(2, LATER))).state is RolloutState.SUCCEEDED
    assert world.actors["b"].serving == CHEAP.manifest_digest
    spends(world, "b", Budget(artifact_bytes=20_000))  # still not enough for the newer one
    settle(world)
    assert world.actors["b"].serving == MIDDLE.manifest_digest
    spends(world, "b", WIDE)
    settle(world)
    assert world.actors["b"].serving == LATER.manifest_digest


def test_a_release_for_other_nodes_alone_is_nobody_elses_choice() -> None:
    world = released(("a", WIDE), ("b", WIDE))
    only = world.release(2, BEST, LATER)
    assert run(world, world.start(only, RolloutPolicy(nodes=("b",)))).state is RolloutState.SUCCEEDED
    spends(world, "a", NARROW)
    settle(world)
    spends(world, "a", WIDE)
    settle(world)
    assert world.actors["a"].serving == BEST.manifest_digest
    assert world.actors["b"].serving == LATER.manifest_digest


def explained_of(world: World, node_id: str) -> Explained:
    node = world.snapshot().nodes[node_id]
    assert node.presence is not None
    return explained(node, node.presence, MODEL, fleet_of(world))


def test_a_release_that_was_withdrawn_is_given_to_nobody_who_joins_later() -> None:
    world = released(("a", WIDE))
    world.edit("release", f"{MODEL}-1", Release, withdrawn="blind to sevens")
    world.add_node("late")
    settle(world)
    assert MODEL not in world.desired("late")[1].models
    spends(world, "a", NARROW)  # who has it chooses in it, until the fleet goes back
    settle(world)
    assert wanted(world, "a").manifest_digest == CHEAP.manifest_digest


def test_what_is_explained_is_of_the_release_that_the_node_follows() -> None:
    world = released(("a", WIDE), ("b", NARROW))
    assert run(world, world.start(world.release(2, LATER))).state is RolloutState.SUCCEEDED
    of_a, of_b = explained_of(world, "a"), explained_of(world, "b")
    assert (of_a.release, of_b.release) == (f"{MODEL}-2", f"{MODEL}-1")
    assert [(row.name, row.chosen) for row in of_a.rows] == [
        ("later", True),
        ("best", False),
        ("middle", False),
        ("cheap", False),
    ]
    assert of_a.rows[3].why_not == f"is not in {MODEL}-2, the release that this node follows"
    assert [row.name for row in of_b.rows if row.chosen] == ["cheap"]
    assert of_b.serving == CHEAP.manifest_digest
    spends(world, "b", NONE)
    assert explained_of(world, "b").remark == "is to be chosen again: its budget is another one since"
    settle(world)
    assert explained_of(world, "b").remark.startswith("keeps what it has: none of 3 candidates is inside artifact<=10B")
    assert explained_of(world, "b").conditions == ("battery_low",)


def test_a_rollout_that_holds_the_node_is_named() -> None:
    world = released(("a", WIDE))
    slow = world.start(world.release(2, LATER))
    run(world, slow, until=RolloutState.WAVE)
    assert explained_of(world, "a").remark == f"{slow} decides until it ends"


BUDGETS = st.sampled_from([WIDE, NARROW, NONE, Budget(artifact_bytes=12_000), Budget(artifact_bytes=35_000)])
STEPS = st.lists(st.tuples(st.sampled_from("abc"), BUDGETS, st.integers(0, 12)), max_size=8)


def best(candidates: list[Artifact], budget: Budget, measured: set[str]) -> Artifact | None:
    fitting = [
        c
        for c in candidates
        if c.manifest_digest in measured and (budget.artifact_bytes is None or c.artifact_bytes <= budget.artifact_bytes)
    ]
    return max(fitting, key=lambda c: c.accuracy, default=None)


@given(STEPS, STEPS)
@settings(max_examples=15, deadline=None)
def test_whatever_budgets_do_before_and_in_a_rollout_each_node_ends_with_the_best_that_fits(
    before: list[tuple[str, Budget, int]], during: list[tuple[str, Budget, int]]
) -> None:
    world = released(("a", WIDE), ("b", WIDE), ("c", WIDE))
    for node_id, budget, seconds in before:
        spends(world, node_id, budget)
        rechoose(world)
        world.tick(float(seconds))
    second = world.start(world.release(2, LATER, MIDDLE))
    for node_id, budget, seconds in during:
        spends(world, node_id, budget)
        world.control()
        rechoose(world)
        world.tick(float(seconds))
    run(world, second)
    settle(world)
    for id in "abc":
        budget = world.of(Presence, "presence")[id].budget_for(MODEL)
        assert wanted(world, id).chosen_for == budget
        serving = world.of(Artifact, "artifact")[world.actors[id].serving]
        if wanted(world, id).unfit:
            continue
        assert budget.artifact_bytes is None or serving.artifact_bytes <= budget.artifact_bytes
        measured = {m.manifest_digest for m in world.of(MeasurementRecord, "measurement").values() if m.node_id == id}
        mine = [LATER, MIDDLE] if wanted(world, id).rollout_id == second else [BEST, MIDDLE, CHEAP]
        fitting = best(mine, budget, measured)
        assert fitting is not None
        assert serving == fitting
