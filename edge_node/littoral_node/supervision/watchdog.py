"""Ends inferences that hang in the agent's own process.

A thread looks at what runs, four times in the time that one inference may take, and asks the runtime to end what is older: ONNX
Runtime does between two of a model's operations. Where a runtime cannot (ncnn), or does not within as long again, nothing but the
end of the process helps: the crash record names the model, and the service manager starts the agent again.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar, runtime_checkable

from littoral.errors import RuntimeFailure
from littoral_node.runtimes import Array, Model, Tensor
from littoral_node.runtimes.ended import RuntimeHang

_LOOKS = 4
X = TypeVar("X")
Y = TypeVar("Y")


@runtime_checkable
class Stoppable(Protocol):
    """A model whose runtime can end what it does."""

    def stop(self) -> None:
        """Ends every inference that runs now, from another thread; each raises RuntimeFailure."""
        ...


class GuardedModel:
    """A model whose inferences are watched; see `Watchdog.guard`."""

    def __init__(self, model: Model, limit_s: float, hung: Callable[[], None], gone: Callable[[GuardedModel], None]) -> None:
        self._model = model
        self._limit_s = limit_s
        self._hung = hung
        self._gone = gone
        self._running: dict[int, float] = {}  # when each thread's inference began
        self._ended: set[int] = set()  # threads whose inference was asked to end

    def infer(self, x: Tensor) -> Tensor:
        return self._watched(self._model.infer, x)

    def run(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        return self._watched(self._model.run, feeds)

    def close(self) -> None:
        self._gone(self)
        self._model.close()

    def look(self, now: float) -> bool:
        """Ends what is too old. True where it was asked to end long ago and runs on."""
        old = [thread for thread, began in tuple(self._running.copy().items()) if now - began >= self._limit_s]
        fresh = [thread for thread in old if thread not in self._ended]
        if fresh:
            self._ended.update(fresh)
            self._hung()
            if not isinstance(self._model, Stoppable):
                return True
            self._model.stop()
        return any(now - self._running.get(thread, now) >= 2 * self._limit_s for thread in old)

    def _watched(self, infer: Callable[[X], Y], given: X) -> Y:
        thread = threading.get_ident()
        self._running[thread] = time.monotonic()
        try:
            return infer(given)
        except RuntimeFailure as error:
            if thread not in self._ended:
                raise
            raise RuntimeHang(f"an inference took longer than {self._limit_s:g} s", hint="it was ended") from error
        finally:
            del self._running[thread]
            self._ended.discard(thread)


class Watchdog:
    """Args:
    limit_s: what one inference may take.
    last_words: called from the watchdog's thread with model and manifest digest where nothing helps, before the process ends.
    """

    def __init__(self, limit_s: float, last_words: Callable[[str, str], None]) -> None:
        self._limit_s = limit_s
        self._last_words = last_words
        self._hung: Callable[[str, str], None] = lambda model, digest: None
        self._guarded: dict[GuardedModel, tuple[str, str]] = {}
        self._thread: threading.Thread | None = None
        self._over = threading.Event()

    def follow(self, hung: Callable[[str, str], None]) -> None:
        """Args:
        hung: called from the watchdog's thread with model and manifest digest for each inference that is ended.
        """
        self._hung = hung

    def guard(self, name: str, digest: str, model: Model) -> GuardedModel:
        guarded = GuardedModel(model, self._limit_s, lambda: self._hung(name, digest), self._leave)
        self._guarded[guarded] = (name, digest)
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
            self._thread.start()
        return guarded

    def close(self) -> None:
        self._over.set()

    def _leave(self, guarded: GuardedModel) -> None:
        self._guarded.pop(guarded, None)

    def _watch(self) -> None:
        while not self._over.wait(self._limit_s / _LOOKS):
            for guarded, (name, digest) in tuple(self._guarded.copy().items()):
                if guarded.look(time.monotonic()):
                    try:
                        self._last_words(name, digest)
                    finally:  # a full disk must not keep a stuck agent alive
                        os._exit(RuntimeFailure.exit_code)
