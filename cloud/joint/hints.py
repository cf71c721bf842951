"""What nodes asked, as hints for the next training: DATA/hints/MODEL.jsonl, one JSON object a line, bounded.

Each says which node, model and artifact, what the node answered and what the teacher did, and how sure the node was. No input is
kept unless the coordinator was told to.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

_NEW, _OLD = ".jsonl", ".jsonl.old"
MOST_BYTES = 32_000_000
"""Of one file; a full one becomes MODEL.jsonl.old, in the place of the one before."""


class HintFiles:
    """For one process at a time; readers see whole lines."""

    def __init__(self, folder: Path, most_bytes: int = MOST_BYTES) -> None:
        self._folder = folder
        self._most = most_bytes

    def add(self, model: str, hints: Sequence[Mapping[str, Any]]) -> None:
        """Args:
        model: a name that was checked: it names the file.

        Raises OSError.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        place = self._folder / f"{model}{_NEW}"
        data = b"".join(json.dumps(hint, sort_keys=True).encode() + b"\n" for hint in hints)
        if place.exists() and place.stat().st_size + len(data) > self._most:
            place.replace(self._folder / f"{model}{_OLD}")
        with place.open("ab+") as file:
            if file.tell() and _last_byte(file) != b"\n":  # a crash cut the last line
                data = b"\n" + data
            file.write(data)

    def models(self) -> list[str]:
        return sorted({file.name.removesuffix(_OLD).removesuffix(_NEW) for file in self._folder.glob(f"*{_NEW}*")})

    def read(self, model: str) -> Iterator[dict[str, Any]]:
        """Oldest first. A line that a crash cut is passed over."""
        for place in (self._folder / f"{model}{_OLD}", self._folder / f"{model}{_NEW}"):
            if place.exists():
                yield from _lines(place)


def _last_byte(file: BinaryIO) -> bytes:
    file.seek(-1, os.SEEK_END)
    return file.read(1)


def _lines(place: Path) -> Iterator[dict[str, Any]]:
    with place.open("rb") as file:
        for line in file:
            try:
                yield dict(json.loads(line))
            except ValueError:
                continue
