"""A rollout in virtual time under its gates: what stops it, what it waits for, and what it says of them."""

from __future__ import annotations

from dataclasses import replace

from littoral_cloud.fleet.evidence import NodeEvidence
from littoral_cloud.fleet.ledger import Announcement
from littoral_cloud.fleet.records import Probation, UpdateState
from littoral_cloud.rollouts.assignments import AssignmentState
from littoral_cloud.rollouts.attention import Attention
from littoral_cloud.rollouts.decide import next_actions
from littoral_cloud.rollouts.events import RolloutStopped, Waits
from littoral_cloud.rollouts.gating import AGAIN_S, limits_of, verdicts_of
from littoral_cloud.rollouts.judge import observe
from littoral_cloud.rollouts.plan import previous
from littoral_cloud.rollouts.state import KIND, Rollout, RolloutPolicy, RolloutState, Unsure, limit_s
from littoral_cloud.rollouts.steering import why_not_promoted
from tests.kit.rollout_world import MODEL, Fate, World, artifact

OLD, GOOD = artifact("old", accuracy=0.97), artifact("good", accuracy=0.99)
QUICK = RolloutPolicy(probation=Probation())
LABELLED = replace(QUICK, gates={"labelled": 0.02})
WELL = NodeEvidence(examples=4_000, worse=60, better=60)
WORSE = NodeEvidence(examples=4_000, worse=260, better=60)
FEW = NodeEvidence(examples=200, worse=3, better=3)


def world_of(*evidence: NodeEvidence | None, fates: dict[int, Fate] | None = None) -> World:
    world = World([OLD, GOOD])
    for number, given in enumerate(evidence):
        actor = world.add_node(f"n{number:03}", (fates or {}).get(number), serving=OLD.manifest_digest)
        actor.evidence = given
    return world


def run(world: World, id: str, *, seconds: float = 3_000.0) -> Rollout:
    until = world.now + seconds
    while (rollout := world.rollout(id)).ended_at is None:
        assert world.now < until, f"still {rollout.state}"
        world.control()
        world.tick(1.0)
    return rollout


def until_held(world: World, id: str, seconds: int = 60) -> Waits:
    for _ in range(seconds):
        world.control()
        seen = world.snapshot().of(id)
        event = observe(seen, world.now)
        if isinstance(event, Waits) and any("gate" in words for words in event.waits_for):
            return event
        world.tick(1.0)
    raise AssertionError(f"never waited for a gate: {world.rollout(id)}")


def test_a_gate_that_nobody_named_stops_a_bad_release_in_its_first_wave() -> None:
    world = world_of(*[WORSE] * 4)
    ended = run(world, world.start(world.release(1, GOOD), QUICK))
    assert ended.state is RolloutState.ROLLED_BACK
    assert ended.reason.startswith("gate labelled: accuracy changes by -5.00% on 4,000 labelled examples, allowed is -2.00%")
    assert [actor.serving for actor in world.actors.values()] == [OLD.manifest_digest] * 4
    assert ended.waves_started == 1


def test_a_gate_that_nobody_named_does_not_hold_a_wave() -> None:
    world = world_of(FEW, None, None, None)
    ended = run(world, world.start(world.release(1, GOOD), QUICK), seconds=60.0)
    assert ended.state is RolloutState.SUCCEEDED
    assert ended.remarks == ()
    gates = world.trail[-1].details["gates"]
    assert gates["labelled"].startswith("needs more: about")
    assert gates["probation"] == "pass: 0 of 4 nodes have failed"


def test_a_named_gate_passes_and_is_a_remark() -> None:
    world = world_of(*[WELL] * 4)
    ended = run(world, world.start(world.release(1, GOOD), LABELLED), seconds=60.0)
    assert ended.state is RolloutState.SUCCEEDED
    assert [remark.partition(":")[0] for remark in ended.remarks] == ["gate labelled"]


def test_a_named_gate_holds_the_next_wave_until_its_evidence_came() -> None:
    world = world_of(FEW, WELL, WELL, WELL)
    id = world.start(world.release(1, GOOD), LABELLED)
    held = until_held(world, id)
    assert held.waits_for[0].startswith("gate labelled needs more: about 1,")
    assert held.until == world.rollout(id).deadline
    world.show("n000", WELL)
    assert run(world, id, seconds=60.0).state is RolloutState.SUCCEEDED


