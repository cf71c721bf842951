"""What one model has in service, and what it can go back to, during any update."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from littoral.errors import Conflict, DigestMismatch, FleetError, NotFound, Unavailable
from littoral_node.artifacts.usage import OverQuota
from littoral_node.serving.slots import Served
from littoral_node.supervision.crash_record import Crash
from littoral_node.supervision.failures import CRASHES, Consequence, Failure, Phase, outcome
from littoral_node.update.incidents import ModelIncidents
from littoral_node.update.job import Kit
from littoral_node.update.journal import CommittedSlots, UpdateJournal
from littoral_node.update.last_resort import restart_isolated, serve_isolated
from littoral_node.update.load import load_here


class InService:
    """Args:
    changed: called after every change of what is reported.
    """

    def __init__(self, model: str, journal: UpdateJournal, kit: Kit, changed: Callable[[], None]) -> None:
        self.model = model
        self.problem = ""
        self.incidents = ModelIncidents(model)
        self.unloaded = False  # a client of this node took it out of memory
        self._journal = journal
        self._kit = kit
        self._changed = changed
        self._committed = journal.committed()
        if journal.lost and (loaded := kit.crashes.last_loaded(model)):
            self._commit_alone(loaded)
        self._intact = self._lost = ""  # the previous artifact, when it was checked, or found damaged: see `mend`
        self._restarting: asyncio.Task[None] | None = None

    @property
    def digest(self) -> str:
        """Of the manifest that answers requests; empty: none."""
        served = self._kit.slots.get(self.model)
        return served.manifest_digest if served is not None else ""

    @property
    def active(self) -> str:
        """Digest of the manifest that is served after a restart; empty: none."""
        return self._committed.active

    @property
    def before(self) -> str:
        """Digest of the manifest that was active before that one; empty: none."""
        return self._committed.previous

    @property
    def previous(self) -> str:
        """Digest of the manifest to go back to from the one that answers now; empty: none."""
        return self.active if self.digest != self.active else self.before

    @property
    def crashes(self) -> int:
        """Of the agent, in a row, that count against what is served."""
        return self._kit.crashes.crashes(self.model)

    def proved(self) -> str:
        """See ModelIncidents.proved."""
        counts = self._kit.counters.counts(self.model)
        return self.incidents.proved(self._kit.slots.get(self.model), counts.requests - counts.failed, self._kit.monotonic())

    def given_up(self, digest: str) -> bool:
        """Whether an artifact crashed the agent too often."""
        return bool(digest) and self._kit.crashes.given_up(self.model, digest)

    async def start(self, crash: Crash | None) -> bool:
        """Serves the active artifact; where it is given up or cannot be served, what failures.FAILURES names. Gives whether it is
        given up.

        Args:
            crash: how the agent ended the last time, where that concerns this model.
        """
        if crash is not None:
            self.incidents.note(str(crash))
            self._kit.log("agent-crashed", model=self.model, manifest=crash.manifest_digest, detail=str(crash))
        active = self.active
        given_up = self.given_up(active)  # read before another artifact takes its place in the crash record
        if active and not given_up and await self._serve(active):
            return False
        if await self.go_back():
            return given_up
        failure = Failure.AGENT_CRASHED if given_up else Failure.NOT_SERVABLE
        if outcome(Phase.IN_SERVICE, failure, self.crashes or 1, previous=False) is Consequence.ISOLATED:
            await self._serve_isolated(active)
        return given_up

    async def mend(self, *, reachable: bool) -> None:
        """Once a start: checks the previous artifact, and fetches it again where the disk changed it.

        Args:
            reachable: whether the cloud can be asked. Where it cannot, call this again.
        """
        digest, artifacts = self.before, self._kit.artifacts
        if not digest or digest == self._intact:
            return
        try:
            if digest != self._lost:
                await artifacts.open(digest)
        except (DigestMismatch, NotFound) as error:
            self._kit.damaged(artifacts.folder(digest), error)
            self._lost = digest
            self._changed()
        except (FleetError, OSError) as error:
            self._kit.log("artifact-damaged", model=self.model, manifest=digest, detail=str(error))
        if digest == self._lost:
            if not reachable:
                return
            try:
                await artifacts.obtain(digest)
                self._kit.log("artifact-fetched", model=self.model, manifest=digest)
            except Unavailable:
                return
            except (FleetError, OSError) as error:
                self._kit.log("artifact-damaged", model=self.model, manifest=digest, detail=str(error))
        self._intact = digest

    async def end(self) -> None:
        if self._restarting is not None:
            self._restarting.cancel()
            await asyncio.wait([self._restarting])

    def updated(self) -> None:
        """An update has succeeded: the journal names what is committed now."""
        self._committed, self.problem = self._journal.committed(), ""

    async def go_back(self) -> bool:
        """Serves the previous artifact and makes it the active one. False where there is none that can be served."""
        if not (previous := self.before) or not await self._serve(previous):
            return False
        self._commit_alone(previous)
        return True

    def unload(self) -> None:
        """Takes the model out of memory, once its last request has ended. Raises Conflict where an isolated process answers."""
        served = self._kit.slots.get(self.model)
        if served is not None and served.isolated:
            raise Conflict(
                f"model {self.model}: answers from an isolated process, which ends with the model", hint="roll out another"
            )
        if served is not None:
            self.unloaded = True
            self.problem = f"{self.model}: a client of this node has unloaded it"
            self._kit.slots.remove(self.model)
            self._kit.log("unloaded", model=self.model, manifest=self.active)
            self._changed()

    async def load(self, check_quiet: Callable[[], None]) -> None:
        """Serves the active artifact again where nothing is served.

        Args:
            check_quiet: raises Conflict where an update has started meanwhile.

        Raises NotFound where there is none; Conflict where it does not fit beside the others; what `load_here` raises.
        """
        if self.digest:
            return
        if not self.active:
            raise NotFound(f"model {self.model}: nothing was rolled out to it yet", hint="littoral-cloud rollout start")
        try:
            self._kit.usage.check_committed(self.model, self.active)
        except OverQuota as error:
            raise Conflict(f"model {self.model}: {error.message}", hint=error.hint) from error
        served = await load_here(self._kit, self.model, self.active)
        try:
            check_quiet()
            first = not self.digest  # else another artifact came first
        except Conflict:
            await asyncio.to_thread(served.model.close)
            raise
        if not first:
            await asyncio.to_thread(served.model.close)
            return
        self.unloaded, self.problem = False, ""
        self._answer_with(served)
        self._changed()

    def _commit_alone(self, digest: str) -> None:
        """One artifact is active, and there is no way back from it."""
        self._committed = CommittedSlots(active=digest)
        try:
            self._journal.commit(self._committed)
        except OSError as error:  # a full disk: the next start finds it out again
            self._kit.log("state-not-written", model=self.model, detail=str(error))

    async def _serve_isolated(self, digest: str) -> None:
        try:
            served = await serve_isolated(self._kit, self.model, digest)
        except (FleetError, OSError) as error:
            self._not_servable(digest, error)
            return
        self.problem = (
            f"{self.model}: artifact {digest[:19]} crashed the agent {CRASHES} times in a row, and there is no previous one: "
            f"it is served from an isolated process"
        )
        self._restarting = asyncio.create_task(self._restart_isolated(served), name=f"process of {self.model}")

    async def _restart_isolated(self, served: Served) -> None:
        def ended(why: str) -> None:
            self.incidents.note(why)
            self._changed()

        try:
            await restart_isolated(self._kit, self.model, served, ended)
        except (FleetError, OSError) as error:
            self._not_servable(served.manifest_digest, error)
            self._changed()

    async def _serve(self, digest: str) -> bool:
        try:
            self._kit.usage.check_committed(self.model, digest)
            served = await load_here(self._kit, self.model, digest)
        except OverQuota as error:
            self.problem = f"{self.model}: {error.code}: {error}"
            self._kit.log("over-quota", model=self.model, manifest=digest, detail=str(error))
            return False
        except (FleetError, OSError) as error:
            self._not_servable(digest, error)
            return False
        self._answer_with(served)
        return True

    def _answer_with(self, served: Served) -> None:
        self._kit.slots.swap(self.model, served)
        self._kit.log("serving", model=self.model, manifest=served.manifest_digest, student=served.manifest.name)

    def _not_servable(self, digest: str, error: Exception) -> None:
        self.problem = f"{self.model}: artifact {digest[:19]} cannot be served: {error}"
        self._kit.log("artifact-damaged", model=self.model, manifest=digest, detail=str(error))
