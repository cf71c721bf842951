"""Decodes what travelled coded, in a process of its own: decoding takes tens of megabytes for a moment, which an agent of less
than 100 MB does not have, and bytes that were made to break the decoder break a child.

`unpack` is the parent's side; run as a module it is the child, which answers {"files": [[source, place, limit], ...]} with {}, or
with {"errno", "message"} where the disk fails.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from littoral.codec import decode_file
from littoral.codec_errors import BadCoding, codec_errors
from littoral.errors import TooLarge
from littoral.process.aio import AsyncWorker
from littoral.process.child import Answer, serve
from littoral.process.limits import ChildLimits
from littoral.process.worker import Raised, WorkerSpec
from littoral_node.runtimes.ended import RuntimeCrash

LIMIT_S = 600.0
"""The decoder bounds its work; this ends a child that the machine itself has stopped."""
_NICE = 5


@dataclass(frozen=True, slots=True)
class Coded:
    """`source` gives the file at `place`, of at most `limit` bytes."""

    source: Path
    place: Path
    limit: int


async def unpack(files: Sequence[Coded], *, limit_s: float = LIMIT_S) -> None:
    """Decodes each file and has it on the disk. What is left at their places after an error is the caller's to delete.

    Raises TooLarge, BadCoding, OSError, and RuntimeCrash where the child went down. Cancelled, it ends the child.
    """
    if not files:
        return
    worker = await AsyncWorker.start(
        WorkerSpec(
            "littoral_node.artifacts.unpack",
            {},
            what=f"coded bytes: decoding {', '.join(file.place.name for file in files)}",
            raised=Raised(RuntimeCrash, RuntimeCrash, (BadCoding, TooLarge)),
            limits=ChildLimits(nice=_NICE),
        ),
        limit_s,
    )
    try:
        listed = [[str(file.source), str(file.place), file.limit] for file in files]
        failure, _ = await worker.call({"files": listed}, {}, limit_s=limit_s)
    finally:
        worker.end()
    if failure:
        raise OSError(failure.get("errno"), failure.get("message"))


def prepare(settings: dict[str, Any]) -> tuple[Answer, dict[str, Any]]:
    def answer(head: dict[str, Any], arrays: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        try:
            for source, place, limit in head["files"]:
                with codec_errors():
                    decode_file(Path(source), Path(place), limit=limit)
                with Path(place).open("rb") as decoded:
                    os.fsync(decoded.fileno())
        except OSError as error:
            return {"errno": error.errno, "message": error.strerror}, {}
        return {}, {}

    return answer, {}


if __name__ == "__main__":
    serve(prepare)
