"""How many sessions this node has opened, over restarts. A copy of the disk counts on from the same number, and that shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from littoral.errors import FleetError
from littoral_node.identity.files import Damaged, ignore_damage, put_aside, read_record, write_record


@dataclass(frozen=True, slots=True)
class OpenedSessions:
    """connections.json."""

    count: int = 0


class ConnectionCount:
    """Args:
    path: of connections.json.
    """

    def __init__(self, path: Path, log: Callable[..., None], damaged: Damaged = ignore_damage) -> None:
        self._path = path
        self._log = log
        self._count = 0
        try:
            self._count = (read_record(OpenedSessions, path) or OpenedSessions()).count
        except (FleetError, OSError) as error:
            damaged(path, error)
            put_aside(path)

    def next(self) -> int:
        """The number of the session that is opened now; on the disk before it is sent."""
        self._count += 1
        self._write()
        return self._count

    def at_least(self, count: int) -> None:
        """The cloud knows of that many."""
        if count > self._count:
            self._count = count
            self._write()

    def _write(self) -> None:
        try:
            write_record(self._path, OpenedSessions(self._count))
        except OSError as error:  # at the next start it looks like a copy, until the cloud has told the count
            self._log("not-written", file=self._path.name, detail=str(error))
