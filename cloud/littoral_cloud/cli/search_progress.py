"""The progress of a search: its front, the accuracy and the time left; as lines where there is no terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from littoral_cloud.search import SearchRecipe
    from littoral_cloud.search.state import TrialRun


class SearchProgress:
    """Call it with the runs of the search after each change.

    Args:
        seconds: the time budget; None: without one.
        clock: returns seconds.
    """

    def __init__(
        self, console: Console, plan: SearchRecipe, budget: str, seconds: float | None, clock: Callable[[], float]
    ) -> None:
        from rich.live import Live

        from littoral.budget import Budget
        from littoral_cloud.search.estimate import runs_on_rungs

        settings = plan.settings
        self._console, self._settings, self._budget = console, settings, Budget.parse(budget)
        self._live = Live(console=console, transient=True, auto_refresh=False) if console.is_terminal else None
        starts = len(plan.starts) * len(settings.rungs)
        self._runs = starts + sum(runs_on_rungs(settings.trials, settings.batch, len(settings.rungs)))
        self._clock, self._began, self._seconds = clock, clock(), seconds
        self._first: tuple[float, int] | None = None  # the time of the first call with trials, and how many were done then
        self._printed: set[tuple[int, int]] = set()
        self._front_printed = ""

    def __enter__(self) -> SearchProgress:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def __call__(self, runs: Sequence[TrialRun]) -> None:
        from littoral_cloud.search.state import valid

        counted = valid(runs)
        done = {key: run for key, run in counted.items() if run.state in ("done", "failed")}
        if self._first is None and counted:
            self._first = self._clock(), len(done)
            self._printed = set(done)
        line = f"{len(done)} of at most {self._runs} runs done{self._left(len(done))}"
        if self._live:
            self._live.update(self._table(runs, line), refresh=True)
            return
        for key in sorted(set(done) - self._printed):
            self._console.print(f"{_line(done[key])}; {line}")
        if set(done) - self._printed and (found := self._front(runs)) != self._front_printed:
            self._console.print(f"  front: {found}")
            self._front_printed = found
        self._printed |= set(done)

    def _left(self, done: int) -> str:
        """The time until the time budget or, at the pace so far, the trials end."""
        now, left = self._clock(), []
        if self._seconds is not None:
            left.append(self._began + self._seconds - now)
        if self._first is not None and done > self._first[1]:
            since, before = self._first
            left.append((now - since) / (done - before) * (self._runs - done))
        return f", at most {length(max(0.0, min(left)))} left" if left else ""

    def _front(self, runs: Sequence[TrialRun]) -> str:
        from littoral_cloud.search.front import non_dominated
        from littoral_cloud.search.state import costs, finished

        done = finished(runs, self._settings)
        best = [done[i] for i in non_dominated([costs(run, ("accuracy", "bytes")) for run in done])]
        found = sorted([(run.number, run.outcome) for run in best if run.outcome], key=lambda pair: pair[1].transfer_bytes)
        return ", ".join(f"{o.accuracy:.1%} in {o.transfer_bytes:,} bytes (trial {n})" for n, o in found) or "nothing yet"

    def _table(self, runs: Sequence[TrialRun], line: str) -> Table:
        from rich.table import Table
        from rich.text import Text

        from littoral.budget import excesses
        from littoral_cloud.search.state import front

        table = Table(title=Text(line), title_justify="left")
        for name in ("trial", "accuracy", "bytes that travel", "MACs", "p95 ms", "fits"):
            table.add_column(name, justify="right")
        for run in front(runs, self._settings):
            if (o := run.outcome) is not None:
                fits = "no" if excesses(o.measured(""), self._budget) else "yes"
                cells = (str(run.number), f"{o.accuracy:.2%}", f"{o.transfer_bytes:,}", f"{o.macs:,}", f"{o.p95_ms:.3f}", fits)
                table.add_row(*map(Text, cells))
        return table


def length(seconds: float) -> str:
    """A duration for people."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min" if seconds < 6_000 else f"{seconds / 3600:.1f} h"


def _line(run: TrialRun) -> str:
    if run.outcome is None:
        return f"trial {run.number}: failed"
    o = run.outcome
    return f"trial {run.number}: {o.accuracy:.1%}, worst class {o.worst_class:.1%}, {o.transfer_bytes:,} bytes"
