"""The progress of long work, on standard error: a bar on a terminal, else a line now and then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

EVERY_S = 15.0
"""Between two lines, in logs and pipes."""


class ProgressLines:
    """Call it with the share that is done, 0..1, at any rate; prints a line every EVERY_S, with the estimated time left."""

    def __init__(self, what: str, write: Callable[[str], object], clock: Callable[[], float]) -> None:
        self._what, self._write, self._clock = what, write, clock
        self._began = self._written = clock()
        self._first: float | None = None  # the share that an earlier process did

    def __call__(self, share: float) -> None:
        now = self._clock()
        if self._first is None:
            self._first = share
        if now - self._written < EVERY_S:
            return
        self._written = now
        took, done = now - self._began, share - self._first
        left = f", about {took * (1 - share) / done:,.0f} s left" if done > 0 else ""
        self._write(f"{self._what}: {share:.0%} after {took:,.0f} s{left}")


def error_console() -> Console:
    """Standard error as rich prints to it: plain words, no markup."""
    from rich.console import Console

    return Console(stderr=True, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def progress_of(
    what: str, console: Console, clock: Callable[[], float], write: Callable[[str], object] | None = None
) -> Iterator[Callable[[float], None]]:
    """Yields a function that takes the share that is done, 0..1. `write`: prints a line where there is no terminal."""
    if not console.is_terminal:
        yield ProgressLines(what, write or console.print, clock)
        return
    from rich.progress import Progress

    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(what, total=1.0)
        yield lambda share: progress.update(task, completed=share)
