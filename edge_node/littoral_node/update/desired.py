"""All models of this node: compares what should be with what is, and says what is. Levels, not commands: anything may be
lost, repeated or late.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence

from littoral.digest import check_digest
from littoral.errors import BadInput, FleetError
from littoral.fleet.v1 import session_pb2
from littoral_node.identity.files import Damaged, unsaid
from littoral_node.identity.folder import NodeFolder
from littoral_node.link.blobs import NodeBlobs
from littoral_node.supervision.crashes import PROVED_S
from littoral_node.update.job import Kit
from littoral_node.update.journal import UpdateJournal
from littoral_node.update.state import Findings, ProbationPolicy
from littoral_node.update.updater import ModelUpdater

MOST_MODELS = 64
_AHEAD = 256


class Generation:
    """Grows with every change, over restarts too. The disk holds a bound that is always ahead, so few changes write to it.

    It begins at the clock's milliseconds where those are ahead of the bound: a folder whose bound was lost, or that was put back
    from a copy, must not say what the cloud takes for old. A clock that is behind does no harm.
    """

    def __init__(self, folder: NodeFolder, now: float, damaged: Damaged = unsaid) -> None:
        self._folder = folder
        self._bound = self.value = max(folder.reported_generation(damaged), int(now * 1000))

    def grow(self) -> None:
        self.value += 1
        if self.value > self._bound:
            self._bound = self.value + _AHEAD
            self._folder.keep_reported_generation(self._bound)


class Updates:
    """Args:
    on_change: called when `reported` gives something new.
    now: seconds since 1970 at the start.
    beside: what else is wrong with this node; in words, to be reported as well.
    """

    def __init__(
        self,
        folder: NodeFolder,
        kit: Kit,
        blobs: NodeBlobs,
        on_change: Callable[[], None],
        *,
        now: float,
        beside: Callable[[], Sequence[str]] = list,
    ) -> None:
        self._folder = folder
        self._kit = kit
        self._blobs = blobs
        self._on_change = on_change
        self._beside = beside
        self._machines: dict[str, ModelUpdater] = {}
        self._generation = Generation(folder, now, kit.damaged)
        self._desired: session_pb2.DesiredState | None = None
        self._observed = 0
        self._refused = ""  # what of the desired state makes no sense
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        kit.usage.follow(self._here)

    @property
    def machines(self) -> Mapping[str, ModelUpdater]:
        """By model."""
        return self._machines

    async def start(self) -> None:
        """Serves what was proved before."""
        self._loop = asyncio.get_running_loop()
        self._kit.watchdog.follow(self._hung)
        machines = [self._machine(name) for name in self._folder.model_names()]
        crashes = self._kit.crashes.reopen({machine.model: digest for machine in machines if (digest := machine.trying())})
        for machine in machines:
            await machine.start(crashes.get(machine.model))
        self._changed()

    def want(self, desired: session_pb2.DesiredState) -> None:
        """Takes what should be; `run` acts on the newest."""
        self._desired = desired
        self._wake.set()

    async def run(self) -> None:
        """Goes on with what was under way, then follows what is wanted, until cancelled. Call it once requests are answered:
        a model that takes the agent down must not keep the old one from serving.
        """
        for machine in list(self._machines.values()):
            await machine.resume()
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._desired is not None:
                await self._reconcile(self._desired)
            for machine in list(self._machines.values()):
                if not machine.busy:
                    await machine.in_service.mend(there=self._desired is not None)
            self._sweep()

    async def prove(self) -> None:
        """Writes down which models have served well for a while, until cancelled: what happens to the agent later is not counted
        against them."""
        while True:
            await self._kit.sleep(PROVED_S / 2)
            self._kit.crashes.proved(
                {name: digest for name, machine in self._machines.items() if (digest := machine.in_service.proved())}
            )

    def _hung(self, name: str, digest: str) -> None:
        """From the watchdog's thread."""
        if (machine := self._machines.get(name)) is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(machine.hung, digest)

    async def drain(self) -> None:
        for machine in self._machines.values():
            await machine.drain()
        self._kit.crashes.ended()

    def problems(self) -> list[str]:
        """What is wrong with models of this node, or with what is wanted of it; in words."""
        machines = self._machines.values()
        said = [
            self._refused,
            *(machine.in_service.problem for machine in machines),
            *(machine.in_service.troubles.incident for machine in machines),
        ]
        return [words for words in said if words]

    def reported(self) -> session_pb2.ReportedState:
        state = session_pb2.ReportedState(
            generation=self._generation.value,
            observed_generation=self._observed,
            problem="; ".join([*self._beside(), *self.problems()])[:1000],
        )
        for name, machine in self._machines.items():
            measured = self._kit.usage
            usage = session_pb2.Usage(memory_bytes=measured.memory_bytes(name), disk_bytes=measured.disk_bytes(machine.digests()))
            state.models[name].CopyFrom(_reported_model(machine, usage))
        return state

    def _here(self) -> dict[str, set[str]]:
        """Models that are on this node or coming to it, and what each needs on the disk."""
        return {
            name: digests
            for name, machine in self._machines.items()
            if (digests := machine.digests()) or machine.in_service.digest
        }

    async def _reconcile(self, desired: session_pb2.DesiredState) -> None:
        wishes = sorted(desired.models.items())
        problems = [words for words in await asyncio.gather(*(self._wish(name, model) for name, model in wishes)) if words]
        if (desired.generation, "; ".join(problems)) != (self._observed, self._refused):
            self._observed, self._refused = desired.generation, "; ".join(problems)
            self._changed()

    async def _wish(self, name: str, model: session_pb2.DesiredModel) -> str:
        """What of it makes no sense; "": it is followed. Each model by itself: a slow one holds up no other."""
        try:
            check_digest(model.manifest_digest, f"desired.models[{name[:40]!r}].manifest_digest")
            await self._machine(name).want(model.manifest_digest, model.generation, _policy_from(model.probation))
        except BadInput as error:
            return str(error)
        return ""

    def _machine(self, name: str) -> ModelUpdater:
        """Raises BadInput where the name cannot be a model's, or where there are too many."""
        if name not in self._machines:
            if len(self._machines) >= MOST_MODELS:
                raise BadInput(f"model {name[:40]!r}: this node serves {MOST_MODELS} already")
            self._machines[name] = ModelUpdater(
                name, UpdateJournal(self._folder.model(name), self._kit.damaged), self._kit, self._changed
            )
        return self._machines[name]

    def _changed(self) -> None:
        try:
            self._generation.grow()
        except OSError as error:  # a full disk: the bound is written with a later change
            self._kit.log("state-not-written", detail=str(error))
        self._on_change()
        self._wake.set()

    def _sweep(self) -> None:
        """Deletes artifacts that nobody wants, and, while nothing is fetched, what is left of downloads."""
        if self._desired is None:  # what is to be measured is not known yet
            return
        wanted = {name for machine in self._machines.values() for name in machine.digests()}
        trials = {digest for digest in self._desired.benchmarks if _is_digest(digest)}
        gone = self._kit.artifacts.sweep(wanted | trials)
        if not trials and not any(machine.busy for machine in self._machines.values()):
            gone += self._blobs.sweep(())
        if gone:
            self._kit.log("swept", count=len(gone))


