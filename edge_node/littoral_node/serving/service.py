"""What a node's REST and gRPC interfaces have in common: the Open Inference Protocol without a transport.

Both ask the same `Service` for the same things, so a request means the same over both, waits in the same bounded queue, and is
refused in the same words.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from littoral import __version__
from littoral.errors import FleetError, NotFound, RuntimeFailure, Unavailable
from littoral.manifest import Manifest
from littoral_node.runtimes.ended import BadValues
from littoral_node.serving.concurrency import ConcurrencyLimiter, Split, TooManyRequests, evenly
from littoral_node.serving.http.errors import HttpError
from littoral_node.serving.inference import BATCH, Inference
from littoral_node.serving.results import InferenceResult
from littoral_node.serving.slots import Slots
from littoral_node.serving.tensors import Asked, metadata
from littoral_node.telemetry.counting import TelemetryWindows

MAX_BODY_BYTES = 8 * 1024 * 1024
MAX_IN_FLIGHT = 256
EXTENSIONS = ("binary_tensor_data", "model_repository")
READY, UNAVAILABLE = "READY", "UNAVAILABLE"
T = TypeVar("T")

_SERVERS_FAULT = (RuntimeFailure, Unavailable)


class Forbidden(FleetError):
    """The caller may not do this here."""

    code = "forbidden"


@dataclass(frozen=True, slots=True)
class RepositoryEntry:
    """One model of the repository. `reason` says why it is not ready."""

    name: str
    version: str
    state: str  # READY, UNAVAILABLE
    reason: str = ""


class Repository(Protocol):
    """The models that this node holds, served or not."""

    def entries(self) -> Sequence[RepositoryEntry]: ...

    async def load(self, name: str) -> None:
        """Serves it again; one that is served stays as it is.

        Raises NotFound; Conflict where an update of it is under way; RuntimeFailure, Unavailable where it cannot be loaded.
        """
        ...

    async def unload(self, name: str) -> None:
        """Takes it out, once its last request has ended; its memory is given back. One that is not served stays so.

        Raises NotFound; Conflict where an update of it is under way.
        """
        ...


class OnlyServed(Repository):
    """What the slots hold, and nothing else: for a node without a folder, which cannot load or unload."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots

    def entries(self) -> Sequence[RepositoryEntry]:
        held = ((name, self._slots.get(name)) for name in self._slots.names())
        return [RepositoryEntry(name, served.manifest_digest, READY) for name, served in held if served is not None]

    async def load(self, name: str) -> None:
        raise Forbidden(f"model: {name[:80]!r} cannot be loaded: this server has no repository")

    async def unload(self, name: str) -> None:
        raise Forbidden(f"model: {name[:80]!r} cannot be unloaded: this server has no repository")


OffloadCall = Callable[[str, Manifest, InferenceResult], Awaitable[InferenceResult]]
"""Of a model's name, what it serves and its answer: the answer that is given."""


class Service:
    """For one event loop.

    Args:
        max_in_flight: requests that are read or answered at one time, over all protocols; TooManyRequests refuses further ones.
        batch: examples of several requests that may go through a model together; 1: never.
        split: how many of them each model may have; None: even parts.
        repository: None: the index lists what is served; load and unload are refused.
    """

    def __init__(
        self,
        slots: Slots,
        telemetry: TelemetryWindows,
        *,
        max_in_flight: int = MAX_IN_FLIGHT,
        repository: Repository | None = None,
        split: Split | None = None,
        batch: int = BATCH,
    ) -> None:
        self.slots = slots
        self.telemetry = telemetry
        self.inference = Inference(slots, telemetry, batch=batch)
        self.offload: OffloadCall | None = None  # may give another answer: offload
        self.problems: Callable[[], Sequence[str]] = list  # the problems of this node, as text
        self._concurrency = ConcurrencyLimiter(slots, split or evenly(max_in_flight))
        self.repository = repository or OnlyServed(slots)
        self.max_in_flight = max_in_flight
        self._in_flight = 0
        self._reader: ThreadPoolExecutor | None = None

    def enter(self) -> None:
        """Counts a request as in flight, from before its body is read to its answer. Raises TooManyRequests at the limit."""
        if self._in_flight >= self.max_in_flight:
            raise TooManyRequests(f"{self._in_flight} requests are in flight, as many as are taken", hint="try again in a second")
        self._in_flight += 1

    @property
    def in_flight(self) -> int:
        """Requests that are read or answered now."""
        return self._in_flight

    def leave(self) -> None:
        """Ends what `enter` began."""
        self._in_flight -= 1

    def about(self) -> dict[str, Any]:
        return {"name": "littoral-node", "version": __version__, "extensions": list(EXTENSIONS)}

    def health(self, **state: object) -> dict[str, object]:
        """The state, and the problems of this node if it has some."""
        return {**state, "problems": problems} if (problems := list(self.problems())) else state

    def ready(self) -> bool:
        return bool(self.slots.names())

    def model(self, name: str, version: str = "") -> dict[str, Any]:
        """Metadata of a model. Raises NotFound."""
        self.check_version(name, version)
        with self.slots.lease(name) as served:
            return metadata(name, served.manifest, served.manifest_digest)

    def check_version(self, name: str, version: str = "") -> None:
        """Raises NotFound where the model, or the version that is asked for, is not served. "": any."""
        served = self.slots.get(name)
        if served is None:
            raise NotFound(
                f"model: {name[:80]!r} is not served here", hint=f"served are {', '.join(self.slots.names()) or 'none'}"
            )
        if version and version != served.manifest_digest:
            raise NotFound(f"version: {version[:80]!r} of {name} is not served", hint=f"served is {served.manifest_digest}")

    async def infer(self, name: str, asked: Asked, version: str = "") -> InferenceResult:
        """See Inference.answer. Raises NotFound for another version, too; TooManyRequests where the model's quota is in use."""
        if version:
            self.check_version(name, version)
        with self._concurrency.of(name):
            answer = await self.inference.answer(name, asked)
            if self.offload is None:
                return answer
            served = self.slots.get(name)
            if served is None or served.manifest_digest != answer.manifest_digest:
                return answer
            return await self.offload(name, served.manifest, answer)

    def refused(self, model: str, error: FleetError | HttpError) -> None:
        """Counts a request for inference that was not answered because of the client, or because the node is busy."""
        if (isinstance(error, BadValues) or not isinstance(error, _SERVERS_FAULT)) and self.slots.get(model) is not None:
            self.telemetry.refuse(model, error.code)

    def index(self, *, ready: bool) -> list[RepositoryEntry]:
        """Args:
        ready: only what is served.
        """
        return [entry for entry in self.repository.entries() if entry.state == READY or not ready]

    async def beside(self, work: Callable[..., T], *given: Any) -> T:
        """Runs long work on a request or an answer in a thread, one piece at a time, so that the event loop keeps a core."""
        if self._reader is None:
            self._reader = ThreadPoolExecutor(1, thread_name_prefix="large requests")
        return await asyncio.get_running_loop().run_in_executor(self._reader, work, *given)

    def close(self) -> None:
        self.inference.close()
        if self._reader is not None:
            self._reader.shutdown()
            self._reader = None
