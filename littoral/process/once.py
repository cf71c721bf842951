"""A command of an operator that runs once: bytes in on stdin, bytes out on stdout. Never a shell."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress

from littoral.process.command import CommandFailed, last_words
from littoral.process.limits import how_ended
from littoral.process.tether import tethered


def run_once(name: str, command: Sequence[str], given: bytes, *, limit_s: float, most_bytes: int, hint: str = "") -> bytes:
    """What a command printed. Blocking: for a thread.

    Args:
        name: how messages call it.
        command: the program, looked up in PATH, and its arguments.
        given: what it reads on stdin.
        limit_s: it is killed after this time, with what it started.

    Raises CommandFailed where it cannot be started, ends with an error, is too slow, or prints more than `most_bytes`.
    """
    if (program := shutil.which(command[0])) is None:
        raise CommandFailed(f"{name}: {command[0]!r} is no program that can be run", hint=hint)
    with subprocess.Popen(
        tethered(program, *command[1:], how=signal.SIGKILL),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            printed, errors = process.communicate(given, timeout=limit_s)
        except subprocess.TimeoutExpired as error:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise CommandFailed(f"{name}: gave no answer in {limit_s:g} s", hint=hint) from error
    if process.returncode:
        words = last_words(errors)[-500:]
        raise CommandFailed(f"{name}: ended with {how_ended(process.returncode)}: {words}", hint=hint)
    if len(printed) > most_bytes:
        raise CommandFailed(f"{name}: printed {len(printed)} bytes, at most {most_bytes} are a signature", hint=hint)
    return printed
