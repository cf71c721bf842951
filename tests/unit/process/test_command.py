"""Commands of ours beside us: ready by a line, ended with us, and an error names their last words."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from littoral.process.command import Command, CommandFailed, last_words, run_to_end
from tests.kit.patience import PATIENCE_S
from tests.kit.workers import ended

READY = "import os, signal; os.write(1, b'ready\\nmore\\n'); signal.pause()"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {READY}"
PARENT = """
import asyncio, sys, pathlib
from littoral.process.command import Command
async def main():
    command = await Command.start("it", [sys.executable, "-c", sys.argv[1]], pathlib.Path(sys.argv[2]))
    await command.ready_line()
    print(command.pid, flush=True)
    await command.ended()
asyncio.run(main())
"""


def python(code: str, *more: str) -> list[str]:
    return [sys.executable, "-c", code, *more]


async def test_it_is_ready_by_its_first_line_and_all_lines_are_in_its_log(tmp_path: Path) -> None:
    command = await Command.start("it", python(READY), tmp_path / "logs" / "it.log")
    assert await command.ready_line() == "ready"
    assert command.running
    assert command.rss_bytes() > 1_000_000
    await command.end()
    assert not command.running
    assert command.rss_bytes() == 0
    assert await command.ended() == -signal.SIGTERM
    assert (tmp_path / "logs" / "it.log").read_text() == "ready\nmore\n"


async def test_one_that_ends_before_it_is_ready_is_named_with_its_last_words(tmp_path: Path) -> None:
    command = await Command.start("it", python("import sys; sys.exit('there is no such port')"), tmp_path / "log")
    with pytest.raises(CommandFailed, match=r"it: ended with exit code 1: there is no such port \(its log is .*log\)"):
        await command.ready_line()


async def test_one_that_is_not_ready_in_time_is_named_and_ended_by_who_started_it(tmp_path: Path) -> None:
    command = await Command.start("it", python("import signal; signal.pause()"), tmp_path / "log")
    with pytest.raises(CommandFailed, match="not ready after 0 s"):
        await command.ready_line(within_s=0.1)
    await command.end()


@pytest.mark.parametrize("drain_s", [0.0, 0.1])
async def test_one_that_does_not_listen_is_killed(tmp_path: Path, drain_s: float) -> None:
    command = await Command.start("it", python(DEAF), tmp_path / "log")
    await command.ready_line()
    await command.end(drain_s)
    assert await command.ended() == -signal.SIGKILL


async def test_it_ends_with_its_parent_even_by_kill_9(tmp_path: Path) -> None:
    parent = await asyncio.create_subprocess_exec(
        *python(PARENT, READY, str(tmp_path / "log")), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        pid = int(await parent.stdout.readline())
        parent.kill()
        await parent.wait()
        await ended(pid)


async def test_what_a_command_prints_is_given_and_an_error_is_its_last_words(tmp_path: Path) -> None:
    printed = await run_to_end("it", python("import os; print(os.environ['A'])"), tmp_path / "log", {"A": "b"})
    assert printed == "b"
    failing = python("import sys; sys.stderr.write('one\\ntwo\\n'); sys.exit(3)")
    with pytest.raises(CommandFailed, match="it: ended with exit code 3: one / two"):
        await run_to_end("it", failing)
    with pytest.raises(CommandFailed, match="its log is"):
        await run_to_end("it", failing, tmp_path / "log")
    assert (tmp_path / "log").read_text() == "one\ntwo\n"


async def test_a_cancelled_run_leaves_no_process(tmp_path: Path) -> None:
    written = tmp_path / "pid"
    code = f"import os, pathlib, signal; pathlib.Path({str(written)!r}).write_text(str(os.getpid())); signal.pause()"
    running = asyncio.create_task(run_to_end("it", python(code)))
    async with asyncio.timeout(PATIENCE_S):
        while not written.exists() or not written.read_text():  # noqa: ASYNC110 - a file sends no event
            await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not Path(f"/proc/{written.read_text()}").exists()


def test_the_last_words_are_the_error_that_a_process_wrote() -> None:
    for errors, words in (
        (b'{"at": 1}\n{"error": {"message": "port: is taken", "hint": "another"}}', "port: is taken (another)"),
        (b'{"error": {"message": "port: is taken", "hint": ""}}\n', "port: is taken"),
        (b"one\ntwo", "one / two"),
        (b'{"error": 3}', '{"error": 3}'),
        (b"7", "7"),
        (b"", ""),
    ):
        assert last_words(errors) == words
