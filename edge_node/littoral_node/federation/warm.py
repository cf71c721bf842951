"""The agent's end of the warm training process: federation/worker.py is its child. Imports neither torch nor flwr.

A process of its own: training may crash or run out of memory without touching inference. Warm: torch is imported once, not in
every round.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from littoral.errors import FleetError
from littoral.process.aio import AsyncWorker
from littoral.process.limits import ChildLimits, training_environment
from littoral.process.on_demand import OnDemand
from littoral.process.worker import Raised, WorkerSpec
from littoral.transport import MAX_BLOB_BYTES

NICE = 5
"""Training yields the processor to inference."""
READY_S = 240.0
"""Bounds a start on a machine with much else to do."""


def trains(log: Callable[..., None]) -> bool:
    """Whether what a worker needs is installed; logs what is missing. Nothing of it is imported."""
    missing = [name for name in ("torch", "flwr") if importlib.util.find_spec(name) is None]
    if missing:
        log("no-federated-runs", detail=f"{' and '.join(missing)} not installed: pip install 'littoral[edge-train]'")
    return not missing


class WorkerDied(FleetError):
    """The training process ended in the middle of its work: a crash, or the kernel out of memory."""

    code = "worker-died"
    retryable = True


class TrainingFailed(FleetError):
    """The training process is well but could not do this work; its code says why."""

    code = "training-failed"


class WarmWorker(OnDemand):
    """Starts the process with the first message, and again with the next one after it has ended.

    Args:
        labelled: folder of the node's labelled examples.
        state: folder for Flower's files and worker.log, the stderr of the process.
    """

    def __init__(self, labelled: Path, state: Path, *, ready_s: float = READY_S) -> None:
        self._labelled = labelled
        self._state = state
        self._ready_s = ready_s
        super().__init__(self._started)

    async def train(self, message: bytes) -> bytes:
        """The reply to one Flower message, both as bytes. Cancelled, it ends the process.

        Raises:
            WorkerDied: it ended before it answered. TrainingFailed: it answered that it could not.
        """
        _, arrays = await self.call({}, {"message": np.frombuffer(message, np.uint8)}, limit_s=None)
        return arrays["reply"].tobytes()

    async def _started(self) -> AsyncWorker:
        self._state.mkdir(parents=True, exist_ok=True)
        return await AsyncWorker.start(
            WorkerSpec(
                "littoral_node.federation.worker",
                {"labelled": str(self._labelled)},
                what="training process",
                raised=Raised(WorkerDied, WorkerDied, (TrainingFailed,)),
                limits=ChildLimits(nice=NICE),
                most_bytes=MAX_BLOB_BYTES,
                environment=training_environment(os.environ, self._state / "flwr"),
                log=self._state / "worker.log",
            ),
            self._ready_s,
        )
