"""The results of a watched folder: a line of JSON for each image, which also records that the image is done.

A line is written and synced before its image moves, so a killed watcher continues: an image with a line is done, and at most
its move is left to do. A last line that was cut off does not count, and is removed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from littoral.errors import unwritten
from littoral_node.identity.files import append_synced

_MOST_LINE = 16 * 1024 * 1024


class FileVersion(NamedTuple):
    """One content of one file, by name, size and time of change: a file that is written again is another version."""

    name: str
    size: int
    changed_ns: int


class ResultLog:
    """Args:
    path: the file; its folder exists.
    most: bytes; a larger file is renamed to PATH.1, in place of the PATH.1 before it.
    """

    def __init__(self, path: Path, most: int) -> None:
        self._path = path
        self._most = most
        self._done: dict[FileVersion, dict[str, Any]] = {}

    def recover(self, there: Collection[FileVersion]) -> None:
        """Reads the lines of the images that are still there. Raises BadInput or NoSpace where the file fails."""
        try:
            self._path.touch()
            with self._path.open("rb+") as file:
                whole = 0
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    whole += len(line)
                    self._note(line, there)
                file.truncate(whole)
                os.fsync(file.fileno())
        except OSError as error:
            raise unwritten(f"--results {self._path}", error, hint="name a file that this user may write") from error

    def done(self, seen: FileVersion) -> Mapping[str, Any] | None:
        """The line of an image; None where it has none."""
        return self._done.get(seen)

    def write(self, seen: FileVersion, line: Mapping[str, Any]) -> None:
        """Writes a line and syncs it. Raises BadInput, NoSpace."""
        body = {**line, "seen": seen}
        try:
            if self._path.stat().st_size > self._most:
                self._turn_over()
            self._append([body])
        except OSError as error:
            raise unwritten(f"--results {self._path}", error, hint="name a file that this user may write") from error
        self._done[seen] = body

    def forget(self, there: Collection[FileVersion]) -> None:
        """Drops the lines of images that left the folder, so that memory is bounded by the folder."""
        self._done = {seen: line for seen, line in self._done.items() if seen in there}

    def _note(self, line: bytes, there: Collection[FileVersion]) -> None:
        for body in _bodies(line):
            try:
                name, size, changed = body["seen"]
                seen = FileVersion(str(name), int(size), int(changed))
            except (KeyError, TypeError, ValueError):
                continue  # a line of another program
            if seen in there:
                self._done[seen] = body

    def _turn_over(self) -> None:
        """Starts a new file with one line that carries the lines of all images in the folder: the old file may be deleted."""
        self._path.replace(self._path.with_name(self._path.name + ".1"))
        if self._done:
            self._append([{"carried": [{"seen": body["seen"], "label": body.get("label")} for body in self._done.values()]}])

    def _append(self, bodies: list[Mapping[str, Any]]) -> None:
        append_synced(self._path, "".join(json.dumps(body) + "\n" for body in bodies).encode())


def _bodies(line: bytes) -> Iterator[dict[str, Any]]:
    if len(line) > _MOST_LINE:
        return
    try:
        body = json.loads(line)
    except ValueError:
        return
    if isinstance(body, dict):
        carried = body.get("carried")
        yield from (each for each in carried if isinstance(each, dict)) if isinstance(carried, list) else (body,)
