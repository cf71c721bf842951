"""What the demo prints: a line for each event, a bar for long work, tables at the end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from littoral_cloud.demo.report import Report
from littoral_cloud.terminal.progress import ProgressLines


class Terminal:
    """Prints to one console. Never reads text from outside as markup."""

    def __init__(self, clock: Callable[[], float], *, quiet: bool = False) -> None:
        self._console = Console(quiet=quiet, highlight=False, stderr=True, width=_width(sys.stderr))
        self._quiet = quiet
        self._clock = clock
        self._started_at = clock()

    @property
    def seconds(self) -> float:
        return self._clock() - self._started_at

    def heading(self, title: str) -> None:
        self._console.print(Text(f"\n{title}", style="bold"))

    def message(self, text: str) -> None:
        self._console.print(Text(f"{self.seconds:6.1f} s  ", style="dim") + Text(text))

    @contextmanager
    def bar(self, title: str) -> Iterator[Callable[[float], None]]:
        """A progress bar, or lines where there is no terminal. Call the value with the share that is done, 0..1."""
        if not self._console.is_terminal:
            yield ProgressLines(title, self.message, self._clock)
            return
        title_column, share_column = TextColumn("{task.description}", markup=False), TextColumn("{task.percentage:>3.0f}%")
        columns = (title_column, BarColumn(), share_column, TimeElapsedColumn())
        with Progress(*columns, console=self._console, transient=True) as progress:
            task = progress.add_task(f"          {title}", total=1.0)
            yield lambda share: progress.update(task, completed=share)

    def summary(self, report: Report, broken: Mapping[str, str], *, answer: bool) -> None:
        """`answer`: the tables are the command's answer and go to standard output; else to standard error."""
        tables = _students(report), _nodes(report)
        if answer:
            Console(quiet=self._quiet, highlight=False, width=_width(sys.stdout)).print(*tables)
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
    nodes = Table(title="The fleet at the end", title_justify="left")
    for column in ("node", "budget", "student", "runtime", "p50 ms", "p95 ms", "agent MB", "requests", "failed"):
        nodes.add_column(column, justify="left" if column in ("node", "budget", "student", "runtime") else "right")
    for row in report.nodes:
        nodes.add_row(
            Text(row.name),
            Text(row.budget or "-"),
            Text(row.student),
            Text(row.runtime),
            f"{row.p50_ms:.3f}",
            f"{row.p95_ms:.3f}",
            f"{row.rss_bytes / 1e6:.0f}",
            str(row.requests),
            str(row.failed_requests),
        )
    return nodes


def _students(report: Report) -> Table:
    students = Table(title="Students", title_justify="left")
    for column in ("student", "architecture", "runtime", "accuracy", "worst class", "bytes", "parameters"):
        students.add_column(column, justify="left" if column in ("student", "architecture", "runtime") else "right")
    for student in report.students:
        students.add_row(
            Text(student.name),
            Text(student.architecture),
            Text(student.runtime),
            f"{student.accuracy:.2%}",
            Text("-" if student.worst_class is None else f"{student.worst_class:.2%} ({student.worst_label})"),
            f"{student.bytes:,}",
            f"{student.parameters:,}",
        )
    return students


def _width(stream: TextIO) -> int | None:
    """None: the terminal's own. A log file has no width."""
    return None if stream.isatty() else 120
