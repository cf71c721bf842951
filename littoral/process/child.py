"""The child's side of a worker: `serve` is the main of every one. See littoral/process for the rules."""

from __future__ import annotations

import argparse
import os
import resource
import select
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from littoral.errors import FleetError
from littoral.process.frames import Array, BadFrame, packed, receive, send
from littoral.process.limits import ChildLimits, bound
from littoral.process.tether import die_with_parent

Answer = Callable[[dict[str, Any], dict[str, Array]], tuple[Mapping[str, Any], Mapping[str, Array]]]
"""(head, arrays) of a call to those of its reply. Raises FleetError where the call cannot be answered; the child lives on."""

_STACK = 1 << 18


def serve(prepare: Callable[[dict[str, Any]], tuple[Answer, Mapping[str, Any]]]) -> None:
    """Answers calls until the parent ends this process.

    Args:
        prepare: from settings to what answers calls, and what READY says. Raises FleetError where it cannot be ready.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--line", type=int, required=True)
    parser.add_argument("--most", type=int, required=True)
    parser.add_argument("--parent", type=int)
    arguments = parser.parse_args()
    if arguments.parent is not None:
        die_with_parent(arguments.parent)
    _end_with(arguments.line)
    os.dup2(2, 1)  # nothing that libraries print gets lost
    with socket.socket(fileno=arguments.line) as line:
        try:
            head, _ = receive(line, arguments.most)
            ChildLimits(**head["limits"]).apply()
            answer, about = _prepared(line, prepare, head["settings"])
            send(line, packed({"call": 0, **about}, {}, arguments.most))
            while True:
                head, arrays = receive(line, arguments.most)
                send(line, _reply(answer, head, arrays, arguments.most))
        except (BadFrame, OSError):  # the parent has ended this child, or has gone
            return


def _prepared(line: socket.socket, prepare: Callable[[Any], tuple[Answer, Mapping[str, Any]]], settings: Any) -> Any:
    try:
        return prepare(settings)
    except FleetError as error:
        send(line, packed({"call": 0, **_as_head(error)}, {}, 0))
        raise SystemExit(1) from error


def _reply(answer: Answer, head: dict[str, Any], arrays: dict[str, Array], most: int) -> list[memoryview]:
    number = {"call": head.pop("call")}
    try:
        body, answers = answer(head, arrays)
        return packed({**number, **body}, answers, most)
    except FleetError as error:
        return packed({**number, **_as_head(error)}, {}, most)


def _as_head(error: FleetError) -> dict[str, str]:
    return {"code": error.code, "message": error.message[:2_000], "hint": error.hint[:2_000]}


def _end_with(line: int) -> None:
    """Ends this process when the parent's end of the line is closed, also in the middle of a call.

    Covers a parent that started it from a thread (the kernel's signal would follow that thread), and systems without the signal.
    """

    watched = select.poll()
    watched.register(os.dup(line), 0)  # hang-ups are reported always; a copy, for `serve` closes its own

    def wait() -> None:
        watched.poll()
        os._exit(1)

    before = threading.stack_size(_STACK)
    threading.Thread(target=wait, name="parent", daemon=True).start()
    threading.stack_size(before)


def memory() -> dict[str, int]:
    """The fields of /proc/self/status that are sizes; bytes. Empty where there is no such file."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return {}
    words = (line.split() for line in lines if line.startswith(("Vm", "Rss")))
    return {name.rstrip(":"): int(kilobytes) * 1024 for name, kilobytes, _ in words}


def allow_memory(more: int) -> None:
    """Bounds what this process may allocate on top of what it has: an allocation fails, the machine is not filled.

    Not beside an NVIDIA device: its driver's own mappings count as allocated, many times what a model takes.
    """
    allocated = memory().get("VmData")
    if allocated is not None and not Path("/dev/nvidiactl").exists():  # None: not Linux
        bound(resource.RLIMIT_DATA, allocated + more)
