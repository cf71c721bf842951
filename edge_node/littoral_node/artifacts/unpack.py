"""Decodes what travelled coded, in a process of its own: decoding takes tens of megabytes for a moment, which an agent of less
than 100 MB has not got, and bytes that were made to break the decoder break a child.

    python -m littoral_node.artifacts.unpack --parent PID SOURCE PLACE LIMIT [SOURCE PLACE LIMIT ...]

Prints one JSON object: {} when it went well, {"code", "message", "hint"} or {"errno", "message"} when not.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from littoral.codec import decode_file
from littoral.codec_errors import BadCoding, codec_errors
from littoral.errors import TooLarge
from littoral_node.artifacts.child import answer_of, say

LIMIT_S = 600.0  # the work is bounded by the decoder; this ends a child that the machine itself has stopped


@dataclass(frozen=True, slots=True)
class Coded:
    """`source` gives the file at `place`, of at most `limit` bytes."""

    source: Path
    place: Path
    limit: int


async def unpack(files: Sequence[Coded]) -> None:
    """Decodes each file and has it on the disk. What is left at their places after an error is the caller's to delete.

    Raises TooLarge, BadCoding, OSError, and RuntimeCrash where the child went down.
    """
    if not files:
        return
    what = f"coded bytes: decoding {', '.join(file.place.name for file in files)}"
    arguments = [word for file in files for word in (str(file.source), str(file.place), str(file.limit))]
    failure = await answer_of("littoral_node.artifacts.unpack", *arguments, what=what, limit_s=LIMIT_S)
    if "errno" in failure:
        raise OSError(failure["errno"], failure["message"])
    if failure:
        kind = TooLarge if failure["code"] == TooLarge.code else BadCoding
        raise kind(failure["message"], hint=failure["hint"])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m littoral_node.artifacts.unpack")
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("files", nargs="+")
    arguments = parser.parse_args()
    from littoral.child import die_with_parent

    die_with_parent(arguments.parent)
    os.nice(5)
    words = iter(arguments.files)
    try:
        for source, place, limit in zip(words, words, words, strict=True):
            with codec_errors():
                decode_file(Path(source), Path(place), limit=int(limit))
            with Path(place).open("rb") as decoded:
                os.fsync(decoded.fileno())
    except (BadCoding, TooLarge) as error:
        say(error.as_dict())
    except OSError as error:
        say({"errno": error.errno, "message": error.strerror})
    else:
        say({})


if __name__ == "__main__":
    main()
