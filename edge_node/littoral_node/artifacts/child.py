"""One piece of work in a process of its own: what crashes, hangs or swallows memory there takes nothing else along.

The child is `python -m MODULE --parent PID ...`; it prints one JSON object as its last line: {} when it went well,
{"code", "message"} when not.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from littoral.child import how_ended, last_line
from littoral_node.runtimes.ended import RuntimeCrash


async def answer_of(module: str, *arguments: str, what: str, limit_s: float) -> Mapping[str, Any]:
    """Runs the child and gives what it printed. Raises RuntimeCrash, saying how `what` ended. Cancelled, it ends the child."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, "--parent", str(os.getpid()), *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(limit_s):
            printed, errors = await child.communicate()
    except TimeoutError as error:
        raise RuntimeCrash(f"{what} gave no answer in {limit_s:.0f} s") from error
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode:
        raise RuntimeCrash(f"{what} ended with {how_ended(child.returncode)} {last_line(errors)}".rstrip())
    answer: Mapping[str, Any] = json.loads(printed.splitlines()[-1])
    return answer


def say(answer: Mapping[str, Any]) -> None:
    """What the child prints at its end."""
    sys.stdout.write(json.dumps(answer) + "\n")
