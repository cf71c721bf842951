"""What one node may ask of its coordinator, over all its sessions: messages per second, and lines in the audit trail per minute.

The coordinator reads the next message of a node over its limit later. Of lines over the limit it writes one that counts them.
Other nodes are not affected.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from littoral_cloud.fleet.ledger import Audit, Change, CommittedChange, Ledger, Take, Write

MESSAGES_PER_SECOND = 32.0
MESSAGES_AT_ONCE = 512
"""A node that was away hands in what waited, and sends nothing like it afterwards."""
LINES_PER_MINUTE = 60.0
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
        """Takes `count`, also where fewer are left; gives the seconds until they would have been there."""
        self.left(now)
        self.held -= count
        return max(0.0, -self.held / self.rate)


@dataclass(frozen=True, slots=True)
class AllowedLines:
    """Of some lines, those to write: the first ones, and one that counts the lines left out since the last such line."""

    lines: tuple[Audit, ...]
    left_out: int  # of these
    counted: int  # earlier left out lines, which one of `lines` counts


class NodeAllowance:
    """Of one node, for as long as this process lives.

    Args:
        clock: seconds; never goes back.
    """

    def __init__(self, node_id: str, clock: Callable[[], float]) -> None:
        self._node_id = node_id
        self._clock = clock
        self._messages = Bucket(MESSAGES_PER_SECOND, MESSAGES_AT_ONCE)
        self._lines = Bucket(LINES_PER_MINUTE / 60.0, LINES_AT_ONCE)
        self._left_out = 0

    def message(self) -> float:
        """One more message came; gives the seconds until the next may be read."""
        return self._messages.take(1, self._clock())

    def allowed(self, lines: Sequence[Audit], *, at_last: bool = False) -> AllowedLines:
        """Which of these lines may be written. Call `written` after the write.

        Args:
            at_last: the node has gone: the lines left out are counted now.
        """
        room = self._lines.left(self._clock())
        counted = self._left_out if room > 0 or at_last else 0
        first = tuple(lines[: max(0, room - (1 if counted else 0))])
        left_out = len(lines) - len(first)
        if counted:
            first = (Audit("audit.left-out", self._node_id, self._node_id, {"lines": counted}), *first)
        return AllowedLines(first, left_out, counted)

    def written(self, allowed: AllowedLines) -> None:
        self._lines.take(len(allowed.lines), self._clock())
        self._left_out += allowed.left_out - allowed.counted

    @property
    def left_out(self) -> int:
        """Lines left out that no line in the trail counts yet."""
        return self._left_out


async def commit(
    ledger: Ledger, writes: tuple[Write | Take, ...], lines: Sequence[Audit], allowance: NodeAllowance | None
) -> CommittedChange:
    """Commits what a node's message changes, with as many lines as its allowance has; None: all.

    Raises what Ledger.commit raises.
    """
    if allowance is None:
        return await ledger.commit(Change(writes, tuple(lines)))
    allowed = allowance.allowed(lines)
    committed = await ledger.commit(Change(writes, allowed.lines))
    allowance.written(allowed)
    return committed


async def count_left_out(ledger: Ledger, allowance: NodeAllowance, *, at_last: bool = False) -> None:
    """Writes how many lines were left out, where there were any and the node may have one more."""
    if allowance.left_out and (allowed := allowance.allowed((), at_last=at_last)).lines:
        await ledger.commit(Change((), allowed.lines))
        allowance.written(allowed)
