"""A process that ends by itself is started again, and not for ever."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from littoral_cloud.local.processes import Child
from littoral_cloud.local.restarts import Lasting, Patience

TELLS_AND_WAITS = "print('ready', flush=True); import signal; signal.pause()"


def test_the_pause_doubles_and_ends_that_are_long_past_count_no_more() -> None:
    patience = Patience(most=3, within_s=100.0, pause_s=1.0)
    assert patience.pause([10.0], 10.0) == 1.0
    assert patience.pause([10.0, 12.0], 12.0) == 2.0
    assert patience.pause([10.0, 12.0, 15.0], 15.0) == 4.0
    assert patience.pause([10.0, 12.0, 15.0, 20.0], 20.0) is None
    assert patience.pause([10.0, 12.0, 15.0, 200.0], 200.0) == 1.0


async def test_a_process_that_was_killed_is_there_again_until_it_ended_too_often(tmp_path: Path) -> None:
    said: list[str] = []
    started: list[Child] = []

    async def start() -> Child:
        started.append(await Child.start("it", [sys.executable, "-c", TELLS_AND_WAITS], tmp_path / "log"))
        return started[-1]

    def tell(words: str) -> None:
        said.append(words)
        if words == "it: is there again":
            os.kill(started[-1].pid, signal.SIGKILL)

    lasting = Lasting(start, tell, Patience(most=2, pause_s=0.0))
    assert await lasting.begin() == "ready"
    os.kill(started[0].pid, signal.SIGKILL)
    assert (await lasting.last()).startswith("it: ended by itself with SIGKILL, 3 times now")
    assert len(started) == 3
    assert said == ["it: ended by itself with SIGKILL; started again in 0 s", "it: is there again"] * 2
    await lasting.end()


async def test_one_that_does_not_start_any_more_is_given_up_with_its_last_words(tmp_path: Path) -> None:
    commands = iter([TELLS_AND_WAITS, *["import sys; sys.exit('there is no such port')"] * 9])
    said: list[str] = []
    started: list[Child] = []

    async def start() -> Child:
        started.append(await Child.start("it", [sys.executable, "-c", next(commands)], tmp_path / "log"))
        return started[-1]

    lasting = Lasting(start, said.append, Patience(most=2, pause_s=0.0))
    await lasting.begin()
    os.kill(started[0].pid, signal.SIGTERM)
    why = await lasting.last()
    assert why.startswith("it: ended by itself with exit code 1")
    assert "there is no such port" in why
    assert len(started) == 3
    assert not any(child.running for child in started)
    await lasting.end()


async def test_the_last_words_are_the_error_that_a_process_said(tmp_path: Path) -> None:
    for said, wanted in (
        ('{"at": 1}\n{"error": {"message": "port: is taken", "hint": "another"}}', "port: is taken (another)"),
        ("one\ntwo", "one / two"),
        ('{"error": 3}', '{"error": 3}'),
    ):
        child = await Child.start("it", [sys.executable, "-c", f"import sys; sys.stderr.write({said!r})"], tmp_path / "log")
        await child.ended()
        assert child.last_words() == wanted
        (tmp_path / "log").unlink()
