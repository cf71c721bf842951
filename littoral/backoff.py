"""Exponential backoff with full jitter: how long everything that tries again waits before it does.

Rules, in order:

1. The bound doubles with each attempt, from `first_s` up to `most_s`.
2. The pause is drawn evenly between 0 and the bound, so that many that failed together do not come back together
   (M. Brooker: Exponential Backoff And Jitter, AWS Architecture Blog, 2015).
3. Where one process alone tries again, as a supervisor of a command does, the bound itself is the pause.

Example: Backoff(0.5, 30.0) has the bounds 0.5, 1, 2, 4, 8, 16, 30, 30, ... seconds.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

_MOST_DOUBLINGS = 64  # 2.0 ** 1024 overflows


@dataclass(frozen=True, slots=True)
class Backoff:
    first_s: float
    most_s: float

    def bound_s(self, attempt: int) -> float:
        """Seconds; `attempt` counts from 0."""
        return min(self.most_s, self.first_s * 2.0 ** min(attempt, _MOST_DOUBLINGS))

    def pause_s(self, attempt: int, rng: random.Random, *, least_bound_s: float = 0.0) -> float:
        """Seconds before the next attempt.

        Args:
            attempt: counts from 0.
            least_bound_s: the bound is no smaller than this: over which time many shall come back.
        """
        return rng.uniform(0.0, max(self.bound_s(attempt), least_bound_s))