def test_where_a_node_put_its_update_off_the_gates_have_that_time_too() -> None:
    world = world_of(FEW, WELL, WELL, WELL, fates={0: Fate(defers_s=600.0)})
    id = world.start(world.release(1, GOOD), replace(LABELLED, defer_s=900.0, wave_s=300.0))
    held = until_held(world, id, seconds=700)
    assert world.now > world.rollout(id).deadline, "the wave's own time is over"
    assert held.until == world.rollout(id).deadline + 900.0
    world.show("n000", WELL)
    assert run(world, id, seconds=60.0).state is RolloutState.SUCCEEDED


def test_when_the_waves_time_is_over_the_policy_decides() -> None:
    for unsure, state in ((Unsure.STOP, RolloutState.ROLLED_BACK), (Unsure.CONTINUE, RolloutState.SUCCEEDED)):
        world = world_of(*[FEW] * 4)
        began = world.now
        ended = run(world, world.start(world.release(1, GOOD), replace(LABELLED, unsure=unsure)))
        assert ended.state is state
        assert world.now - began >= limit_s(LABELLED, RolloutState.WAVE)
        words = ended.reason if unsure is Unsure.STOP else ended.remarks[0]
        assert "gate labelled" in words
        assert "needs more" in words


def test_a_paused_rollout_and_a_coordinator_that_is_behind_stop_for_no_missing_evidence() -> None:
    world = world_of(*[FEW] * 4)
    id = world.start(world.release(1, GOOD), LABELLED)
    until_held(world, id)
    world.now = world.rollout(id).deadline + 100.0
    seen = world.snapshot().of(id)
    assert isinstance(observe(seen, world.now), RolloutStopped)
    assert isinstance(observe(replace(seen, behind_s=60.0), world.now), Waits)
    world.edit(KIND, id, Rollout, paused_by="ada", paused_at=world.now)
    assert isinstance(observe(world.snapshot().of(id), world.now), Waits)


def test_somebody_may_promote_a_wave_that_a_gate_holds_and_a_failing_gate_stops_it_all_the_same() -> None:
    world = world_of(FEW, WORSE, WORSE, WORSE)
    id = world.start(world.release(1, GOOD), LABELLED)
    until_held(world, id)
    assert why_not_promoted(world.snapshot().of(id), world.now) is None
    rollout = world.rollout(id)
    world.edit(KIND, id, Rollout, waves=(*rollout.waves[:-1], replace(rollout.waves[-1], promoted_by="ada")))
    ended = run(world, id, seconds=120.0)
    assert ended.waves_started == 2
    assert ended.state is RolloutState.ROLLED_BACK
    assert "gate labelled: accuracy changes by -4" in ended.reason


def test_a_gate_fails_while_nodes_are_still_awaited() -> None:
    world = world_of(WORSE, fates={0: Fate(takes_s=100.0)})
    id = world.start(world.release(1, GOOD), QUICK)
    for _ in range(5):
        world.control()
        world.tick(1.0)
    assert world.rollout(id).reason.startswith("gate labelled: ")
    assert world.actors["n000"].serving == OLD.manifest_digest


def test_with_a_limit_for_probation_a_large_wave_loses_one_node_and_goes_on() -> None:
    policy = replace(QUICK, wave_sizes=(100,), gates={"probation": 0.01})
    fates = {7: Fate(outcome={GOOD.manifest_digest: UpdateState.ROLLED_BACK})}
    world = world_of(*[None] * 120, fates=fates)
    id = world.start(world.release(1, GOOD), policy)
    ended = run(world, id, seconds=60.0)
    assert ended.state is RolloutState.SUCCEEDED
    serving = [actor.serving for actor in world.actors.values()]
    assert serving.count(GOOD.manifest_digest) == 119
    assert world.desired("n007")[1].models[MODEL].manifest_digest == OLD.manifest_digest
    assert world.assignments(id)["n007"].why.startswith("ROLLED_BACK: accuracy-drop")

    world = world_of(*[None] * 4, fates={0: fates[7]})
    assert run(world, world.start(world.release(1, GOOD), policy), seconds=200.0).state is RolloutState.ROLLED_BACK


def test_the_limits_of_default_gates_are_those_of_single_nodes() -> None:
    policy = replace(QUICK, max_accuracy_loss=0.3, gates={"p95": 1.2, "probation": 0.01})
    assert limits_of(policy) == {"probation": 0.01, "failure-rate": 0.01, "labelled": 0.3, "p95": 1.2}


