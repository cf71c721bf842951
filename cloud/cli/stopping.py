"""Long work that is told to stop by a signal: it ends in good order, and the command says how to go on."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

TERMINATED = 143
"""The exit status after SIGTERM; after SIGINT see cloud.cli.INTERRUPTED."""


class Told:
    """What signals came while long work went on."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.signals: list[int] = []

    def note(self, number: int, _: FrameType | None) -> None:
        self.signals.append(number)
        self.stop.set()


@contextmanager
def told_to_stop() -> Iterator[Told]:
    """SIGINT and SIGTERM ask long work to end at its next step, with a checkpoint there."""
    told = Told()
    if threading.current_thread() is not threading.main_thread():
        yield told
        return
    before = {number: signal.signal(number, told.note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
