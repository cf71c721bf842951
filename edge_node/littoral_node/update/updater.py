"""Performs the updates of one model: runs the step that the table (state.py) asks for, journals the result, and feeds it back.

The cloud's desired state arrives in `ModelUpdater.reconcile`. It starts an update: the table answers each event with effects, the
effects run one step, and the step's event goes back into the table, until the update ends.
"""

from __future__ import annotations

import asyncio
import errno
import traceback
from collections.abc import Callable
from dataclasses import replace

from littoral.errors import Conflict, FleetError, Unavailable
from littoral_node.supervision.crash_record import Crash
from littoral_node.supervision.failures import CRASHES, Consequence, Failure, Phase, outcome
from littoral_node.update.events import (
    AgentCrashed,
    AgentDrained,
    AgentResumed,
    CloseCandidate,
    Committed,
    GivenUp,
    OutOfReach,
    RestorePrevious,
    RetryStep,
    RunStep,
    StepFailed,
    Superseded,
    TimedOut,
    UpdateEffect,
    UpdateEvent,
)
from littoral_node.update.evidence import Trial
from littoral_node.update.in_service import InService
from littoral_node.update.job import Job, Kit
from littoral_node.update.journal import JournalEntry, UpdateJournal
from littoral_node.update.opening import Standing, is_known, opened
from littoral_node.update.state import ENDS, IllegalUpdateMove, ProbationPolicy, S, Update, counts_crashes, step
from littoral_node.update.steps import STEPS
from littoral_node.update.swap import restore

_DETAIL = 500  # characters that are reported
_MAY_WAIT = (S.PENDING, S.DOWNLOADING, S.VERIFYING)