def test_what_a_node_showed_counts_on_when_its_agent_starts_anew_and_goes_when_it_is_dropped() -> None:
    world = world_of(WELL, WELL)
    id = world.start(world.release(1, GOOD), replace(LABELLED, wave_sizes=(2,)))
    for _ in range(4):
        world.control()
        world.tick(1.0)
    book = world.snapshot().of(id).assignments
    assert book.evidence.evidence().labelled.count == 8_000
    report = world.actors["n000"].report
    assert report is not None
    before = book.evidence.version
    node = world.snapshot().nodes["n000"]
    assert node.reported is not None
    book.node_changed("n000")
    assert book.evidence.version == before  # the same again
    generation, a = book.held["n000"]
    book.put("n000", generation, None)
    assert book.evidence.evidence().labelled.count == 4_000
    assert a.node_id == "n000"


def test_evidence_that_grew_is_looked_at_within_seconds() -> None:
    world = world_of(FEW, WELL)
    id = world.start(world.release(1, GOOD), LABELLED)
    held = until_held(world, id)
    seen = world.snapshot().of(id)
    attention = Attention.after(seen, held)
    news = Announcement("reported", "n000", 9)
    assert not attention.is_due([news], world.now)
    assert attention.until == held.until
    seen.assignments.evidence.put("n000", WELL)
    assert not attention.is_due([news], world.now)
    assert attention.is_due([], world.now + AGAIN_S)
    assert not isinstance(next_actions(seen, world.now), Waits)
    assert verdicts_of(seen)["labelled"].answer == "pass"


def test_in_its_shadow_a_node_keeps_what_it_serves_as_the_way_back() -> None:
    world = world_of(None)
    actor = world.actors["n000"]
    assert actor.report is not None
    shadow = replace(actor.report, state=UpdateState.PROBATION, target=GOOD.manifest_digest, previous="sha256:" + "9" * 64)
    trial = replace(shadow, serving=GOOD.manifest_digest, previous=OLD.manifest_digest)
    id = world.start(world.release(1, GOOD), QUICK)
    for report in (shadow, trial):
        actor.report = report
        world.say(actor)
        seen = world.snapshot().of(id)
        assert previous(seen.nodes["n000"], seen) == OLD.manifest_digest


def test_one_node_of_many_fails_no_gate_alone_and_is_named() -> None:
    policy = replace(LABELLED, wave_sizes=(30,))
    liar = NodeEvidence(examples=10**9, worse=10**9)
    world = world_of(*[NodeEvidence(examples=400, worse=6, better=6)] * 29, liar)
    ended = run(world, world.start(world.release(1, GOOD), policy), seconds=60.0)
    assert ended.state is RolloutState.SUCCEEDED
    assert ended.remarks[0].startswith("gate labelled: pass: ")
    assert "left out is name-n029, which alone would fail it" in ended.remarks[0]


def test_two_bad_nodes_of_many_are_believed_and_so_is_one_of_a_few() -> None:
    bad = NodeEvidence(examples=10_000, worse=5_000)
    for evidence in ([NodeEvidence(examples=400, worse=6, better=6)] * 28 + [bad, bad], [WELL] * 3 + [bad]):
        world = world_of(*evidence)
        ended = run(world, world.start(world.release(1, GOOD), replace(LABELLED, wave_sizes=(len(evidence),))), seconds=200.0)
        assert ended.state is RolloutState.ROLLED_BACK
        assert ended.reason.startswith("gate labelled: ")


def test_what_a_node_showed_that_failed_and_went_back_counts_for_a_coordinator_that_starts() -> None:
    fails = Fate(outcome={GOOD.manifest_digest: UpdateState.ROLLED_BACK})
    world = world_of(WELL, FEW, FEW, FEW, fates={2: fails})
    policy = replace(LABELLED, gates={"labelled": 0.02, "probation": 0.5, "agreement": 0.9}, wave_sizes=(4,))
    id = world.start(world.release(1, GOOD), policy)
    while not any(a.state is AssignmentState.FAILED for a in world.assignments(id).values()):
        world.control()
        world.tick(1.0)
    [failed] = [node_id for node_id, a in world.assignments(id).items() if a.state is AssignmentState.FAILED]
    for _ in range(20):
        world.tick(1.0)  # it goes back
    actor = world.actors[failed]
    assert actor.report is not None
    actor.report = replace(actor.report, evidence=None)  # of that it has shown nothing
    world.say(actor)
    shown = world.snapshot().of(id).assignments.evidence.nodes  # read anew, as after kill -9
    assert shown[failed] == FEW
    assert "on 4,600 labelled examples" in verdicts_of(world.snapshot().of(id))["labelled"].why
