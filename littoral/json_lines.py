"""JSON objects, one a line, in a bounded file: a full one becomes the old one, in the place of the one before."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO


def line_of(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, sort_keys=True).encode() + b"\n"


class JsonLines:
    """For one writer at a time; readers see whole lines. Nothing is synced: a power cut may take the last ones.

    Args:
        most: bytes of each of both files.
    """

    def __init__(self, place: Path, old: Path, most: int) -> None:
        self._place = place
        self._old = old
        self._most = most

    def add(self, lines: bytes) -> None:
        """Raises OSError."""
        if self._place.exists() and self._place.stat().st_size + len(lines) > self._most:
            self._place.replace(self._old)
        with self._place.open("ab+") as file:
            if file.tell() and _last_byte(file) != b"\n":  # a crash cut the last line
                lines = b"\n" + lines
            file.write(lines)

    def read(self) -> Iterator[dict[str, Any]]:
        """Oldest first. A line that a crash cut is passed over."""
        for place in (self._old, self._place):
            if not place.exists():
                continue
            with place.open("rb") as file:
                for line in file:
                    try:
                        yield dict(json.loads(line))
                    except ValueError:
                        continue


def _last_byte(file: BinaryIO) -> bytes:
    file.seek(-1, os.SEEK_END)
    return file.read(1)
