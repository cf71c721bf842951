"""What the demo prints: a line for each event, a bar for long work, tables at the end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from littoral_cloud.demo.report import Report
from littoral_cloud.terminal.progress import progress_of


class Terminal:
    """Prints to one console. Never reads text from outside as markup."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._console = Console(highlight=False, stderr=True, width=_width(sys.stderr))
        self._clock = clock
        self._started_at = clock()

    @property
    def seconds(self) -> float:
        return self._clock() - self._started_at

    def heading(self, title: str) -> None:
        self._console.print(Text(f"\n{title}", style="bold"))

    def message(self, text: str) -> None:
        self._console.print(Text(f"{self.seconds:6.1f} s  ", style="dim") + Text(text))

    def link(self, address: str) -> None:
        """On a line of its own, whole however narrow the terminal is."""
        self._console.print(Text(address), soft_wrap=True)

    def bar(self, title: str) -> AbstractContextManager[Callable[[float], None]]:
        """A progress bar, or lines where there is no terminal. Call the value with the share that is done, 0..1."""
        return progress_of(title, self._console, self._clock, self.message)

    def summary(self, report: Report, broken: Mapping[str, str], *, answer: bool) -> None:
        """`answer`: the tables are the command's answer and go to standard output; else to standard error."""
        tables = _students(report), _nodes(report)
        if answer:
            Console(highlight=False, width=_width(sys.stdout)).print(*tables)
        else:
            self._console.print(*tables)
        teacher, drift, federation = report.teacher, report.drift, report.federation
        self.message(f"teacher {teacher.accuracy:.2%} with {teacher.parameters:,} parameters in {teacher.seconds:.0f} s")
        if drift is not None and federation is not None:
            self.message(
                f"drift on {', '.join(drift.detected) or 'no node'}: live accuracy {drift.accuracy_before:.1%} before, "
                f"{drift.accuracy_during:.1%} during, {drift.accuracy_after:.1%} after {federation.rounds} rounds"
            )
        for rollout in report.rollouts:
            waves = " | ".join(", ".join(wave) for wave in rollout.waves) or "no wave"
            self.message(f"release {rollout.release} ({rollout.kind}): {rollout.state} [{waves}] {rollout.reason}")
        for why in dict.fromkeys(report.skipped.values()):
            names = ", ".join(name for name, reason in report.skipped.items() if reason == why)
            self.message(f"not checked: {names}: {why}")
        for words in broken.values():
            self._console.print(Text(f"failed check: {words}", style="bold red"))
        if not broken:
            self._console.print(Text(f"Every check passed, in {report.seconds:.0f} s.", style="bold green"))


def _nodes(report: Report) -> Table:
    words = ("node", "budget", "student", "runtime")
    numbers = ("p50 ms", "p95 ms", "agent MB", "requests", "failed")
    rows = [
        (
            *(row.name, row.budget or "-", row.student, row.runtime),
            *(
                f"{row.p50_ms:.3f}",
                f"{row.p95_ms:.3f}",
                f"{row.rss_bytes / 1e6:.0f}",
                str(row.requests),
                str(row.failed_requests),
            ),
        )
        for row in report.nodes
    ]
    return _table("The fleet at the end", words, numbers, rows)


def _students(report: Report) -> Table:
    words = ("student", "architecture", "runtime")
    numbers = ("accuracy", "worst class", "bytes", "parameters")
    rows = []
    for row in report.students:
        worst = "-" if row.worst_class is None else f"{row.worst_class:.2%} ({row.worst_label})"
        figures = f"{row.accuracy:.2%}", worst, f"{row.bytes:,}", f"{row.parameters:,}"
        rows.append((row.name, row.architecture, row.runtime, *figures))
    return _table("Students", words, numbers, rows)


def _table(title: str, words: Sequence[str], numbers: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """`words`, `numbers`: the columns, those of numbers flush right."""
    table = Table(title=title, title_justify="left")
    for column in (*words, *numbers):
        table.add_column(column, justify="right" if column in numbers else "left")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _width(stream: TextIO) -> int | None:
    """None: the terminal's own. A log file has no width."""
    return None if stream.isatty() else 120
