"""Long work that ends at its next step after a signal; the same command continues it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import typer

from littoral_cloud.terminal.output import notice

TERMINATED = 143
"""The exit status after SIGTERM; after SIGINT see littoral_cloud.cli.INTERRUPTED."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """The signals that came during long work. `stop` is set at the first."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.received: list[int] = []

    def note(self, number: int, _: FrameType | None) -> None:
        self.received.append(number)
        self.stop.set()
        for name in SIGNALS:
            signal.signal(name, signal.SIG_DFL)
        notice("stopping at the next step, with a checkpoint; a second signal ends it at once and loses nothing that is done")

    def leave(self) -> NoReturn:
        """Ends the command: after SIGTERM with status TERMINATED, else as an interrupt."""
        if self.received and self.received[0] == signal.SIGTERM:
            raise typer.Exit(TERMINATED) from None
        raise KeyboardInterrupt from None


@contextmanager
def stop_on_signal() -> Iterator[StopSignals]:
    """The first SIGINT or SIGTERM sets `stop`: the work ends at its next step, with a checkpoint. The second ends the process at
    once; the checkpoints until then stay valid, as after kill -9."""
    signals = StopSignals()
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    before = {number: signal.signal(number, signals.note) for number in SIGNALS}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
