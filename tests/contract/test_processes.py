"""The same cases for every child process that answers calls: whatever it does, its user gets one error and goes on."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from littoral.errors import FleetError
from littoral.process import worker
from tests.kit.patience import PATIENCE_S
from tests.kit.workers import USERS, User, Waits, bad_child, child_of_this_process, children_of, ended

Replace = Callable[[str], None]
SHORT_S = 0.5


LIMITED = [name for name, user in USERS.items() if user.limited]
"""The first call of the other users may take any time."""

CANCELLED = [name for name, user in USERS.items() if not user.blocks]
"""The calls of the other users block: they end with the process or at their limit."""


@pytest.fixture(params=USERS)
def user(request: pytest.FixtureRequest) -> User:
    return USERS[request.param]


@pytest.fixture
def child_that(monkeypatch: pytest.MonkeyPatch) -> Replace:
    """Starts another child in the user's place, one that does as its argument says; "" starts the user's own again."""

    def replace(how: str) -> None:
        monkeypatch.undo()
        if how:
            monkeypatch.setattr(worker, "command_of", bad_child(how))

    return replace


def none_left() -> bool:
    return not children_of(os.getpid(), "tests.kit.bad_child")


async def test_it_answers_again_and_again_by_one_child_and_leaves_none(user: User, tmp_path: Path) -> None:
    async with user.opened(tmp_path, Waits()) as once:
        await once()
        before = children_of(os.getpid(), user.module)
        await once()
        assert children_of(os.getpid(), user.module) == before
        assert len(before) <= 1
        if user.memory is not None:
            kind, most = user.memory
            assert 0 < resource.prlimit(before[0], kind)[0] <= most
        assert all(resource.prlimit(pid, resource.RLIMIT_CORE)[0] <= 1 for pid in before)
    assert children_of(os.getpid(), user.module) == []


async def test_a_child_that_ends_before_it_is_ready_is_named_with_its_last_words(
    user: User, tmp_path: Path, child_that: Replace
) -> None:
    child_that("ends")
    async with user.opened(tmp_path, Waits()) as once:
        with pytest.raises(FleetError, match=r"exit code 1: ValueError: there is no such port"):
            await once()
        assert none_left()


async def test_a_child_that_is_never_ready_is_ended_after_its_limit(user: User, tmp_path: Path, child_that: Replace) -> None:
    child_that("waits")
    async with user.opened(tmp_path, Waits(ready=SHORT_S)) as once:
        with pytest.raises(FleetError, match=r"took longer than 0\.5 s"):
            await once()
        assert none_left()


async def test_a_child_that_cannot_be_started_is_an_error_in_words(
    user: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "command_of", lambda _: ("/no/such/python",))
    async with user.opened(tmp_path, Waits()) as once:
        with pytest.raises(FleetError, match=r"cannot be started: .*No such file"):
            await once()


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("large", r"a frame of 64 and 1,152,921,504,606,846,976 bytes"),
        ("garbage", r"no frame: it begins with b'HTTP/1\.1 400"),
        ("other", r"an answer to another call"),
        ("dies", r"exit code 1: ValueError: it was too much"),
    ],
)
async def test_a_child_that_breaks_the_rules_is_ended_and_the_next_call_gets_a_new_one(
    user: User, tmp_path: Path, child_that: Replace, how: str, words: str
) -> None:
    child_that(how)
    async with user.opened(tmp_path, Waits()) as once:
        with pytest.raises(FleetError, match=words):
            await once()
        assert none_left()
        if how == "dies":
            child_that("")
            await once()


@pytest.mark.parametrize("user", LIMITED, indirect=True)
async def test_a_call_past_its_limit_ends_the_child(user: User, tmp_path: Path, child_that: Replace) -> None:
    child_that("hangs")
    async with user.opened(tmp_path, Waits(call=SHORT_S)) as once:
        with pytest.raises(FleetError, match=r"took longer than 0\.5 s"):
            await once()
        assert none_left()


async def test_a_child_that_is_killed_in_a_call_is_named_with_the_signal(user: User, tmp_path: Path, child_that: Replace) -> None:
    child_that("hangs")
    async with user.opened(tmp_path, Waits()) as once:
        asked = asyncio.ensure_future(once())
        os.kill(await child_of_this_process("tests.kit.bad_child"), signal.SIGKILL)
        with pytest.raises(FleetError, match="SIGKILL"):
            await asyncio.wait_for(asked, PATIENCE_S)


@pytest.mark.parametrize("user", CANCELLED, indirect=True)
async def test_a_cancelled_call_leaves_no_child_and_the_next_gets_a_new_one(
    user: User, tmp_path: Path, child_that: Replace
) -> None:
    child_that("hangs")
    async with user.opened(tmp_path, Waits()) as once:
        asked = asyncio.ensure_future(once())
        pid = await child_of_this_process("tests.kit.bad_child")
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(asked, PATIENCE_S)
        assert not Path(f"/proc/{pid}").exists()
        child_that("")
        await once()


@pytest.mark.slow
@pytest.mark.parametrize("name", USERS)
async def test_a_child_ends_with_its_parent_even_by_kill_9(name: str, tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.kit.workers_parent", name, str(tmp_path)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        child = int(await process.stdout.readline())
        process.kill()
        await process.wait()
        await ended(child)
