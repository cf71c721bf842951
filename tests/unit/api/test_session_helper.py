"""A helper lives while it has work, and its error reaches its session."""

from __future__ import annotations

import asyncio

import pytest

from littoral_cloud.api.session_helper import SessionHelper


async def test_it_runs_while_there_is_work_and_is_one_task_at_a_time() -> None:
    work, done, go = ["a", "b"], list[str](), asyncio.Event()

    async def until_empty() -> None:
        while work:
            await go.wait()
            done.append(work.pop(0))

    before = asyncio.all_tasks()
    helper = SessionHelper(until_empty, lambda error: pytest.fail(str(error)))
    helper.wake()
    helper.wake()
    assert len(asyncio.all_tasks() - before) == 1
    go.set()
    await helper.idle()
    assert done == ["a", "b"]
    assert asyncio.all_tasks() == before  # at rest: none
    await helper.idle()
    work.append("c")
    helper.wake()
    await helper.idle()
    assert done[-1] == "c"


async def test_its_error_is_told_and_it_may_be_woken_again() -> None:
    failures: list[BaseException] = []
    told = asyncio.Event()

    async def fails() -> None:
        raise ValueError("no")

    def tell(error: BaseException) -> None:
        failures.append(error)
        told.set()

    helper = SessionHelper(fails, tell)
    helper.wake()
    await told.wait()
    assert [str(error) for error in failures] == ["no"]
    helper.wake()
    await helper.stop()


async def test_it_is_stopped_where_it_waits_without_an_error() -> None:
    helper = SessionHelper(asyncio.Event().wait, lambda error: pytest.fail(str(error)))  # type: ignore[arg-type]
    helper.wake()
    await asyncio.sleep(0)
    await helper.stop()
    await helper.stop()
