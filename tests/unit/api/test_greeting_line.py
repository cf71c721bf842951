"""Who has a turn in the line of nodes that wait for their Welcome."""

from __future__ import annotations

import asyncio

import pytest

from littoral_cloud.api import greeting_line
from littoral_cloud.api.greeting_line import GreetingLine
from littoral_cloud.api.pushes import Pushes

NEVER_S = 3600.0


@pytest.fixture
def pushes() -> Pushes:
    return Pushes(NEVER_S, quiet_s=0.0)


async def test_turns_are_taken_in_order_and_so_many_at_one_time(pushes: Pushes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(greeting_line, "AT_ONCE", 2)
    line, order, inside, most = GreetingLine(pushes), list[int](), 0, 0

    async def node(number: int) -> None:
        nonlocal inside, most
        async with line.turn():
            order.append(number)
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(node(number) for number in range(20)))
    assert (order, most) == (list(range(20)), 2)


async def test_what_nodes_report_waits_while_there_is_a_line_and_not_for_one_hello(
    pushes: Pushes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(greeting_line, "AT_ONCE", 2)
    line = GreetingLine(pushes)
    async with line.turn():
        async with asyncio.timeout(0):
            await pushes.over()
        async with line.turn():
            report = asyncio.create_task(pushes.over())
            await asyncio.sleep(0)
            assert not report.done()
    await report


async def test_one_that_goes_while_it_waits_takes_no_turn(pushes: Pushes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(greeting_line, "AT_ONCE", 1)
    line = GreetingLine(pushes)

    async def node() -> None:
        async with line.turn():
            await asyncio.sleep(0)

    async with line.turn():
        gone, stays = asyncio.create_task(node()), asyncio.create_task(node())
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.wait([gone])
    await stays
