"""A rollout that waits for its time, or for the approval of another person: in virtual time, and over a real ledger."""

from __future__ import annotations

from dataclasses import replace

import pytest

from littoral.errors import BadInput, NotFound
from littoral_cloud.cli.moments import parse_moment
from littoral_cloud.fleet.ledger import Change, Ledger, Write
from littoral_cloud.rollouts.back import BACK
from littoral_cloud.rollouts.commands import read_rollout, start_rollout
from littoral_cloud.rollouts.decide import Decision, next_actions
from littoral_cloud.rollouts.events import ApprovalWanted, RolloutExpired, Waits
from littoral_cloud.rollouts.judge import observe
from littoral_cloud.rollouts.permission import approved
from littoral_cloud.rollouts.state import Rollout, RolloutPolicy, RolloutState
from littoral_cloud.rollouts.steering import abort, approve
from tests.kit.rollout_world import World, artifact
from tests.unit.rollouts.test_rollout_behaviour import run

pytest_plugins = ("tests.kit.redis",)
OLD, GOOD = artifact("old"), artifact("good", accuracy=0.99)
DAY_S = 86_400.0


def fleet() -> World:
    world = World([OLD, GOOD])
    for node_id in "ab":
        world.add_node(node_id, serving=OLD.manifest_digest, kind="one")
    return world


def go_on(world: World, seconds: float) -> None:
    world.control()
    world.tick(seconds)
    world.control()


def allow(world: World, id: str, actor: str) -> None:
    before = world.rollout(id)
    after = approved(before, id, actor, world.now)
    world.edit("rollout", id, Rollout, approved_by=after.approved_by, approved_at=after.approved_at, deadline=after.deadline)


def waits(world: World, id: str) -> Waits:
    event = observe(world.snapshot().of(id), world.now)
    assert isinstance(event, Waits)
    return event


def test_it_begins_at_its_time_and_not_before_and_its_deadline_counts_from_then() -> None:
    world = fleet()
    id = world.start(world.release(1, GOOD), RolloutPolicy(not_before=world.now + 7_200.0))
    assert world.rollout(id).deadline == world.now + 7_200.0 + 3_600.0
    assert waits(world, id) == Waits(("its time, 1970-01-01 02:16 UTC",), world.now + 7_200.0)
    go_on(world, 7_199.0)
    assert world.rollout(id).state is RolloutState.PENDING
    go_on(world, 1.0)
    assert world.rollout(id).state is RolloutState.MEASURING
    assert run(world, id).state is RolloutState.SUCCEEDED


def test_one_that_waits_for_its_time_or_for_approval_delays_no_other_of_its_model() -> None:
    world = fleet()
    later = world.start(world.release(1, GOOD), RolloutPolicy(not_before=world.now + DAY_S), id="later")
    unapproved = world.start(world.release(2, GOOD), RolloutPolicy(approval=True), id="unapproved", by="ada")
    world.now += 1.0
    assert run(world, world.start(world.release(3, GOOD))).state is RolloutState.SUCCEEDED
    assert world.rollout(later).state is world.rollout(unapproved).state is RolloutState.PENDING


def test_it_waits_for_somebody_else_and_begins_when_that_person_approves() -> None:
    world = fleet()
    id = world.start(world.release(1, GOOD), RolloutPolicy(approval=True), by="ada")
    go_on(world, DAY_S)
    expected = f"somebody other than ada to approve it: littoral-cloud rollout approve {id}"
    assert waits(world, id).waits_for == (expected,)
    allow(world, id, "ben")
    assert world.rollout(id).deadline == world.now + 3_600.0
    assert run(world, id).state is RolloutState.SUCCEEDED


def test_an_approval_before_its_time_does_not_begin_it() -> None:
    world = fleet()
    id = world.start(world.release(1, GOOD), RolloutPolicy(approval=True, not_before=world.now + 7_200.0), by="ada")
    allow(world, id, "ben")
    go_on(world, 7_199.0)
    assert world.rollout(id).state is RolloutState.PENDING
    assert run(world, id).state is RolloutState.SUCCEEDED


def test_what_is_not_approved_in_time_failed_and_touched_no_node() -> None:
    world = fleet()
    id = world.start(world.release(1, GOOD), RolloutPolicy(approval=True), by="ada")
    go_on(world, 3 * DAY_S - 1.0)
    assert world.rollout(id).state is RolloutState.PENDING
    world.tick(1.0)
    assert isinstance(observe(world.snapshot().of(id), world.now), RolloutExpired)
    world.control()
    rollout = world.rollout(id)
    assert (rollout.state, rollout.reason) == (RolloutState.FAILED, "was not approved within 72 h")