def _is_digest(text: str) -> bool:
    try:
        check_digest(text)
    except FleetError:
        return False
    return True


def _policy_from(policy: session_pb2.ProbationPolicy) -> ProbationPolicy:
    """Raises BadInput where a number is none; a day is the longest probation."""
    values = {field: getattr(policy, field) for field in ("duration_s", "max_accuracy_drop", "max_failure_rate")}
    for field, value in values.items():
        if not math.isfinite(value) or not 0 <= value <= 86_400:
            raise BadInput(f"desired.probation.{field}: {value} is not a number from 0 to 86400")
    return ProbationPolicy(**values)


def _reported_model(machine: ModelUpdater, usage: session_pb2.Usage) -> session_pb2.ReportedModel:
    held = machine.in_service
    model = session_pb2.ReportedModel(
        serving_manifest_digest=held.digest,
        previous_manifest_digest=held.previous,
        crashes=held.crashes,
        hangs=held.troubles.hangs,
        incident=held.troubles.incident,
        usage=usage,
    )
    if (update := machine.update) is None:
        return model
    last = session_pb2.ReportedModel(
        state=f"UPDATE_STATE_{update.state}",
        desired_generation=update.generation,
        target_manifest_digest=update.manifest_digest,
        reason=update.reason,
        detail=update.detail,
    )
    model.MergeFrom(last)
    if update.findings is not None:
        model.probation.CopyFrom(_findings_to(update.findings))
    return model


def _findings_to(findings: Findings) -> session_pb2.ProbationResult:
    return session_pb2.ProbationResult(
        accuracy=findings.accuracy,
        previous_accuracy=findings.previous_accuracy,
        examples=findings.examples,
        requests=findings.requests,
        failed_requests=findings.failed_requests,
    )
