"""Nodes by state: always what a count of the whole fleet gives, whatever happened in between."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from littoral_cloud.commands.followed import FOLLOWED
from littoral_cloud.fleet.drift import inputs_id
from littoral_cloud.fleet.drift_seen import KIND as INPUTS
from littoral_cloud.fleet.drift_seen import DriftSeen
from littoral_cloud.fleet.ledger import Change, Write
from littoral_cloud.fleet.nodes import view_nodes
from littoral_cloud.fleet.quarantine import KIND as TROUBLE
from littoral_cloud.fleet.quarantine import NodeTrouble, Quarantine
from littoral_cloud.fleet.records import Enrolment, Node, Presence, Reported, ReportedModel, UpdateState, dump
from littoral_cloud.fleet.view import FleetView
from littoral_cloud.health.fleet_counts import FleetCounts
from littoral_cloud.simulate.memory_ledger import MemoryLedger

IDS = ("n1", "n2", "n3", "n4")


def node(id: str, enrolment: Enrolment) -> Node:
    return Node(
        node_id=id,
        name=id,
        enrolment=enrolment,
        public_key_sha256="",
        certificate_sha256="",
        certificate_expires_at=9e9,
        enrolled_at=0,
    )


def presence(connected: bool, twins: bool, now: float) -> Presence:
    return Presence(
        connected=connected,
        since=now,
        boot_id="b",
        protocol_version=1,
        patience_s=60.0,
        twins=("a", "b") if twins else (),
        twins_at=now if twins else 0.0,
    )


def reported(states: dict[str, UpdateState]) -> Reported:
    models = {name: ReportedModel(state=state, desired_generation=1, target="") for name, state in states.items()}
    return Reported(generation=1, observed_generation=1, models=models)


def seen(drifted: bool, acknowledged: bool) -> DriftSeen:
    at = 5.0 if acknowledged else None
    return DriftSeen(baseline_examples=9, baseline_full=True, updated_at=0, drifted=drifted, acknowledged_at=at)


def trouble(quarantined: bool) -> NodeTrouble:
    return NodeTrouble(quarantine=Quarantine(since=0, until=None, by="ana", reason="worn") if quarantined else None)


ENTRIES = st.one_of(
    st.tuples(st.just("node"), st.sampled_from(IDS), st.one_of(st.none(), st.sampled_from(Enrolment))),
    st.tuples(st.just("presence"), st.sampled_from(IDS), st.one_of(st.none(), st.tuples(st.booleans(), st.booleans()))),
    st.tuples(st.just("reported"), st.sampled_from(IDS), st.dictionaries(st.sampled_from("ab"), st.sampled_from(UpdateState))),
    st.tuples(st.just(TROUBLE), st.sampled_from(IDS), st.booleans()),
    st.tuples(st.just(INPUTS), st.sampled_from(IDS), st.tuples(st.booleans(), st.booleans())),
    st.tuples(st.just("time"), st.just(""), st.floats(0, 4_000)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(ENTRIES, max_size=25))
def test_the_counts_are_those_of_a_walk_over_the_fleet(entries: list[tuple[str, str, Any]]) -> None:
    asyncio.run(_compare(entries))


async def _compare(entries: list[tuple[str, str, Any]]) -> None:
    now = 1_000.0
    ledger = MemoryLedger(lambda: now)
    view = FleetView(ledger, FOLLOWED)
    counts = FleetCounts(view, lambda: now)
    running = asyncio.create_task(view.run())
    try:
        for kind, id, value in entries:
            if kind == "time":
                now += value
                continue
            record: Any = None
            if kind == "node":
                record = node(id, value) if value is not None else None
            elif kind == "presence":
                record = presence(*value, now) if value is not None else None
            elif kind == "reported":
                record = reported(value) if value else None
            elif kind == INPUTS:
                id, record = inputs_id(id, "digits"), seen(*value)
            else:
                record = trouble(value)
            await ledger.commit(Change((Write(kind, id, dump(record) if record is not None else None, None),)))
            if len(entries) % 2:
                await view.catch_up()  # else many changes come at once
        await view.catch_up()
        walked = await view_nodes(ledger, now)
        # `node list` adds quarantine to the word
        expected = Counter(each.state.removesuffix(", quarantined") for each in walked)
        assert {state: count for state, count in counts.by_state().items() if count} == expected
        updates = Counter(
            (name, str(model["state"])) for doc in await ledger.all("reported") for name, model in doc.body["models"].items()
        )
        assert counts.by_update() == updates
        bodies = [doc.body for doc in await ledger.all(INPUTS)]
        assert counts.drifted().get("digits", 0) == sum(body["drifted"] and body["acknowledged_at"] is None for body in bodies)
        assert counts.quarantined == sum(doc.body["quarantine"] is not None for doc in await ledger.all(TROUBLE))
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_node_that_went_is_away_and_then_offline_without_a_word() -> None:
    now = 1_000.0
    ledger = MemoryLedger(lambda: now)
    view = FleetView(ledger, FOLLOWED)
    counts = FleetCounts(view, lambda: now)
    running = asyncio.create_task(view.run())
    await ledger.commit(
        Change(
            (
                Write("node", "n1", dump(node("n1", Enrolment.ACCEPTED)), None),
                Write("presence", "n1", dump(presence(False, False, now)), None),
            )
        )
    )
    await view.catch_up()
    assert counts.by_state() == {"online": 0, "away": 1, "offline": 0, "cloned": 0}
    now += 61.0
    assert counts.by_state() == {"online": 0, "away": 0, "offline": 1, "cloned": 0}
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
