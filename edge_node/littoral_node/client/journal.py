"""The results of a watched folder: a line of JSON for each image, and with it the memory of what is done.

A line is written and synced before anything else happens to its image, so a watcher that is killed anywhere goes on where it was:
what has a line is done, whatever else was still to do. A last line that was cut off is none, and is cut away.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from littoral.errors import unwritten
from littoral_node.identity.folder import append_synced

_MOST_LINE = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Seen:
    """One content of one file, as far as a folder tells: a file that is written again is another one."""

    name: str
    size: int
    changed_ns: int

    def as_list(self) -> list[Any]:
        return [self.name, self.size, self.changed_ns]


class Journal:
    """Args:
    path: the file; its folder exists.
    most: bytes; a file that is larger becomes PATH.1, and the one that was PATH.1 goes.
    """

    def __init__(self, path: Path, most: int) -> None:
        self._path = path
        self._most = most
        self._done: dict[Seen, dict[str, Any]] = {}

    def recover(self, there: Collection[Seen]) -> None:
        """Reads what was done, of what is still there. Raises BadInput or NoSpace where it cannot be read or mended."""
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

    def done(self, seen: Seen) -> Mapping[str, Any] | None:
        """Its line, if it has one."""
        return self._done.get(seen)

    def write(self, seen: Seen, line: Mapping[str, Any]) -> None:
        """On the disk when this returns. Raises BadInput, NoSpace."""
        body = {**line, "seen": seen.as_list()}
        try:
            if self._path.stat().st_size > self._most:
                self._turn_over()
            self._append([body])
        except OSError as error:
            raise unwritten(f"--results {self._path}", error, hint="name a file that this user may write") from error
        self._done[seen] = body

    def forget(self, there: Collection[Seen]) -> None:
        """What is no longer in the folder: memory is bounded by what lies there."""
        self._done = {seen: line for seen, line in self._done.items() if seen in there}

    def _note(self, line: bytes, there: Collection[Seen]) -> None:
        for body in _bodies(line):
            try:
                name, size, changed = body["seen"]
                seen = Seen(str(name), int(size), int(changed))
            except (KeyError, TypeError, ValueError):
                continue  # a line of somebody else's
            if seen in there:
                self._done[seen] = body

    def _turn_over(self) -> None:
        """What is done of what lies there is carried into the new file, as one line: the old one may go."""
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
