"""What `rollout explain` says in each state: what is waited for, until when, who can move it, and what happens then."""

from __future__ import annotations

from littoral_cloud.fleet.evidence import NodeEvidence
from littoral_cloud.fleet.quarantine import KIND as TROUBLE
from littoral_cloud.fleet.quarantine import NodeTrouble, Quarantine
from littoral_cloud.fleet.records import Enrolment, Node, Presence, Probation, UpdateState, dump
from littoral_cloud.rollouts.explanation import NodesInState, RolloutExplanation, explain_rollout
from littoral_cloud.rollouts.permission import moment
from littoral_cloud.rollouts.seen import snapshot_of
from littoral_cloud.rollouts.state import ENDED, Rollout, RolloutPolicy, RolloutState
from tests.kit.rollout_world import Fate, World, artifact

OLD, GOOD = artifact("old"), artifact("good", accuracy=0.99)
HANGS = Fate(outcome={GOOD.manifest_digest: UpdateState.PENDING})
BREAKS = Fate(outcome={GOOD.manifest_digest: UpdateState.ROLLED_BACK})
ABORT = "an operator: littoral-cloud rollout abort digits-1-r1"
PROMOTE = "an operator: littoral-cloud rollout promote digits-1-r1"


def fleet(nodes: str, **fates: Fate) -> World:
    world = World([OLD, GOOD])
    for node_id in nodes:
        world.add_node(node_id, fates.get(node_id, Fate()), serving=OLD.manifest_digest, kind="one")
    return world


def explained(world: World, id: str = "digits-1-r1") -> RolloutExplanation:
    return explain_rollout(snapshot_of(world.docs.values(), also=id).of(id), world.now)


def go(world: World, seconds: int) -> None:
    for _ in range(seconds):
        world.control()
        world.tick(1.0)
    world.control()


def counts(found: RolloutExplanation) -> dict[str, int]:
    return {each.state: each.nodes for each in found.nodes}


def test_it_waits_for_approval() -> None:
    world = fleet("a")
    world.start(world.release(1, GOOD), RolloutPolicy(approval=True), by="ada")
    found = explained(world)
    assert found.waits_for == ("somebody other than ada to approve it: littoral-cloud rollout approve digits-1-r1",)
    assert found.movers == ("an operator other than ada: littoral-cloud rollout approve digits-1-r1", ABORT)
    assert not found.promotable
    assert (found.since, found.until, found.then) == (world.now, world.now + 3 * 86_400.0, "the rollout fails")


def test_it_waits_for_its_time() -> None:
    world = fleet("a")
    world.start(world.release(1, GOOD), RolloutPolicy(not_before=world.now + 60.0))
    found = explained(world)
    assert (found.until, found.then, found.movers) == (world.now + 60.0, "it begins", (ABORT,))


def test_it_waits_for_an_older_rollout_of_the_model() -> None:
    world = fleet("a", a=HANGS)
    world.start(world.release(1, GOOD))
    go(world, 5)
    world.start(world.release(2, GOOD))
    world.control()
    found = explained(world, "digits-2-r1")
    assert found.waits_for == ("rollout digits-1-r1 to end",)
    assert (found.state, found.then) == (RolloutState.PENDING, "the rollout fails")


def test_it_waits_for_nodes_of_the_running_wave() -> None:
    world = fleet("abcd", b=HANGS)
    world.start(world.release(1, GOOD), RolloutPolicy(wave_sizes=(1, 2)))
    go(world, 30)
    found = explained(world)
    assert found.waits_for == ("name-b: DOWNLOADING",)
    assert (found.movers, found.promotable) == (("these nodes", PROMOTE, ABORT), True)
    assert found.then.startswith("the rollout is stopped and rolls back")
    assert found.until is not None
    assert found.until > world.now
    assert counts(found) == {"waits for its turn": 1, "DOWNLOADING": 1, "has it": 2}


def test_a_node_that_went_is_away_and_since_when() -> None:
    world = fleet("ab", b=HANGS)
    world.start(world.release(1, GOOD))
    go(world, 30)
    world.edit("presence", "b", Presence, connected=False, since=world.now)
    world.control()
    found = explained(world)
    assert found.waits_for == (f"name-b: DOWNLOADING, away since {moment(world.now)}",)
    assert counts(found)["DOWNLOADING, away"] == 1


