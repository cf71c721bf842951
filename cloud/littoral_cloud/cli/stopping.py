"""Long work that is told to stop by a signal: it ends in good order, and the command says how to go on."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import typer

TERMINATED = 143
"""The exit status after SIGTERM; after SIGINT see littoral_cloud.cli.INTERRUPTED."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """What signals came while long work went on."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.signals: list[int] = []

    def note(self, number: int, _: FrameType | None) -> None:
        self.signals.append(number)
        self.stop.set()
        for name in SIGNALS:
            signal.signal(name, signal.SIG_DFL)
        typer.echo(
            "stopping at the next step, with a checkpoint there; once more ends it at once, nothing that is done is lost",
            err=True,
        )


@contextmanager
def stop_on_signal() -> Iterator[StopSignals]:
    """SIGINT and SIGTERM ask long work to end at its next step, with a checkpoint there. The second one ends the process at once:
    what was kept until then is whole, as after kill -9."""
    told = StopSignals()
    if threading.current_thread() is not threading.main_thread():
        yield told
        return
    before = {number: signal.signal(number, told.note) for number in SIGNALS}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
