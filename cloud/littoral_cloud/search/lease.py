"""Renews the lease of a run in a thread while it trains, and interrupts the training when it must end early."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from littoral.errors import FleetError
from littoral_cloud.search.control import SearchControl
from littoral_cloud.search.store import SearchStore

_LOOK_S = 0.2


@dataclass(slots=True)
class Interruption:
    """Of one run. Training ends when `halt` is set; `why` is the first reason."""

    halt: threading.Event = field(default_factory=threading.Event)
    why: str = ""  # "stop", "time" or "lease"
    error: FleetError | None = None  # why the lease could not be renewed

    def end(self, why: str) -> None:
        self.why = self.why or why
        self.halt.set()


@contextmanager
def renewed(store: SearchStore, name: str, token: int, control: SearchControl, deadline: float) -> Iterator[Interruption]:
    """Renews a lease until the body ends, and then releases it.

    Args:
        control: its `stop`, `clock` and `lease_s`. deadline: by that clock, when the body must end.
    """
    interruption, over = Interruption(), threading.Event()

    def renew() -> None:
        due = control.clock() + control.lease_s / 3
        while not over.wait(_LOOK_S):
            if control.stop.is_set():
                interruption.end("stop")
            if control.clock() >= deadline:
                interruption.end("time")
            if control.clock() < due:
                continue
            due = control.clock() + control.lease_s / 3
            try:
                if not store.renew(name, token, control.lease_s):
                    return interruption.end("lease")
            except FleetError as error:
                interruption.error = error
                return interruption.end("lease")

    renewer = threading.Thread(target=renew, name=f"lease {name}", daemon=True)
    renewer.start()
    try:
        yield interruption
    finally:
        over.set()
        renewer.join()
        if interruption.error is None:
            store.release(name, token)
