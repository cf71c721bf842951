"""A model that runs in a process of its own, behind the Protocol of every model.

When its runtime crashes, hangs or takes all memory there, the agent lives: the request that was in it gets RuntimeCrash or
RuntimeHang, and `gone` returns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from littoral.errors import FleetError, RuntimeFailure
from littoral.process.limits import ChildLimits
from littoral.process.worker import BlockingWorker, Raised, WorkerSpec
from littoral_node.runtimes import Array, Tensor
from littoral_node.runtimes.ended import BadValues, RuntimeCrash, RuntimeHang

LOAD_S = 120.0
_RAISED = Raised(RuntimeCrash, RuntimeHang, (RuntimeFailure, BadValues))


class IsolatedModel:
    """Made by `open_isolated`, in an event loop's thread: the child ends with that thread.

    `infer` and `run` block until the child has answered: call them in a thread that may wait.

    Args:
        limit_s: the child is ended when one inference takes longer.
    """

    def __init__(self, folder: Path, threads: int, *, memory: int, limit_s: float) -> None:
        self._name = folder.name[:12]
        self._limit_s = limit_s
        self._closed = False
        self._gone = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.memory_bytes = 0  # that the model added there, at its peak; 0: not known
        self._worker = BlockingWorker(
            WorkerSpec(
                "littoral_node.isolated.main",
                {"folder": str(folder.resolve()), "threads": threads, "memory": memory},
                what=f"{self._name}: its runtime",
                raised=_RAISED,
                limits=ChildLimits(killed_first=True),
                on_end=self._ended,
            )
        )

    @property
    def pid(self) -> int:
        return self._worker.pid

    async def gone(self) -> FleetError:
        """Waits until the child has ended by itself, or was ended because it hung; gives why."""
        await self._gone.wait()
        return self._worker.why_ended()

    def infer(self, x: Tensor) -> Tensor:
        answers = self._call("infer", {"": x})
        if list(answers) != [""] or answers[""].dtype != np.float32 or answers[""].ndim != 2 or len(answers[""]) != len(x):
            self._worker.end()
            self._has_gone()
            raise RuntimeCrash(f"{self._name}: the process of its runtime answers with no logits", hint="it was ended")
        return answers[""]

    def run(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        return self._call("run", feeds)

    def close(self) -> None:
        self._closed = True
        self._worker.end()

    def wait_loaded(self, limit_s: float) -> None:
        """Blocks until the model is loaded and right on its probe. Raises what the child found, RuntimeCrash, RuntimeHang."""
        taken = self._worker.ready(limit_s).get("memory_bytes")
        self.memory_bytes = taken if type(taken) is int and taken >= 0 else 0

    def _call(self, what: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
        try:
            return self._worker.call({"do": what}, arrays, limit_s=self._limit_s)[1]
        except (RuntimeCrash, RuntimeHang):  # its caller may close this before `_ended` is called
            self._has_gone()
            raise

    def _ended(self) -> None:
        """Called in a thread."""
        if not self._closed:
            self._has_gone()

    def _has_gone(self) -> None:
        with suppress(RuntimeError):  # the loop is closed: nothing waits there any more
            self._loop.call_soon_threadsafe(self._gone.set)


async def open_isolated(folder: Path, threads: int, *, memory: int, limit_s: float, load_s: float = LOAD_S) -> IsolatedModel:
    """A model that was loaded in a child and is right on its probe; `folder` holds its verified artifact.

    Args:
        memory: bytes that the model may take.

    Raises RuntimeFailure or ProbeMismatch as the child found, RuntimeCrash, RuntimeHang. Cancelled, it ends the child.
    """
    model = IsolatedModel(folder, threads, memory=memory, limit_s=limit_s)
    loading = asyncio.ensure_future(asyncio.to_thread(model.wait_loaded, load_s))
    try:
        await asyncio.shield(loading)
    except BaseException:
        await asyncio.to_thread(model.close)
        await asyncio.gather(loading, return_exceptions=True)
        raise
    return model
