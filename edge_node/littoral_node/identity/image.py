"""Makes a node's folder ready for an image of its disk: each machine that starts from the image becomes a node of its own.

Rules, in order:

1. What makes this node this node goes: key and certificate, names and counts, reports that wait, what it trained, its serving
   certificate, the state of its models. What no machine needs to load again stays: settings, artifacts, engines of runtimes, and
   the last good time.
2. node.json goes first: a folder that is half wiped is no node any more.
3. A join line that is left in the folder enrols each machine at its first start, and is deleted there. Its token has to be for as
   many machines.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from littoral_node.identity.files import sync_folder, write_atomic
from littoral_node.identity.folder import NodeFolder

FILES = (
    "node.json",
    "identity.json",
    "key.pem",
    "key.new.pem",
    "cert.pem",
    "ca.pem",
    "serving-cert.pem",
    "serving-key.pem",
    "state.json",
    "coordinators.json",
    "connections.json",
    "crashes.json",
    "memory.json",
    "serving.json",
    "samples.jsonl",
    "telemetry.spool",
)
FOLDERS = ("models", "blobs", "federation")


def own_parts(folder: NodeFolder) -> list[Path]:
    """What `wipe` removes of what is there."""

    def found() -> Iterator[Path]:
        for name in (*FILES, *FOLDERS):
            place = folder.root / name
            yield from (each for each in (place, place.with_name(f".{name}.new")) if each.exists())
        yield from sorted(folder.root.glob("*.damaged"))

    return list(found())


def wipe(folder: NodeFolder, join_line: str = "") -> list[str]:
    """Removes the node from its folder; gives the names of what went. Raises OSError.

    Args:
        join_line: for the first start; "": each machine is enrolled by hand.
    """
    parts = own_parts(folder)
    for part in parts:
        shutil.rmtree(part) if part.is_dir() else part.unlink()
    if join_line:
        write_atomic(folder.join_line, join_line.encode() + b"\n", mode=0o600)
    sync_folder(folder.root)
    return [part.name for part in parts]
