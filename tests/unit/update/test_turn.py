"""When a node puts an update off, and when it goes on: in virtual time."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from littoral_node.update import turn
from littoral_node.update.events import Deferral, Deferred, Ready
from littoral_node.update.job import Job
from littoral_node.update.state import LIMIT_S, ModelUpdateState, RunStep, Update, step
from littoral_node.update.turn import Hindrances

DIGEST = "sha256:" + "a" * 64


@dataclass
class Node:
    """A clock, what hinders the node at each time, and the job of one update."""

    hinders: dict[float, str]  # from this time on
    now: float = 1_000.0
    ahead: float = 0.0  # of the clock on the wall
    update: Update = field(default_factory=lambda: Update("digits", DIGEST, 1, defer_s=600.0))

    def hindrance(self) -> str:
        return [reason for since, reason in self.hinders.items() if since <= self.now][-1]

    async def sleep(self, seconds: float) -> None:
        self.now += seconds

    async def turn(self) -> Ready | Deferred:
        kit = SimpleNamespace(clock=lambda: self.now + self.ahead, monotonic=lambda: self.now, hindrance=self.hindrance)
        event = await turn.run(cast(Job, SimpleNamespace(update=self.update, kit=kit)))
        assert isinstance(event, Ready | Deferred)
        self.update, effects = step(self.update, event, self.now)
        assert effects == (RunStep("reserve" if isinstance(event, Ready) else "turn"),)
        return event


@pytest.fixture(autouse=True)
def virtual(monkeypatch: pytest.MonkeyPatch) -> list[Node]:
    """The node whose clock `asyncio.sleep` moves; a test puts it in."""
    nodes: list[Node] = []

    async def sleep(seconds: float) -> None:
        await nodes[0].sleep(seconds)

    monkeypatch.setattr(turn, "asyncio", SimpleNamespace(sleep=sleep))
    return nodes


async def test_it_is_put_off_while_something_hinders_and_goes_on_by_itself(virtual: list[Node]) -> None:
    node = Node({0.0: "training", 1_200.0: ""})
    virtual.append(node)
    assert await node.turn() == Deferred(1, Deferral("training", 1_600.0))
    assert (node.update.state, node.update.detail) == (ModelUpdateState.DEFERRED, "put off: training")
    assert await node.turn() == Ready(1)
    assert node.now == 1_200.0
    assert (node.update.state, node.update.detail) == (ModelUpdateState.PENDING, "")
    assert node.update.deferral == Deferral("training", 1_600.0, over=True)


async def test_it_goes_on_at_the_limit_whatever_hinders(virtual: list[Node]) -> None:
    node = Node({0.0: "busy", 1_100.0: "training", 1_300.0: "battery_low"})
    virtual.append(node)
    events = [await node.turn() for _ in range(4)]
    reasons = [event.deferral.reason for event in events if isinstance(event, Deferred)]
    assert reasons == ["busy", "training", "battery_low"]
    assert {event.deferral.until for event in events if isinstance(event, Deferred)} == {1_600.0}, "one limit for all of them"
    assert isinstance(events[-1], Ready)
    assert node.now == 1_600.0


async def test_the_limit_counts_over_restarts_of_the_agent_and_a_clock_that_was_set_back_makes_it_no_longer(
    virtual: list[Node],
) -> None:
    node = Node({0.0: "busy"}, update=Update("digits", DIGEST, 1, defer_s=600.0, deferral=Deferral("busy", 1_050.0)))
    virtual.append(node)
    assert await node.turn() == Ready(1)
    assert node.now == 1_050.0
    back = Node(
        {0.0: "busy"}, ahead=-5_000.0, update=Update("digits", DIGEST, 1, defer_s=600.0, deferral=Deferral("busy", 1_050.0))
    )
    virtual[0] = back
    assert await back.turn() == Ready(1)
    assert back.now == 1_600.0


@pytest.mark.parametrize("fields", [{"defer_s": 0.0}, {"proved": True}])
async def test_what_may_not_wait_is_never_put_off(fields: dict[str, Any], virtual: list[Node]) -> None:
    node = Node({0.0: "busy"})
    virtual.append(node)
    node.update = replace(node.update, **fields)
    assert await node.turn() == Ready(1)


async def test_nothing_hinders() -> None:
    node = Node({0.0: ""})
    assert await node.turn() == Ready(1)
    assert node.update.deferral is None


def test_a_deferral_lasts_no_longer_than_the_cloud_allows_and_a_little_more() -> None:
    deferred, _ = step(Update("digits", DIGEST, 1, defer_s=600.0), Deferred(1, Deferral("busy", 0.0)), 10.0)
    assert deferred.deadline == 10.0 + 600.0 + LIMIT_S[ModelUpdateState.DEFERRED]


def test_the_first_of_the_settings_that_holds_is_the_reason() -> None:
    machine, requests, rounds = SimpleNamespace(holds={"hot"}), SimpleNamespace(in_flight=3, max_in_flight=4), SimpleNamespace()
    rounds.trains = True
    hindrances = Hindrances(("battery_low", "training", "busy", "hot"), machine, requests, rounds)
    assert hindrances() == "training"
    rounds.trains = False
    assert hindrances() == "busy"
    requests.in_flight = 2
    assert hindrances() == "hot"
    machine.holds = set()
    assert hindrances() == ""
    requests.in_flight = 4
    assert Hindrances((), machine, requests, rounds)() == ""
