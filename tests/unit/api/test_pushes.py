"""Reports wait while desired states go down, and no longer than a bound."""

from __future__ import annotations

import asyncio

from littoral_cloud.api.pushes import Pushes

NEVER_S = 3600.0


async def test_reports_are_taken_when_the_last_state_went_down() -> None:
    pushes = Pushes(NEVER_S, quiet_s=0.0)
    await pushes.over()  # nothing goes down
    with pushes.pending():
        with pushes.pending():
            report = asyncio.create_task(pushes.over())
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not report.done()  # the other is not through
    await report


async def test_a_push_that_fails_is_over() -> None:
    pushes = Pushes(NEVER_S, quiet_s=0.0)

    async def fails() -> None:
        with pushes.pending():
            raise ValueError

    await asyncio.gather(fails(), return_exceptions=True)
    await pushes.over()


async def test_reports_get_through_though_pushes_never_end() -> None:
    pushes, taken = Pushes(0.01, quiet_s=0.0), list[int]()

    async def takes() -> None:
        for number in range(50):
            await pushes.over()
            taken.append(number)

    with pushes.pending():
        reports = asyncio.create_task(takes())
        await asyncio.sleep(0)
        assert taken == []
        await reports  # while the push is still pending: the bound is of all reports together
    assert len(taken) == 50


async def test_the_next_wave_goes_before_reports_again() -> None:
    pushes = Pushes(NEVER_S, quiet_s=0.0)
    for _ in range(2):
        with pushes.pending():
            report = asyncio.create_task(pushes.over())
            await asyncio.sleep(0)
            assert not report.done()
        await report


async def test_reports_have_their_time_after_the_bound() -> None:
    pushes = Pushes(0.01, quiet_s=0.0)
    with pushes.pending():
        await pushes.over()  # at the bound
        with pushes.pending():
            async with asyncio.timeout(0):
                await pushes.over()  # at once: the next wait begins later
    await asyncio.sleep(0.02)
    with pushes.pending():
        report = asyncio.create_task(pushes.over())
        await asyncio.sleep(0)
        assert not report.done()
    await report


async def test_two_parts_of_one_wave_are_one_push() -> None:
    pushes = Pushes(NEVER_S, quiet_s=0.02)
    with pushes.pending():
        report = asyncio.create_task(pushes.over())
    with pushes.pending():
        await asyncio.sleep(0.03)
        assert not report.done()
    await report
