"""Loads and probes an artifact in a process of its own: a runtime that crashes on it takes nothing else along.

    python -m edge_node.update.rehearsal --parent PID FOLDER    (FOLDER was verified by the parent)

Prints one JSON object: {} when it went well, {"code", "message"} when not.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from edge_node.update.child import answer_of, say
from littoral.errors import FleetError, RuntimeFailure

LIMIT_S = 120.0


async def rehearse(folder: Path, threads: int) -> None:
    """Runs the child. Raises the failure that it reports, or RuntimeCrash."""
    what = f"{folder.name[:12]}: its runtime"
    arguments = ("--threads", str(threads), str(folder))
    failure = await answer_of("edge_node.update.rehearsal", *arguments, what=what, limit_s=LIMIT_S)
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
    say(failure)


if __name__ == "__main__":
    main()
