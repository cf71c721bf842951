"""What the sessions of this process did, since its start."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

LEFT = "LEFT"
"""In place of a refusal's reason: the node ended it, or its connection broke."""


@dataclass(slots=True)
class SessionCounts:
    """Reasons are littoral.fleet.v1.RefusalReason's names, or LEFT; kinds those of a ConnectRequest."""

    opened: int = 0
    ended: Counter[str] = field(default_factory=Counter)  # by reason
    refused: Counter[str] = field(default_factory=Counter)  # before they were open; by reason
    messages: Counter[str] = field(default_factory=Counter)  # by kind

    def over(self, was_open: bool, reason: str | None) -> None:
        """A session has ended. `reason`: of the refusal that it got; None: it got none."""
        (self.ended if was_open else self.refused)[reason or LEFT] += 1
