"""All models of this node: compares the desired state with what is there, and reports what is there.

Both are levels, not commands, each with a generation: messages may be lost, repeated or late. `set_desired` takes the newest
level, `run` reconciles every model with it, `reported` gives the level that goes back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

from littoral.digest import check_digest
from littoral.errors import BadInput, FleetError
from littoral.fleet.v1 import session_pb2
from littoral.transport import LONGEST_DEFERRAL_S, LONGEST_PROBATION_S
from littoral_node.identity.files import Damaged
from littoral_node.identity.folder import NodeFolder
from littoral_node.supervision.failures import PROVED_S
from littoral_node.telemetry.counting import TelemetryWindows
from littoral_node.transfer.blobs import NodeBlobs
from littoral_node.update.growing import EVIDENCE_EVERY_S
from littoral_node.update.job import Kit
from littoral_node.update.journal import UpdateJournal
from littoral_node.update.state import ProbationPolicy, S
from littoral_node.update.updater import ModelUpdater

MOST_MODELS = 64
_AHEAD = 256


class Generation:
    """Grows with every change, over restarts too. The disk holds a bound that is always ahead, so few changes write to it.

    It starts at the clock's milliseconds where those are ahead of the bound: a folder whose bound was lost, or that was restored
    from a copy, must not send what the cloud takes for old. A clock that is behind does no harm.
    """

    def __init__(self, folder: NodeFolder, now: float, damaged: Damaged) -> None:
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
    beside: other problems of this node, to be reported as well.
    """

    def __init__(
        self,
        kit: Kit,
        blobs: NodeBlobs,
        on_change: Callable[[], object],
        *,
        now: float,
        beside: Callable[[], Sequence[str]] = list,
    ) -> None:
        self._kit = kit
        self._blobs = blobs
        self._on_change = on_change
        self._beside = beside
        self._updaters: dict[str, ModelUpdater] = {}
        self._generation = Generation(kit.folder, now, kit.damaged)
        self._desired: session_pb2.DesiredState | None = None
        self._observed = 0
        self._refused = ""  # why parts of the desired state are refused
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        kit.usage.follow(self._here)

    @property
    def updaters(self) -> Mapping[str, ModelUpdater]:
        """By model."""
        return self._updaters

    async def start(self) -> None:
        """Serves what this node has proved before."""
        self._loop = asyncio.get_running_loop()
        self._kit.watchdog.follow(self._hung)
        updaters = [self._updater(name) for name in self._kit.folder.model_names()]
        crashes = self._kit.crashes.reopen({updater.model: digest for updater in updaters if (digest := updater.trying())})
        for updater in updaters:
            await updater.start(crashes.get(updater.model))
        self._changed()

    def set_desired(self, desired: session_pb2.DesiredState) -> None:
        """`run` reconciles the models with the newest one."""
        self._desired = desired
        self._wake.set()

    async def run(self) -> None:
        """Continues the updates that were under way, then follows the desired state, until cancelled. Call it when requests are
        answered: a model that crashes the agent must not keep the old one from serving.
        """
        for updater in list(self._updaters.values()):
            await updater.resume()
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._desired is not None:
                await self._reconcile(self._desired)
            for updater in list(self._updaters.values()):
                if not updater.busy:
                    await updater.in_service.mend(reachable=self._desired is not None)
            self._sweep()

    async def prove(self) -> None:
        """Records which models have proved themselves, until cancelled: a later crash of the agent does not count against
        them."""
        while True:
            await asyncio.sleep(PROVED_S / 2)
            self._kit.crashes.proved(
                {name: digest for name, updater in self._updaters.items() if (digest := updater.in_service.proved())}
            )

    async def report_evidence(self) -> None:
        """Reports what the gates of the cloud ask for, as it grows, until cancelled."""
        while True:
            await asyncio.sleep(EVIDENCE_EVERY_S)
            now, counters = self._kit.monotonic(), self._kit.counters
            if any(each.trial is not None and each.trial.grown(counters, now) for each in self._updaters.values()):
                self._changed()

    def _hung(self, name: str, digest: str) -> None:
        """From the watchdog's thread."""
        if (updater := self._updaters.get(name)) is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(updater.hung, digest)

    async def drain(self) -> None:
        for updater in self._updaters.values():
            await updater.drain()
        self._kit.crashes.ended()

    def problems(self) -> list[str]:
        """What is wrong with models of this node, or with its desired state."""
        updaters = self._updaters.values()
        found = [
            self._refused,
            *(updater.in_service.problem for updater in updaters),
            *(updater.in_service.incidents.incident for updater in updaters),
        ]
        return [problem for problem in found if problem]

    def reported(self) -> session_pb2.ReportedState:
        state = session_pb2.ReportedState(
            generation=self._generation.value,
            observed_generation=self._observed,
            problem="; ".join([*self._beside(), *self.problems()])[:1000],
        )
        for name, updater in self._updaters.items():
            measured = self._kit.usage
            usage = session_pb2.Usage(memory_bytes=measured.memory_bytes(name), disk_bytes=measured.disk_bytes(updater.digests()))
            state.models[name].CopyFrom(_reported_model(updater, usage, self._kit.counters))
        return state

    def message(self) -> session_pb2.ConnectRequest:
        return session_pb2.ConnectRequest(reported=self.reported())

    def _here(self) -> dict[str, set[str]]:
        """Models that are on this node or coming to it, and what each needs on the disk."""
        return {
            name: digests
            for name, updater in self._updaters.items()
            if (digests := updater.digests()) or updater.in_service.digest
        }

    async def _reconcile(self, desired: session_pb2.DesiredState) -> None:
        answers = await asyncio.gather(*(self._reconcile_model(*item) for item in sorted(desired.models.items())))
        problems = [refused for refused in answers if refused]
        if (desired.generation, "; ".join(problems)) != (self._observed, self._refused):
            self._observed, self._refused = desired.generation, "; ".join(problems)
            self._changed()

    async def _reconcile_model(self, name: str, model: session_pb2.DesiredModel) -> str:
        """Gives why it is refused; "": the node follows it. Each model by itself, so that a slow one delays no other."""
        try:
            check_digest(model.manifest_digest, f"desired.models[{name[:40]!r}].manifest_digest")
            policy, defer_s = _policy_from(model.probation), _defer_from(model)
            await self._updater(name).reconcile(model.manifest_digest, model.generation, policy, defer_s)
        except BadInput as error:
            return str(error)
        return ""

    def _updater(self, name: str) -> ModelUpdater:
        """Raises BadInput where the name cannot be a model's, or where there are too many."""
        if name not in self._updaters:
            if len(self._updaters) >= MOST_MODELS:
                raise BadInput(f"model {name[:40]!r}: this node serves {MOST_MODELS} already")
            self._updaters[name] = ModelUpdater(
                name, UpdateJournal(self._kit.folder.model(name), self._kit.damaged), self._kit, self._changed
            )
        return self._updaters[name]

    def _changed(self) -> None:
        try:
            self._generation.grow()
        except OSError as error:  # a full disk: the bound is written with a later change
            self._kit.log("state-not-written", detail=str(error))
        self._on_change()
        self._wake.set()

    def _sweep(self) -> None:
        """Deletes artifacts that no model needs, and, while nothing is fetched, what is left of downloads."""
        if self._desired is None:  # the benchmarks are not known yet
            return
        needed = {name for updater in self._updaters.values() for name in updater.digests()}
        benchmarks = {digest for digest in self._desired.benchmarks if _is_digest(digest)}
        gone = self._kit.artifacts.sweep(needed | benchmarks)
        if not benchmarks and not any(updater.busy for updater in self._updaters.values()):
            gone += self._blobs.sweep(())
        if gone:
            self._kit.log("swept", count=len(gone))