class ModelUpdater:
    """One model of this node.

    Args:
        changed: called after every change of what is reported.
    """

    def __init__(self, model: str, journal: UpdateJournal, kit: Kit, changed: Callable[[], None]) -> None:
        self.model = model
        self.update: Update | None = None
        self.in_service = InService(model, journal, kit, changed)
        self._journal = journal
        self._kit = kit
        self._changed = changed
        self.trial: Trial | None = None
        self._job: Job | None = None
        self._task: asyncio.Task[None] | None = None
        self._pauses = 0
        self._entry: JournalEntry | None = None  # of the journal at the start, until `resume`

    # -- what others see -------------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        return self.update is not None and self.update.state not in ENDS

    def digests(self) -> set[str]:
        """Artifacts that must stay on the disk."""
        needed = {self.update.manifest_digest} if self.update is not None and self.busy else set()
        return {self.in_service.active, self.in_service.before, *needed} - {""}

    # -- from the outside ------------------------------------------------------------------------------------------

    def trying(self) -> str:
        """Digest of the manifest whose update counts the crash of the agent that just ended; empty: none."""
        entry = self._journal.read()
        counts = entry is not None and not entry.clean and counts_crashes(entry.update.state)
        return entry.update.manifest_digest if entry is not None and counts else ""

    async def start(self, crash: Crash | None = None) -> None:
        """Serves what this node has proved before, see InService.start. `resume` continues the update that was under way."""
        active = self.in_service.active
        given_up = await self.in_service.start(crash)
        self._entry = self._journal.read()
        if self._entry is not None:
            self.update = replace(self._entry.update, replaces=self.in_service.active)
            if given_up and self.in_service.active != active and self.update.manifest_digest == active:
                detail = f"the agent crashed {CRASHES} times in a row with this model; served is {self.in_service.digest[:19]}"
                await self._apply(GivenUp(self.update.generation, "crash-loop", detail))

    async def resume(self) -> None:
        """Continues the update that was under way when the agent ended. Call it once, after `start`."""
        entry, self._entry = self._entry, None
        if entry is None or not self.busy:
            return
        serves = self.in_service.active == entry.update.manifest_digest == self.in_service.digest
        if entry.update.state is S.PROBATION and serves:
            await self._start(Committed(entry.update.generation))  # it had passed; the journal has it not yet
        else:
            await self._start((AgentResumed if entry.clean else AgentCrashed)(entry.update.generation))

    async def reconcile(self, manifest_digest: str, generation: int, policy: ProbationPolicy, defer_s: float = 0.0) -> None:
        """Starts the update to a desired artifact, after it ends the one under way. Does nothing where that update is known: it
        is under way, or has ended.

        Args:
            defer_s: for how long the node may put it off.
        """
        service = self.in_service
        if is_known(self.update, manifest_digest, generation, self._standing(manifest_digest)):
            return
        before = self.update  # as it was before it may be superseded
        service.unloaded = False
        await self._supersede()
        update, event = opened(before, self.model, manifest_digest, generation, policy, self._standing(manifest_digest))
        self.update = replace(update, defer_s=defer_s)
        self._pauses = 0
        await self._start(event)

    def _standing(self, manifest_digest: str) -> Standing:
        service = self.in_service
        return Standing(
            service.active, service.before, service.digest, service.given_up(manifest_digest), unloaded=service.unloaded
        )

    def unload(self) -> None:
        """See InService.unload. Raises Conflict while an update is under way, too."""
        self._check_quiet()
        self.in_service.unload()

    async def load(self) -> None:
        """See InService.load. Raises Conflict while an update is under way, too."""
        self._check_quiet()
        await self.in_service.load(self._check_quiet)

    def _check_quiet(self) -> None:
        if self.update is not None and self.busy:
            raise Conflict(f"model {self.model}: an update of it is {self.update.state}", hint="again when it has ended")

    async def drain(self) -> None:
        """Ends in good order; the journal names the step that comes next."""
        await self.in_service.end()
        await self._halt()
        if self.update is not None and self.busy:
            await self._apply(AgentDrained(self.update.generation), clean=True)

    def hung(self, digest: str) -> None:
        """The watchdog ended an inference of this artifact. After too many the previous artifact becomes the active one."""
        service = self.in_service
        count = service.incidents.hung(digest, self._kit.settings.inference_limit, self._kit.monotonic())
        self._kit.log("model-hung", model=self.model, manifest=digest, detail=service.incidents.incident)
        self._changed()
        following = outcome(Phase.IN_SERVICE, Failure.HUNG, count, previous=bool(service.before))
        if following is Consequence.PREVIOUS and digest == service.digest == service.active and not self.busy:
            service.incidents.forget_hangs()
            self._task = asyncio.create_task(self._give_up("runtime-hang"), name=f"way back of {self.model}")

    # -- inside ----------------------------------------------------------------------------------------------------

    async def _give_up(self, reason: str) -> None:
        """The previous artifact takes the active one's place."""
        active = self.in_service.active
        if not await self.in_service.go_back():
            return
        if self.update is not None and self.update.manifest_digest == active:
            detail = f"{self.in_service.incidents.incident}; served is {self.in_service.active[:19]}"
            await self._apply(GivenUp(self.update.generation, reason, detail))
        self._changed()

    async def _supersede(self) -> None:
        await self._halt()
        if self.update is not None and self.busy:
            await self._apply(Superseded(self.update.generation))

    async def _halt(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def _start(self, event: UpdateEvent) -> None:
        assert self.update is not None
        update, report_s = self.update, self.update.policy.evidence_s
        self.trial = Trial(self.model, update.manifest_digest, update.replaces, report_s)
        self._job = Job(update, self._journal, self._kit, self.trial)
        following = await self._apply(event)
        if following is not None:
            self._task = asyncio.create_task(self._carry_on(following), name=f"update of {self.model}")

    async def _carry_on(self, following: RunStep | RetryStep | None) -> None:
        try:
            await self._until_the_end(following)
        except Exception as error:  # noqa: BLE001 - the boundary: a bug here stops this update and nothing else
            traceback.print_exc()
            problem = self.in_service.problem = f"{self.model}: the update stands still: {type(error).__name__}: {error}"
            self._kit.log("update-stuck", model=self.model, detail=problem)
            self._changed()

    async def _until_the_end(self, following: RunStep | RetryStep | None) -> None:
        while following is not None:
            if isinstance(following, RetryStep):
                await self._kit.pause(self._pauses)
                self._pauses += 1
            event = await self._perform(following.step)
            if not isinstance(event, OutOfReach):
                self._pauses = 0
            following = await self._apply(event)

    async def _perform(self, name: str) -> UpdateEvent:
        """Runs one step. Anything that goes wrong in it is an event, so that the agent continues to serve."""
        assert self.update is not None
        assert self._job is not None
        generation, left = self.update.generation, self.update.deadline - self._kit.monotonic()
        try:
            async with asyncio.timeout(max(0.0, left)) as limit:
                return await STEPS[name](self._job)
        except TimeoutError as error:
            return TimedOut(generation) if limit.expired() else StepFailed(generation, "internal", str(error))
        except Unavailable as error:
            if self.update.state in _MAY_WAIT:
                return OutOfReach(generation, str(error))
            return StepFailed(generation, error.code, str(error))
        except FleetError as error:
            return StepFailed(generation, error.code, str(error))
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            return StepFailed(generation, "no-space" if full else "disk", str(error))
        except Exception as error:  # noqa: BLE001 - the boundary: a bug in a step, or a runtime's own exception, must not end serving
            traceback.print_exc()
            return StepFailed(generation, "internal", f"{type(error).__name__}: {error}")

    async def _apply(self, event: UpdateEvent, *, clean: bool = False) -> RunStep | RetryStep | None:
        """Moves in the table, restores the previous model where it asks for that, journals, and gives the step that follows."""
        assert self.update is not None
        before = self.update
        try:
            after, effects = step(before, event, self._kit.monotonic())
        except IllegalUpdateMove as error:
            after = replace(before, state=S.FAILED, reason=error.code, detail=str(error))
            effects = (RestorePrevious(), CloseCandidate())
        after = replace(after, detail=after.detail[:_DETAIL])
        if RestorePrevious() in effects and self._job is not None:
            restore(self._job)
        try:
            self._journal.write(after, clean=clean)
        except OSError as error:
            if after.state not in ENDS and not clean:
                after, effects = step(after, StepFailed(after.generation, "no-space", f"journal: {error}"), self._kit.monotonic())
                if RestorePrevious() in effects and self._job is not None:
                    restore(self._job)
        await self._follow(before, after, effects)
        return next((effect for effect in effects if isinstance(effect, RunStep | RetryStep)), None)

    async def _follow(self, before: Update, after: Update, effects: tuple[UpdateEffect, ...]) -> None:
        self.update = after
        if self._job is not None:
            self._job.update = after
            if CloseCandidate() in effects:
                await self._job.release()
                self._job = None
        if after.state is S.SUCCEEDED:
            self.in_service.updated()
        if after.state is not before.state or after.state in ENDS:
            fields = {"reason": after.reason, "detail": after.detail} if after.reason else {}
            self._kit.log("update", model=self.model, state=str(after.state), manifest=after.manifest_digest,
                          generation=after.generation, **fields)  # fmt: skip
        self._changed()
