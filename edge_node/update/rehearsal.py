"""Loads and probes an artifact in a process of its own: a runtime that crashes on it takes nothing else along.

    python -m edge_node.update.rehearsal --parent PID FOLDER    (FOLDER was verified by the parent)

Prints one JSON object: {} when it went well, {"code", "message"} when not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from littoral.errors import FleetError, RuntimeFailure

LIMIT_S = 120.0


class RuntimeCrash(RuntimeFailure):
    """The runtime took its whole process down, or hung, with this model."""

    code = "runtime-crash"


async def rehearse(folder: Path, threads: int) -> None:
    """Runs the child. Raises the failure that it reports, or RuntimeCrash."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "edge_node.update.rehearsal"),
        *("--parent", str(os.getpid()), "--threads", str(threads), str(folder)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(LIMIT_S):
            printed, errors = await child.communicate()
    except TimeoutError as error:
        raise RuntimeCrash(f"{folder.name[:12]}: was not loaded after {LIMIT_S:.0f} s") from error
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode:
        how = signal.Signals(-child.returncode).name if child.returncode < 0 else f"exit code {child.returncode}"
        last = errors.decode(errors="replace").strip().splitlines()[-1:]
        raise RuntimeCrash(f"{folder.name[:12]}: its runtime ended with {how} {' '.join(last)[:300]}")
    failure = json.loads(printed.splitlines()[-1])
    if failure:
        raise _failure(str(failure["code"]), str(failure["message"]))


def _failure(code: str, message: str) -> RuntimeFailure:
    """The child's error, with its own code."""
    error = RuntimeFailure(message)
    error.code = code  # type: ignore[misc]  # on this one error: the class is the child's
    return error


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m edge_node.update.rehearsal")
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    from littoral.child import die_with_parent

    die_with_parent(arguments.parent)
    os.nice(5)
    from edge_node.runtimes import load
    from edge_node.update.artifacts import ENVELOPE, payload_of
    from edge_node.update.probe import check_probe
    from littoral.manifest import Manifest

    failure: dict[str, str] = {}
    try:
        manifest = Manifest.decode(payload_of((arguments.folder / ENVELOPE).read_bytes()))
        model = load(manifest, arguments.folder, arguments.threads)
        check_probe(model, manifest)
        model.close()
    except FleetError as error:
        failure = {"code": error.code, "message": str(error)}
    sys.stdout.write(json.dumps(failure) + "\n")


if __name__ == "__main__":
    main()
