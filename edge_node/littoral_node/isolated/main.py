"""Loads one model, tries it on its probe, and answers for it over a socket, in a process of its own.

    python -m littoral_node.isolated.main --parent PID --line FD --threads N --memory BYTES FOLDER

FOLDER holds an artifact that the parent has verified. Says {"ok": true, "memory_bytes"} once the model is loaded and right on the
probe, or {"code", "message"} and ends. Then answers every frame, {"do": "infer" | "run"} with the inputs, by one with the outputs
or with {"code", "message"}; ends with the line.
"""

from __future__ import annotations

import argparse
import os
import resource
import socket
from contextlib import suppress
from pathlib import Path

from littoral.child import die_with_parent
from littoral.errors import FleetError
from littoral.manifest import Manifest
from littoral_node.artifacts.envelope import ENVELOPE, payload_of
from littoral_node.artifacts.probe import check_probe
from littoral_node.isolated.frames import Broken, receive, send
from littoral_node.machine.memory import settle
from littoral_node.measuring.measure import added, memory, reset_peak
from littoral_node.runtimes import Array, Model, opened, version

_OWN = 64_000_000
_A_THREAD = 16_000_000
"""Memory that a child may take beside its model's: what the interpreter allocates, stacks."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m littoral_node.isolated.main")
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--line", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--memory", type=int, required=True)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    die_with_parent(arguments.parent)
    _expendable()
    with socket.socket(fileno=arguments.line) as line:
        try:
            manifest = Manifest.decode(payload_of((arguments.folder / ENVELOPE).read_bytes()))
            _import_within(manifest.runtime, arguments.memory + _OWN + _A_THREAD * arguments.threads)
            model, taken = _loaded(manifest, arguments.folder, arguments.threads)
            settle()
        except FleetError as error:
            send(line, {"code": error.code, "message": str(error)})
            return
        send(line, {"ok": True, "memory_bytes": taken})
        _serve(line, model)


def _loaded(manifest: Manifest, folder: Path, threads: int) -> tuple[Model, int]:
    """A model that is right on its probe, and the bytes that it added at its peak.

    It is loaded once before, uncounted: what the runtime's library takes at its first use is no model's.
    """
    first = opened(manifest, folder, threads)
    check_probe(first, manifest)
    first.close()
    settle()
    reset_peak()
    before = memory()
    model = opened(manifest, folder, threads)
    check_probe(model, manifest)
    return model, added(before, memory())


def _serve(line: socket.socket, model: Model) -> None:
    while True:
        try:
            head, arrays = receive(line)
        except Broken:  # the parent wants no more, or has gone
            return
        answers: dict[str, Array] = {}
        words = {}
        try:
            answers = {"": model.infer(arrays[""])} if head["do"] == "infer" else dict(model.run(arrays))
        except FleetError as error:
            words = {"code": error.code, "message": error.message}
        except MemoryError:
            words = {"code": "runtime-failure", "message": "the memory that it may take is not enough"}
        send(line, words, answers)


def _import_within(runtime: str, more: int) -> None:
    """Imports the runtime's library and bounds what may be allocated on top: an allocation fails, the machine is not filled.

    Not beside an NVIDIA device: its driver's own mappings count as allocated, many times what the model takes.
    """
    try:
        version(runtime)
    except (ImportError, KeyError):
        return  # `opened` says it better
    held = memory().get("VmData")
    if held is None or Path("/dev/nvidiactl").exists():  # not Linux, or not to be told
        return
    _bound(resource.RLIMIT_DATA, held + more)


def _expendable() -> None:
    """When memory is short the kernel takes this process before any other; when it crashes, no dump of it is written: that takes
    seconds, and the agent hears of the end only then. A limit of 1 says so to a program that takes dumps, too (core(5))."""
    with suppress(OSError):  # not Linux, or a sandbox without a /proc that can be written: the limit below stays
        Path("/proc/self/oom_score_adj").write_text("1000")
    _bound(resource.RLIMIT_CORE, 1)
    os.umask(0o077)


def _bound(kind: int, wanted: int) -> None:
    """Never over what this process may have at most."""
    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


if __name__ == "__main__":
    main()
