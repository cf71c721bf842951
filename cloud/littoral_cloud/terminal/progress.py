"""How far long work is, on standard error: a bar where a terminal draws it, else a line now and then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

EVERY_S = 15.0
"""Between two lines, for logs and pipes."""


class Lines:
    """Told how much is done, 0..1, as often as one likes; says it every EVERY_S with an estimate of what is left."""

    def __init__(self, what: str, say: Callable[[str], object], clock: Callable[[], float]) -> None:
        self._what, self._say, self._clock = what, say, clock
        self._began = self._said = clock()
        self._first: float | None = None  # what was done already when it went on

    def __call__(self, share: float) -> None:
        now = self._clock()
        if self._first is None:
            self._first = share
        if now - self._said < EVERY_S:
            return
        self._said = now
        took, done = now - self._began, share - self._first
        left = f", about {took * (1 - share) / done:,.0f} s left" if done > 0 else ""
        self._say(f"{self._what}: {share:.0%} after {took:,.0f} s{left}")


@contextmanager
def shown(what: str, console: Console, clock: Callable[[], float]) -> Iterator[Callable[[float], None]]:
    """Gives what is to be told how much is done."""
    if not console.is_terminal:
        yield Lines(what, console.print, clock)
        return
    from rich.progress import Progress

    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(what, total=1.0)
        yield lambda share: progress.update(task, completed=share)