def test_it_waits_for_a_window_and_counts_who_is_left_out() -> None:
    world = fleet("abc")
    world.edit("presence", "b", Presence, update_window="Mon 00:00-01:00")
    ill = Quarantine(since=0.0, until=None, by="ada", reason="its disk is worn")
    world.put(TROUBLE, "c", dump(NodeTrouble(quarantine=ill)))
    world.start(world.release(1, GOOD))
    go(world, 30)
    found = explained(world)
    assert found.waits_for == ("the maintenance window of name-b, from 1970-01-05 00:00 UTC on",)
    assert (found.until, found.then) == (4 * 86_400.0, "the nodes that are there then, with an open window, have their turn")
    assert set(found.nodes) == {
        NodesInState("its window is closed", 1, ("name-b",)),
        NodesInState("has it", 1, ("name-a",)),
        NodesInState("left out: not-quarantined", 1, ("name-c",)),
    }


def test_it_is_paused() -> None:
    world = fleet("ab", a=HANGS)
    world.start(world.release(1, GOOD))
    go(world, 10)
    world.edit("rollout", "digits-1-r1", Rollout, paused_by="ben", paused_at=world.now)
    paused = world.now
    go(world, 1_000)
    found = explained(world)
    assert (found.paused_by, found.since, found.until) == ("ben", paused, None)
    assert found.movers == ("an operator: littoral-cloud rollout resume digits-1-r1", ABORT)


def test_it_can_go_on_but_no_coordinator_runs() -> None:
    world = fleet("a")
    world.start(world.release(1, GOOD))
    found = explained(world)
    assert (found.waits_for, found.then) == (("a coordinator",), "it goes on")
    found = explain_rollout(snapshot_of(world.docs.values(), also="digits-1-r1").of("digits-1-r1"), world.now, carried_out=True)
    assert (found.waits_for, found.movers) == (("the coordinator's next step, which comes by itself",), ())


def test_it_goes_back_and_has_ended() -> None:
    world = fleet("abcdef", b=BREAKS, c=Fate(away=((1_020.0, 9_000.0),)))
    world.start(world.release(1, GOOD), RolloutPolicy(wave_sizes=(1, 3)))
    seen: set[RolloutState] = set()
    for _ in range(300):
        found = explained(world)
        if found.state is RolloutState.ROLLING_BACK and found.state not in seen and found.waits_for != ("a coordinator",):
            assert found.movers == ("these nodes",)
            assert found.then.startswith("ROLLED_BACK")
            seen.add(found.state)
        if found.state in ENDED:
            break
        go(world, 1)
    assert seen == {RolloutState.ROLLING_BACK}
    assert (found.state, found.waits_for, found.until, found.movers) == (RolloutState.ROLLED_BACK, (), None, ())
    assert found.then == "nothing more happens"
    assert found.reason.startswith("name-b: ROLLED_BACK")


def test_names_are_few_however_many_nodes_there_are() -> None:
    world = fleet("abcdefghij")
    for node_id in "abcdefghi":
        world.edit("presence", node_id, Presence, update_window="Mon 00:00-01:00")
    world.edit("node", "j", Node, enrolment=Enrolment.ACCEPTED)
    world.start(world.release(1, GOOD))
    go(world, 30)
    [closed] = [each for each in explained(world).nodes if each.state == "its window is closed"]
    assert closed.nodes == 9
    assert closed.first == ("name-a", "name-b", "name-c", "name-d", "name-e", "and 4 more")


def test_it_waits_for_a_gate() -> None:
    world = fleet("abcd")
    for actor in world.actors.values():
        actor.evidence = NodeEvidence(examples=200, worse=3, better=3)
    policy = RolloutPolicy(probation=Probation(), gates={"labelled": 0.02})
    id = world.start(world.release(1, GOOD), policy)
    go(world, 30)
    found = explained(world)
    [words] = found.waits_for
    assert words.startswith("gate labelled needs more")
    assert (found.until, found.then) == (world.rollout(id).deadline, "the rollout is stopped and rolls back")
    assert found.movers == ("requests and labelled examples on the nodes that have it", PROMOTE, ABORT)
