"""Time that jumps: littoral_cloud.simulate.virtual_loop."""

from __future__ import annotations

import asyncio

import pytest

from littoral.errors import FleetError
from littoral_cloud.simulate.virtual_loop import run_virtually

START = 1_767_225_600.0


def test_a_year_of_timers_passes_in_their_order() -> None:
    async def work() -> list[tuple[str, float]]:
        loop, heard = asyncio.get_running_loop(), []

        async def wait(name: str, seconds: float) -> None:
            await asyncio.sleep(seconds)
            heard.append((name, loop.time() - START))

        await asyncio.gather(wait("year", 365 * 86_400.0), wait("moment", 0.001), wait("day", 86_400.0), wait("again", 86_400.0))
        return heard

    heard = run_virtually(work(), START)
    assert [name for name, _ in heard] == ["moment", "day", "again", "year"]
    assert [round(at, 3) for _, at in heard] == [0.001, 86_400.0, 86_400.0, 365 * 86_400.0]


def test_where_nothing_can_happen_any_more_it_is_an_error_and_no_hang() -> None:
    with pytest.raises(FleetError, match="no timer is set"):
        run_virtually(asyncio.Event().wait(), START)


def test_what_a_thread_would_do_is_done_at_once() -> None:
    async def work() -> tuple[int, float]:
        answer = await asyncio.to_thread(lambda: 6 * 7)
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 // 0)
        return answer, asyncio.get_running_loop().time()

    assert run_virtually(work(), START) == (42, START)
