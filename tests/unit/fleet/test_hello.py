"""A presence is stored in two documents, and a hello costs one reading and one commit."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from littoral.budget import Budget
from littoral.quota import NodeLimits
from littoral_cloud.fleet.hello import known_of, note_hello
from littoral_cloud.fleet.ledger import Change, Doc, Ledger, Write
from littoral_cloud.fleet.profile import Profile, presence_of, presences, profile_of, stored, with_profile
from littoral_cloud.fleet.records import Presence, dump, load
from littoral_cloud.fleet.sessions import MAX_JUMP, note_budgets

pytest_plugins = ("tests.kit.redis",)

SAID = Presence(
    connected=True,
    since=1_700_000_000.5,
    boot_id="0" * 32,
    agent_version="1.2.3",
    protocol_version=1,
    features=("federated",),
    hardware={"isa": ["avx2"], "cores": 4},
    hardware_class="x86-4",
    runtimes=("onnxruntime",),
    budgets={"m": Budget(artifact_bytes=20_000)},
    labelled_examples={"m": 40},
    conditions={"in_force": ["battery_low"]},
    limits=NodeLimits(disk_bytes=1_000_000),
    coordinator="c" * 16,
    session="5" * 16,
)


class Counting:
    """A ledger that counts what it is asked; before the next commit it may be written by another."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.asked: list[str] = []
        self.between: Change | None = None

    async def commit(self, change: Change, **more: Any) -> Any:
        self.asked.append("commit")
        if self.between is not None:
            between, self.between = self.between, None
            await self._ledger.commit(between)
        return await self._ledger.commit(change, **more)

    def __getattr__(self, name: str) -> Any:
        self.asked.append(name)
        return getattr(self._ledger, name)


def test_what_is_stored_in_two_is_read_as_one() -> None:
    session, profile = stored(SAID)
    assert not session.keys() & profile.keys() - {"schema"}
    assert len(json.dumps(session)) < 400
    assert with_profile(SAID, None) == SAID
    assert with_profile(SAID, profile_of(replace(SAID, runtimes=()))) == replace(SAID, runtimes=())
    assert with_profile(None, profile_of(SAID)) is None
    half = load(Presence, Doc("presence", "n1", 1, session))
    assert half.connected
    assert with_profile(half, None) is None  # no node that can do nothing, but one of which too little is read


async def test_a_hello_is_one_reading_and_one_commit_and_writes_a_profile_only_where_it_changed(ledger: Ledger) -> None:
    counting: Any = Counting(ledger)
    for hello, profiles in ((SAID, 1), (replace(SAID, boot_id="1" * 32, since=5.0), 1), (replace(SAID, runtimes=("ncnn",)), 2)):
        known = await known_of(counting, "n1")
        generation = await note_hello(counting, "n1", hello, None, known)
        presence, profile = await ledger.get_many([("presence", "n1"), ("profile", "n1")])
        assert presence is not None
        assert profile is not None
        assert (presence.generation, profile.generation) == (generation, profiles)
        assert await presence_of(ledger, "n1") == hello
        assert await presences(ledger) == await presences(ledger, "n1", "nobody") == {"n1": hello}
    assert counting.asked == ["get_many", "commit"] * 3


async def test_a_hello_is_written_over_what_another_coordinator_wrote_meanwhile(ledger: Ledger) -> None:
    await note_hello(ledger, "n1", SAID)
    counting: Any = Counting(ledger)
    known = await known_of(counting, "n1")
    gone, _ = stored(replace(SAID, connected=False))
    counting.between = Change((Write("presence", "n1", gone, None),))
    newer = replace(SAID, session="6" * 16)
    assert await note_hello(counting, "n1", newer, None, known) == 3
    assert await presence_of(ledger, "n1") == newer


async def test_a_presence_of_before_holds_everything_until_the_next_hello(ledger: Ledger) -> None:
    await ledger.commit(Change((Write("presence", "n1", dump(SAID), 0),)))
    assert await presence_of(ledger, "n1") == SAID
    assert await presences(ledger) == {"n1": SAID}
    await note_hello(ledger, "n1", replace(SAID, budgets={}))
    doc = await ledger.get("presence", "n1")
    assert doc is not None
    assert "hardware" not in doc.body
    assert await presence_of(ledger, "n1") == replace(SAID, budgets={})
    assert [line.action for line in await ledger.audit()] == ["budget.changed"]


@pytest.mark.parametrize("before", ["both", "one"])
async def test_a_changed_budget_is_written_to_the_profile_alone(ledger: Ledger, before: str) -> None:
    if before == "both":
        await note_hello(ledger, "n1", SAID)
    else:
        await ledger.commit(Change((Write("presence", "n1", dump(SAID), 0),)))
    budgets = {"m": Budget(artifact_bytes=10_000)}
    assert await note_budgets(ledger, "n1", budgets, {}, {"m": 41})
    assert not await note_budgets(ledger, "n1", budgets, {})
    assert not await note_budgets(ledger, "nobody", budgets, {})
    after = replace(SAID, budgets=budgets, conditions={}, labelled_examples={"m": 41})
    assert await presence_of(ledger, "n1") == after
    doc = await ledger.get("presence", "n1")
    assert doc is not None
    assert doc.generation == 1
    assert [line.action for line in await ledger.audit()] == ["budget.changed"]


def test_a_profile_has_the_fields_that_a_presence_has() -> None:
    assert isinstance(profile_of(SAID), Profile)
    assert {**stored(SAID)[0], **stored(SAID)[1]} == dump(SAID)


async def test_a_copy_is_seen_by_the_count_of_its_sessions_and_both_addresses_stay(ledger: Ledger) -> None:
    first = replace(SAID, boot_id="a" * 32, connection=7, address="10.0.0.1:5")
    await note_hello(ledger, "n1", first)
    copy = replace(SAID, boot_id="b" * 32, connection=7, address="10.0.0.2:6", since=SAID.since + 5)
    await note_hello(ledger, "n1", copy)
    seen = await presence_of(ledger, "n1")
    assert seen is not None
    assert (seen.twins, seen.runs_twice(copy.since)) == (("10.0.0.1:5", "10.0.0.2:6"), True)
    again = replace(first, connection=8, since=SAID.since + 9)  # by another coordinator, which has seen no turns
    await note_hello(ledger, "n1", again)
    seen = await presence_of(ledger, "n1")
    assert seen is not None
    assert seen.twins == ("10.0.0.1:5", "10.0.0.2:6")
    assert [line.action for line in await ledger.audit()] == ["node.twice"]


async def test_a_count_that_is_wrong_is_not_the_largest_for_ever(ledger: Ledger) -> None:
    await note_hello(ledger, "n1", replace(SAID, connection=2**64 - 1))
    seen = await presence_of(ledger, "n1")
    assert seen is not None
    assert seen.connection == MAX_JUMP