async def test_the_same_person_cannot_approve_and_both_are_in_the_trail(ledger: Ledger) -> None:
    world = fleet()
    release = world.release(1, GOOD)
    await ledger.commit(Change(tuple(Write(doc.kind, doc.id, doc.body, 0) for doc in world.docs.values())))
    id = await start_rollout(ledger, release, world.now, RolloutPolicy(approval=True), actor="ada")
    with pytest.raises(BadInput, match=f"rollout {id}: ada has started it, so somebody else must approve it"):
        await approve(ledger, id, world.now, "ada")
    await approve(ledger, id, world.now, "ben")
    assert (await read_rollout(ledger, id))[1].approved_by == "ben"
    with pytest.raises(BadInput, match="ben has approved it already"):
        await approve(ledger, id, world.now, "eve")
    with pytest.raises(NotFound):
        await approve(ledger, "nothing-r1", world.now, "ben")
    plain = await start_rollout(ledger, release, world.now, RolloutPolicy(), actor="ada")
    with pytest.raises(BadInput, match="needs no approval"):
        await approve(ledger, plain, world.now, "ben")
    await abort(ledger, id, "ada")
    lines = [(line.action, line.subject, line.actor) for line in await ledger.audit()]
    assert lines == [
        ("rollout.started", id, "ada"),
        ("rollout.approved", id, "ben"),
        ("rollout.started", plain, "ada"),
        ("rollout.abort-asked", id, "ada"),
    ]


@pytest.mark.parametrize(
    ("above", "nodes", "needed"),
    [(1.0, (), False), (0.0, ("a",), True), (0.5, (), True), (0.5, ("a",), False), (0.4, ("a",), True)],
)
async def test_a_setting_asks_it_of_rollouts_above_a_part_of_the_fleet(
    ledger: Ledger, above: float, nodes: tuple[str, ...], needed: bool
) -> None:
    world = fleet()
    release = world.release(1, GOOD)
    await ledger.commit(Change(tuple(Write(doc.kind, doc.id, doc.body, 0) for doc in world.docs.values())))
    id = await start_rollout(ledger, release, world.now, RolloutPolicy(nodes=nodes), approval_above=above, actor="ada")
    assert (await read_rollout(ledger, id))[1].policy.approval is needed


def test_a_coordinator_asks_it_also_where_who_started_the_rollout_did_not() -> None:
    world = fleet()
    id, way_back = world.start(world.release(1, GOOD), by="ada"), world.start(world.release(2, OLD), BACK)

    def look(rollout_id: str) -> Decision | Waits:
        return next_actions(replace(world.snapshot().of(rollout_id), approval_above=0.5), world.now)

    decision = look(id)
    assert isinstance(decision, Decision)
    assert [(line.action, line.details["share"]) for line in decision.audit] == [("rollout.approval-wanted", 1.0)]
    for change in decision.changes(world.snapshot().of(id)):
        world.commit(change)
    wanted = world.rollout(id)
    assert (wanted.state, wanted.policy.approval) == (RolloutState.PENDING, True)
    assert wanted.deadline == world.now + 3 * DAY_S + 3_600.0
    assert isinstance(look(id), Waits)
    small = world.start(world.release(3, GOOD), RolloutPolicy(nodes=("a",)))
    for other in (way_back, small):  # the way out, and one that could reach half of the fleet and no more
        assert not isinstance(observe(replace(world.snapshot().of(other), approval_above=0.5), world.now), ApprovalWanted)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-02T00:00Z", DAY_S),
        ("1970-01-02T00:00+02:00", DAY_S - 7_200.0),
    ],
)
def test_a_time_from_the_command_line(text: str, seconds: float) -> None:
    assert parse_moment(text, "--at", 1_000.0) == seconds


def test_a_time_of_day_is_the_next_one() -> None:
    now = 1_764_590_400.0
    early, late = parse_moment("00:00", "--at", now), parse_moment("23:59", "--at", now)
    assert now < early <= now + DAY_S
    assert now < late <= now + DAY_S
    assert (late - early) % DAY_S == 23 * 3_600 + 59 * 60


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("tomorrow", "is not a time"),
        ("25:00", "is not a time"),
        ("1970-01-01T00:00Z", "is in the past"),
        ("1999-01-01T00:00Z", "is more than a year ahead"),
        ("99999-01-01", "is not a time"),
    ],
)
def test_what_is_no_time_to_begin_is_refused(text: str, why: str) -> None:
    with pytest.raises(BadInput, match=f"--at: .*{why}"):
        parse_moment(text, "--at", 1_000.0)
