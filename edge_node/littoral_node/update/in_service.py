"""What one model has in service, and what it keeps to go back to, whatever update is under way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from littoral.backoff import Backoff
from littoral.errors import Conflict, DigestMismatch, FleetError, NotFound, Unavailable
from littoral_node.artifacts.usage import OverQuota
from littoral_node.serving.slots import Served
from littoral_node.supervision.crashes import Crash
from littoral_node.update.job import Kit
from littoral_node.update.journal import CommittedSlots, UpdateJournal
from littoral_node.update.last_resort import serve_apart, tend, words_of
from littoral_node.update.load import load_here
from littoral_node.update.troubles import Troubles

_BACKOFF = Backoff(0.5, 30.0)


async def pause(kit: Kit, pauses: int) -> None:
    """Exponential backoff with full jitter; `pauses`: how many came before."""
    await kit.sleep(_BACKOFF.pause_s(pauses, kit.rng))


class InService:
    """Args:
    changed: called after every change of what is reported.
    """

    def __init__(self, model: str, journal: UpdateJournal, kit: Kit, changed: Callable[[], None]) -> None:
        self.model = model
        self.problem = ""
        self.troubles = Troubles(model)
        self.unloaded = False  # a client of this node took it out of memory
        self._journal = journal
        self._kit = kit
        self._changed = changed
        self._kept = journal.kept()
        if journal.lost and (loaded := kit.crashes.last_loaded(model)):
            self._keep_alone(loaded)
        self._whole = self._lost = ""  # what is kept to go back to, when it was looked at, or found damaged: see `mend`
        self._tending: asyncio.Task[None] | None = None

    @property
    def digest(self) -> str:
        """Of the manifest that answers requests; empty: none."""
        served = self._kit.slots.get(self.model)
        return served.manifest_digest if served is not None else ""

    @property
    def previous(self) -> str:
        """Digest of the manifest that is kept to go back to; empty: none."""
        return self._kept.active if self.digest != self._kept.active else self._kept.previous

    @property
    def active(self) -> str:
        """Digest of the manifest that is served after a restart; empty: none."""
        return self._kept.active

    @property
    def before(self) -> str:
        """Digest of the manifest that was active before that one; empty: none is kept."""
        return self._kept.previous

    @property
    def crashes(self) -> int:
        """Of the agent, in a row, that are counted against what is served."""
        return self._kit.crashes.crashes(self.model)

    def proved(self) -> str:
        """See Troubles.proved."""
        requests, failed = self._kit.counters.counters(self.model)
        return self.troubles.proved(self._kit.slots.get(self.model), requests - failed, self._kit.monotonic())

    def given_up(self, digest: str) -> bool:
        """Whether an artifact took the agent down too often."""
        return bool(digest) and self._kit.crashes.given_up(self.model, digest)

    async def start(self, crash: Crash | None) -> bool:
        """Serves what was proved before: the kept artifact where the active one is damaged or was given up, and where there is
        none the active one from a process of its own. Whether the active one was given up.

        Args:
            crash: how the agent ended the last time, where that has to do with this model.
        """
        if crash is not None:
            self.troubles.note(str(crash))
            self._kit.log("agent-crashed", model=self.model, manifest=crash.manifest_digest, detail=str(crash))
        active = self._kept.active
        given_up = self.given_up(active)  # asked before another takes its place in the book
        for digest in filter(None, (active, self._kept.previous)):
            if not (given_up and digest == active) and await self._serve(digest):
                if digest != active:
                    self._keep_alone(digest)
                break
        if given_up and not self.digest:
            await self._last_resort(active)
        return given_up

    async def mend(self, *, there: bool) -> None:
        """Once a start: what is kept to go back to is looked at, and fetched again where the disk changed it.

        Args:
            there: whether the cloud can be asked; where it cannot, this is to be called again.
        """
        digest, artifacts = self._kept.previous, self._kit.artifacts
        if not digest or digest == self._whole:
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
            if not there:
                return
            try:
                await artifacts.obtain(digest)
                self._kit.log("artifact-fetched", model=self.model, manifest=digest)
            except Unavailable:
                return
            except (FleetError, OSError) as error:
                self._kit.log("artifact-damaged", model=self.model, manifest=digest, detail=str(error))
        self._whole = digest

    async def end(self) -> None:
        if self._tending is not None:
            self._tending.cancel()
            await asyncio.wait([self._tending])

    def updated(self) -> None:
        """An update has succeeded: the journal says what is kept now."""
        self._kept, self.problem = self._journal.kept(), ""

    async def go_back(self) -> bool:
        """The artifact before takes the active one's place, where it can be served."""
        if not await self._serve(previous := self._kept.previous):
            return False
        self._keep_alone(previous)
        return True

    def unload(self) -> None:
        """Takes the model out of memory, once its last request has ended. Raises Conflict where a process of its own answers."""
        served = self._kit.slots.get(self.model)
        if served is not None and served.apart:
            raise Conflict(
                f"model {self.model}: answers from a process of its own, which ends with it alone", hint="roll out another"
            )
        if served is not None:
            self.unloaded = True
            self.problem = f"{self.model}: a client of this node has unloaded it"
            self._kit.slots.remove(self.model)
            self._kit.log("unloaded", model=self.model, manifest=self._kept.active)
            self._changed()

    async def load(self, check_quiet: Callable[[], None]) -> None:
        """Serves the active artifact again where nothing is served.

        Args:
            check_quiet: raises Conflict where an update has begun meanwhile.

        Raises NotFound where there is none; Conflict where it does not fit beside the others; what `load_here` raises.
        """
        if self.digest:
            return
        if not self._kept.active:
            raise NotFound(f"model {self.model}: nothing was rolled out to it yet", hint="littoral-cloud rollout start")
        try:
            self._kit.usage.check_kept(self.model, self._kept.active)
        except OverQuota as error:
            raise Conflict(f"model {self.model}: {error.message}", hint=error.hint) from error
        served = await load_here(self._kit, self.model, self._kept.active)
        try:
            check_quiet()
            first = not self.digest  # else something else came first
        except Conflict:
            await asyncio.to_thread(served.model.close)
            raise
        if not first:
            await asyncio.to_thread(served.model.close)
            return
        self.unloaded, self.problem = False, ""
        self._kit.slots.swap(self.model, served)
        self._kit.log("serving", model=self.model, manifest=self._kept.active, student=served.manifest.name)
        self._changed()

    def _keep_alone(self, digest: str) -> None:
        self._kept = CommittedSlots(active=digest)
        try:
            self._journal.keep(self._kept)
        except OSError as error:  # a full disk: the next start finds it out again
            self._kit.log("state-not-written", model=self.model, detail=str(error))

    async def _last_resort(self, digest: str) -> None:
        try:
            served = await serve_apart(self._kit, self.model, digest)
        except (FleetError, OSError) as error:
            self._damaged(digest, error)
            return
        self.problem = words_of(self.model, digest)
        self._tending = asyncio.create_task(self._tend(served), name=f"process of {self.model}")

    async def _tend(self, served: Served) -> None:
        def told(why: str) -> None:
            self.troubles.note(why)
            self._changed()

        try:
            await tend(self._kit, self.model, served, told, lambda pauses: pause(self._kit, pauses))
        except (FleetError, OSError) as error:
            self._damaged(served.manifest_digest, error)
            self._changed()

    async def _serve(self, digest: str) -> bool:
        try:
            self._kit.usage.check_kept(self.model, digest)
            served = await load_here(self._kit, self.model, digest)
        except OverQuota as error:
            self.problem = f"{self.model}: {error.code}: {error}"
            self._kit.log("over-quota", model=self.model, manifest=digest, detail=str(error))
            return False
        except (FleetError, OSError) as error:
            self._damaged(digest, error)
            return False
        self._kit.slots.swap(self.model, served)
        self._kit.log("serving", model=self.model, manifest=digest, student=served.manifest.name)
        return True

    def _damaged(self, digest: str, error: Exception) -> None:
        self.problem = f"{self.model}: artifact {digest[:19]} cannot be served: {error}"
        self._kit.log("artifact-damaged", model=self.model, manifest=digest, detail=str(error))
