"""What one node may ask of its coordinator, over all its sessions: words a second, and lines in the audit trail a minute. Whoever
asks for more waits, or has it said in one line how many more there were; nobody else notices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from littoral_cloud.fleet.ledger import Audit, Change, Ledger, Take, Write

WORDS_A_SECOND = 32.0
WORDS_AT_ONCE = 512
"""A node that was away hands in what waited, and sends nothing like it afterwards."""
LINES_A_MINUTE = 60.0
LINES_AT_ONCE = 300
"""A rollout of every model that a node may have, at one time."""


@dataclass(slots=True)
class Bucket:
    """Fills by `rate` a second up to `most`. Times are seconds of one clock that never goes back."""

    rate: float
    most: int
    held: float = field(init=False)
    at: float | None = None

    def __post_init__(self) -> None:
        self.held = float(self.most)

    def left(self, now: float) -> int:
        """How many may be taken now."""
        if self.at is not None:
            self.held = min(float(self.most), self.held + (now - self.at) * self.rate)
        self.at = now
        return int(self.held)

    def take(self, count: int, now: float) -> float:
        """Takes so many, also where they are not there; gives after how many seconds they will have been."""
        self.left(now)
        self.held -= count
        return max(0.0, -self.held / self.rate)


@dataclass(frozen=True, slots=True)
class AllowedLines:
    """Of some lines, those that are written: the first ones, and one that says how many were left out since the last such."""

    lines: tuple[Audit, ...]
    left_out: int  # of these
    said: int  # that the line of those left out before counts


class NodeAllowance:
    """Of one node, for as long as this process lives.

    Args:
        clock: seconds; never goes back.
    """

    def __init__(self, node_id: str, clock: Callable[[], float]) -> None:
        self._node_id = node_id
        self._clock = clock
        self._words = Bucket(WORDS_A_SECOND, WORDS_AT_ONCE)
        self._lines = Bucket(LINES_A_MINUTE / 60.0, LINES_AT_ONCE)
        self._left_out = 0

    def word(self) -> float:
        """One more word came; after how many seconds the next may be read."""
        return self._words.take(1, self._clock())

    def told(self, lines: Sequence[Audit], *, at_last: bool = False) -> AllowedLines:
        """Which of these lines may be written; `written` counts them once they are.

        `at_last`: what was left out is said now, for the node has gone.
        """
        room = self._lines.left(self._clock())
        said = self._left_out if room > 0 or at_last else 0
        kept = tuple(lines[: max(0, room - (1 if said else 0))])
        left_out = len(lines) - len(kept)
        if said:
            kept = (Audit("audit.left-out", self._node_id, self._node_id, {"lines": said}), *kept)
        return AllowedLines(kept, left_out, said)

    def written(self, told: AllowedLines) -> None:
        self._lines.take(len(told.lines), self._clock())
        self._left_out += told.left_out - told.said

    @property
    def left_out(self) -> int:
        """Lines of which nothing is said yet."""
        return self._left_out


async def commit(
    ledger: Ledger, writes: tuple[Write | Take, ...], lines: Sequence[Audit], allowance: NodeAllowance | None
) -> None:
    """A change that a node's word makes, with as many lines as the node may have; None: all. Raises what Ledger.commit does."""
    if allowance is None:
        await ledger.commit(Change(writes, tuple(lines)))
        return
    told = allowance.told(lines)
    await ledger.commit(Change(writes, told.lines))
    allowance.written(told)


async def say_left_out(ledger: Ledger, allowance: NodeAllowance, *, at_last: bool = False) -> None:
    """Writes how many lines were left out, where there were any and the node may have one more."""
    if allowance.left_out and (told := allowance.told((), at_last=at_last)).lines:
        await ledger.commit(Change((), told.lines))
        allowance.written(told)