def _is_digest(text: str) -> bool:
    try:
        check_digest(text)
    except FleetError:
        return False
    return True


_FRACTIONS_AND_TIMES = ("duration_s", "max_accuracy_drop", "max_failure_rate", "shadow_s", "evidence_s")


def _policy_from(policy: session_pb2.ProbationPolicy) -> ProbationPolicy:
    """Raises BadInput where a number is out of range."""
    values = {field: getattr(policy, field) for field in _FRACTIONS_AND_TIMES}
    for field, value in values.items():
        if not 0 <= value <= LONGEST_PROBATION_S:  # nan is refused, too
            raise BadInput(f"desired.probation.{field}: {value} is not a number from 0 to {LONGEST_PROBATION_S:.0f}")
    if not 0 <= policy.error <= 1:
        raise BadInput(f"desired.probation.error: {policy.error} is not a chance, from 0 to 1")
    return ProbationPolicy(**values, compare=policy.compare, error=policy.error)


def _defer_from(model: session_pb2.DesiredModel) -> float:
    """Raises BadInput where it is out of range."""
    if not 0 <= model.defer_s <= LONGEST_DEFERRAL_S:  # nan is refused, too
        raise BadInput(f"desired.defer_s: {model.defer_s} is not a number from 0 to {LONGEST_DEFERRAL_S:.0f}")
    return model.defer_s


def _reported_model(updater: ModelUpdater, usage: session_pb2.Usage, counters: TelemetryWindows) -> session_pb2.ReportedModel:
    service = updater.in_service
    model = session_pb2.ReportedModel(
        serving_manifest_digest=service.digest,
        previous_manifest_digest=service.previous,
        crashes=service.crashes,
        hangs=service.incidents.hangs,
        incident=service.incidents.incident,
        usage=usage,
    )
    if (update := updater.update) is not None:
        state = S.PENDING if update.state is S.DEFERRED else update.state  # as clouds know it that know no deferral
        last = session_pb2.ReportedModel(state=f"UPDATE_STATE_{state}", reason=update.reason, detail=update.detail)
        model.MergeFrom(last)
        model.desired_generation, model.target_manifest_digest = update.generation, update.manifest_digest
        if (deferral := update.deferral) is not None:
            until = 0 if deferral.over else int(deferral.until * 1000)
            model.deferral.CopyFrom(session_pb2.Deferral(reason=deferral.reason, until_unix_ms=until))
        if update.findings is not None:
            found = asdict(update.findings)
            del found["turned_away"]  # the cloud does not ask for it
            model.probation.CopyFrom(session_pb2.ProbationResult(**found))
    if updater.trial is not None:
        model.evidence.CopyFrom(updater.trial.message(counters))
    return model
