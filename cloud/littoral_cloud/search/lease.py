"""A run's lease, kept by a thread while it trains, and all that may end the training before it is over."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from littoral.errors import FleetError
from littoral_cloud.search.store import SearchStore

TTL_S = 15.0
"""After so long without a word from its worker a run is given to another one."""

_LOOK_S = 0.2


@dataclass(slots=True)
class Interruption:
    """Over one run. `halt` is what training looks at; `why` says who set it."""

    halt: threading.Event = field(default_factory=threading.Event)
    why: str = ""  # "stop", "time" or "lease"
    error: FleetError | None = None  # why the lease could not be renewed

    def end(self, why: str) -> None:
        self.why = self.why or why
        self.halt.set()


@contextmanager
def kept(
    store: SearchStore,
    name: str,
    token: int,
    *,
    stop: threading.Event,
    deadline: float,
    clock: Callable[[], float],
    ttl_s: float = TTL_S,
) -> Iterator[Interruption]:
    """Renews a lease until the body is over, and gives it back.

    Args:
        stop: set it, and the body is told to halt.
        deadline: the same, by the clock.
    """
    watch, over = Interruption(), threading.Event()

    def keep() -> None:
        due = clock() + ttl_s / 3
        while not over.wait(_LOOK_S):
            if stop.is_set():
                watch.end("stop")
            if clock() >= deadline:
                watch.end("time")
            if clock() < due:
                continue
            due = clock() + ttl_s / 3
            try:
                if not store.renew(name, token, ttl_s):
                    return watch.end("lease")
            except FleetError as error:
                watch.error = error
                return watch.end("lease")

    keeper = threading.Thread(target=keep, name=f"lease {name}", daemon=True)
    keeper.start()
    try:
        yield watch
    finally:
        over.set()
        keeper.join()
        if watch.error is None:
            store.release(name, token)
