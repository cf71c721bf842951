"""How a caller follows a search, stops it, and bounds its time."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from littoral_cloud.search.state import TrialRun
from littoral_cloud.training.resume import Tell
from littoral_cloud.training.schedule import ignore

TTL_S = 15.0
"""A worker that does not renew its lease for this long counts as dead, and another one gets its run."""

OnChange = Callable[[Sequence[TrialRun]], None]
"""Called with the runs in the journal whenever they have changed."""


@dataclass(frozen=True, slots=True)
class SearchControl:
    """What a search tells its caller, and what ends it.

    Args:
        watch: called when the journal has changed. tell: called with a sentence for the operator.
        stop: set it, and the search ends at the next training step, with a checkpoint.
        time_budget_s: seconds after which the search ends with the best so far; None: no limit.
        releasing: within that time, leave enough to make a release of what the search found (see worker.ends).
        clock: returns seconds.
        lease_s: a worker that does not renew its lease for this long counts as dead.
        every: training steps between two checkpoints.
    """

    watch: OnChange = ignore
    tell: Tell = ignore
    stop: threading.Event = field(default_factory=threading.Event)
    time_budget_s: float | None = None
    releasing: bool = False
    clock: Callable[[], float] = time.perf_counter
    lease_s: float = TTL_S
    every: int = 500

    def deadline(self, began: float) -> float:
        """By the clock; infinite without a time budget."""
        return math.inf if self.time_budget_s is None else began + self.time_budget_s
