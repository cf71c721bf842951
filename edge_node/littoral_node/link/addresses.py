"""The coordinators of the fleet: where this node enrolled, and those that the last Welcome named. They lie in
DIR/coordinators.json, so that a node finds another one after a restart, too.

A coordinator that sends the node away, or cannot be reached, sends it elsewhere: to one of the others, drawn by chance, so that
the nodes of a coordinator that ends are spread over all that are left. Where only one is known, it is asked again. A session that
only broke comes back to the same one first.

Example: enrolled at a:7444; a Welcome names a:7444, b:7444 and c:7444. a drains: the next stream goes to b or c.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from littoral.errors import FleetError
from littoral_node.identity.files import put_aside, read_record, write_record

MOST = 16
"""Addresses that are remembered."""
_LONGEST = 300


@dataclass(frozen=True, slots=True)
class NamedCoordinators:
    """HOST:PORT of each fleet listener, and of each enrolment listener, that the last Welcome named."""

    addresses: tuple[str, ...] = ()
    enrolment: tuple[str, ...] = ()


class FleetAddresses:
    """Args:
    path: of the file.
    """

    def __init__(self, path: Path, rng: random.Random, log: Callable[..., None]) -> None:
        self._path = path
        self._rng = rng
        self._log = log
        self._current = ""  # "": where it enrolled
        self._known = NamedCoordinators()
        try:
            self._known = read_record(NamedCoordinators, path) or NamedCoordinators()
        except (FleetError, OSError) as error:
            log("file-damaged", file=path.name, detail=str(error))
            put_aside(path)

    def current(self, enrolled: str) -> str:
        """Where to open a channel. `enrolled`: the address from the enrolment."""
        return self._current if self._current in self._known.addresses else enrolled

    @property
    def enrolment(self) -> tuple[str, ...]:
        """Of enrolment listeners; empty: of a node that enrolled and never came."""
        return self._known.enrolment

    def learn(self, addresses: Iterable[str], enrolment: Iterable[str] = ()) -> None:
        """What a Welcome names, or an enrolment; an older cloud names none."""
        known = NamedCoordinators(_bounded(addresses) or self._known.addresses, _bounded(enrolment) or self._known.enrolment)
        if known == self._known:
            return
        self._known = known
        try:
            write_record(self._path, known)
        except OSError as error:
            self._log("not-written", file=self._path.name, detail=str(error))

    def elsewhere(self, enrolled: str) -> None:
        """The current one cannot be had."""
        current = self.current(enrolled)
        if others := [address for address in dict.fromkeys((enrolled, *self._known.addresses)) if address != current]:
            self._current = self._rng.choice(others)


def _bounded(addresses: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(address for address in addresses if 0 < len(address) <= _LONGEST))[:MOST]
