"""Which event goes next, and when. Pure.

Rules, in order:

1. Events of one subject go one after another, in the order of the trail: the next one waits until the one before was delivered or
   given up. Events of different subjects do not wait for each other.
2. After a failure the pause doubles, from 2 s up to 10 minutes.
3. An event is given up a day after it happened.
4. The cursor is the last line before the oldest event that is still waiting. What was delivered behind it is delivered again
   after a crash: each has an id, by which the receiver knows it.

Example: rollout digits-2-r1 has three events, and the receiver answers 500. The first is tried again after 2, 4, 8 s; the other
two wait. An event of node camera goes out meanwhile.
"""

from __future__ import annotations

import random
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass

from littoral.backoff import Backoff
from littoral_cloud.fleet.ledger import AuditEntry

BACKOFF = Backoff(2.0, 600.0)
GIVE_UP_S = 86_400.0
MOST_WAITING = 1_000
"""Events in memory; the trail has the others."""


@dataclass(slots=True)
class _Subject:
    waiting: deque[AuditEntry]
    failures: int = 0
    due: float = 0.0


class Queue:
    """Of one webhook.

    Args:
        after: the trail's line up to which all is done.
        rng: for jitter.
    """

    def __init__(self, after: str, rng: random.Random) -> None:
        self._subjects: OrderedDict[str, _Subject] = OrderedDict()
        self._open: OrderedDict[str, None] = OrderedDict()  # ids that wait, in the order of the trail
        self._before: dict[str, str] = {}  # the line before each of them
        self._rng = rng
        self.read_to = after

    @property
    def room(self) -> int:
        return MOST_WAITING - len(self._open)

    @property
    def cursor(self) -> str:
        """Every line up to this one is done."""
        oldest = next(iter(self._open), None)
        return self.read_to if oldest is None else self._before[oldest]

    def read(self, entry: AuditEntry, *, wanted: bool) -> None:
        """The next line of the trail."""
        if wanted:
            self._subjects.setdefault(entry.subject, _Subject(deque())).waiting.append(entry)
            self._open[entry.id] = None
            self._before[entry.id] = self.read_to
        self.read_to = entry.id

    def due(self, now: float) -> Iterator[AuditEntry]:
        """The first event of each subject whose time has come."""
        return (each.waiting[0] for each in self._subjects.values() if each.due <= now)

    def too_old(self, entry: AuditEntry, now: float) -> bool:
        """Whether it is given up now, where it fails again."""
        return now - entry.at >= GIVE_UP_S

    def done(self, entry: AuditEntry) -> None:
        """It was delivered, or is given up."""
        subject = self._subjects[entry.subject]
        subject.waiting.popleft()
        subject.failures, subject.due = 0, 0.0
        if not subject.waiting:
            del self._subjects[entry.subject]
        del self._open[entry.id]
        del self._before[entry.id]

    def failed(self, entry: AuditEntry, now: float) -> None:
        subject = self._subjects[entry.subject]
        bound_s = BACKOFF.bound_s(subject.failures)
        subject.due = now + self._rng.uniform(bound_s / 2, bound_s)
        subject.failures += 1

    @property
    def next_at(self) -> float:
        """When the next event is due; infinite: none waits."""
        return min((each.due for each in self._subjects.values()), default=float("inf"))
