"""A process that ends by itself is started again, and not for ever."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from littoral.process.command import Command
from littoral.process.restarts import RestartPolicy, SupervisedCommand

TELLS_AND_WAITS = "print('ready', flush=True); import signal; signal.pause()"


def test_the_pause_doubles_and_ends_that_are_long_past_count_no_more() -> None:
    policy = RestartPolicy(most=3, within_s=100.0, pause_s=1.0)
    assert policy.pause([10.0], 10.0) == 1.0
    assert policy.pause([10.0, 12.0], 12.0) == 2.0
    assert policy.pause([10.0, 12.0, 15.0], 15.0) == 4.0
    assert policy.pause([10.0, 12.0, 15.0, 20.0], 20.0) is None
    assert policy.pause([10.0, 12.0, 15.0, 200.0], 200.0) == 1.0


async def test_a_process_that_was_killed_is_there_again_until_it_ended_too_often(tmp_path: Path) -> None:
    said: list[str] = []
    started: list[Command] = []

    async def start() -> Command:
        started.append(await Command.start("it", [sys.executable, "-c", TELLS_AND_WAITS], tmp_path / "log"))
        return started[-1]

    def tell(words: str) -> None:
        said.append(words)
        if words == "it: runs again":
            os.kill(started[-1].pid, signal.SIGKILL)

    supervised = SupervisedCommand(start, tell, RestartPolicy(most=2, pause_s=0.0))
    assert await supervised.begin() == "ready"
    os.kill(started[0].pid, signal.SIGKILL)
    assert (await supervised.supervise()).startswith(
        "it: ended by itself with SIGKILL (killed, perhaps for lack of memory), 3 times now"
    )
    assert len(started) == 3
    assert (
        said
        == ["it: ended by itself with SIGKILL (killed, perhaps for lack of memory); started again in 0 s", "it: runs again"] * 2
    )
    await supervised.end()


async def test_one_that_does_not_start_any_more_is_given_up_with_its_last_words(tmp_path: Path) -> None:
    commands = iter([TELLS_AND_WAITS, *["import sys; sys.exit('there is no such port')"] * 9])
    said: list[str] = []
    started: list[Command] = []

    async def start() -> Command:
        started.append(await Command.start("it", [sys.executable, "-c", next(commands)], tmp_path / "log"))
        return started[-1]

    supervised = SupervisedCommand(start, said.append, RestartPolicy(most=2, pause_s=0.0))
    await supervised.begin()
    os.kill(started[0].pid, signal.SIGTERM)
    why = await supervised.supervise()
    assert why.startswith("it: ended by itself with exit code 1")
    assert "there is no such port" in why
    assert len(started) == 3
    assert not any(child.running for child in started)
    await supervised.end()
