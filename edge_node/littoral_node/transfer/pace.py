"""How fast downloads may go."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Pace:
    """A token bucket: how long to wait so that `rate` bytes a second are not passed. None: no limit."""

    rate: float | None
    _debt: float = 0.0
    _at: float | None = None

    def wait_s(self, count: int, now: float) -> float:
        """Seconds to wait before `count` more bytes are asked for, at `now` seconds of a monotonic clock."""
        if self.rate is None:
            return 0.0
        if self._at is not None:
            self._debt = max(0.0, self._debt - (now - self._at) * self.rate)
        self._at = now
        self._debt += count
        return max(0.0, (self._debt - self.rate * 0.1) / self.rate)  # a tenth of a second may come at once
