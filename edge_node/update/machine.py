"""Carries out the updates of one model: does what `state.step` says, journals it, and feeds the outcome back."""

from __future__ import annotations

import asyncio
import errno
import traceback
from collections.abc import Callable
from dataclasses import replace

from edge_node.crashes import LIMIT, Crash
from edge_node.serving.slots import Served
from edge_node.update.holdings import OverShare
from edge_node.update.job import Job, Kit
from edge_node.update.journal import Entry, Journal, Kept
from edge_node.update.last_resort import serve_apart, tend, words_of
from edge_node.update.load import load_here
from edge_node.update.state import (
    ENDS,
    Begun,
    Broke,
    Crashed,
    Deferred,
    Drained,
    Effect,
    Event,
    Expired,
    GivenUp,
    IllegalMove,
    Policy,
    Release,
    Restore,
    Resumed,
    Run,
    RunLater,
    State,
    Superseded,
    Update,
    step,
)
from edge_node.update.state import Kept as WasKept
from edge_node.update.steps import STEPS
from edge_node.update.swap import restore
from edge_node.update.troubles import Troubles
from littoral.errors import Conflict, FleetError, NotFound, Unavailable

_DETAIL = 500  # characters that are reported
_MAY_WAIT = (State.PENDING, State.DOWNLOADING, State.VERIFYING)
_PAUSE_FIRST_S, _PAUSE_MOST_S = 0.5, 30.0


class Machine:
    """One model of this node.

    Args:
        changed: called after every change of what is reported.
    """

    def __init__(self, model: str, journal: Journal, kit: Kit, changed: Callable[[], None]) -> None:
        self.model = model
        self.update: Update | None = None
        self.problem = ""
        self.troubles = Troubles(model)
        self._unloaded = False  # a client of this node took it out of memory
        self._journal = journal
        self._kit = kit
        self._changed = changed
        self._kept = journal.kept()
        self._job: Job | None = None
        self._task: asyncio.Task[None] | None = None
        self._tending: asyncio.Task[None] | None = None
        self._pauses = 0
        self._entry: Entry | None = None  # what the journal said at the start, until it is resumed

    # -- what others see -------------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        return self.update is not None and self.update.state not in ENDS

    @property
    def serving(self) -> str:
        """Digest of the manifest that answers requests; empty: none."""
        served = self._kit.slots.get(self.model)
        return served.manifest_digest if served is not None else ""

    @property
    def previous(self) -> str:
        """Digest of the manifest that is kept to go back to; empty: none."""
        return self._kept.active if self.serving != self._kept.active else self._kept.previous

    @property
    def crashes(self) -> int:
        """Of the agent, in a row, that are counted against what is served."""
        return self._kit.crashes.crashes(self.model)

    def proved(self) -> str:
        """See Troubles.proved."""
        requests, failed = self._kit.counters.counters(self.model)
        return self.troubles.proved(self._kit.slots.get(self.model), requests - failed, self._kit.monotonic())

    @property
    def active(self) -> str:
        """Digest of the manifest that is served after a restart; empty: none."""
        return self._kept.active

    def digests(self) -> set[str]:
        """Artifacts that must stay on the disk."""
        wanted = {self.update.manifest_digest} if self.update is not None and self.busy else set()
        return {self._kept.active, self._kept.previous, *wanted} - {""}

    # -- from the outside ------------------------------------------------------------------------------------------

    def trying(self) -> str:
        """Digest of the manifest whose update was loading it or had it on trial when the agent ended without a word, and counts
        that; empty: none."""
        entry = self._journal.read()
        counts = entry is not None and not entry.clean and entry.update.state in (State.VERIFYING, State.PROBATION)
        return entry.update.manifest_digest if entry is not None and counts else ""

    async def start(self, crash: Crash | None = None) -> None:
        """Serves what was proved before; the kept model where the active one is damaged or was given up.

        Args:
            crash: how the agent ended the last time, where that has to do with this model.
        """
        if crash is not None:
            self.troubles.note(str(crash))
            self._kit.log("agent-crashed", model=self.model, manifest=crash.manifest_digest, detail=str(crash))
        active = self._kept.active
        # Asked before another takes its place in the book.
        given_up = bool(active) and self._kit.crashes.given_up(self.model, active)
        for digest in filter(None, (active, self._kept.previous)):
            if not (given_up and digest == active) and await self._serve(digest):
                if digest != active:
                    self._keep_alone(digest)
                break
        if given_up and not self.serving:
            await self._last_resort(active)
        self._entry = self._journal.read()
        if self._entry is not None:
            self.update = replace(self._entry.update, replaces=self._kept.active)
            if given_up and self._kept.active != active and self.update.manifest_digest == active:
                detail = f"the agent crashed {LIMIT} times in a row with this model; served is {self.serving[:19]}"
                await self._apply(GivenUp(self.update.generation, "crash-loop", detail))

    async def resume(self) -> None:
        """Goes on with the update that was under way when the agent ended. Once, after `start`."""
        entry, self._entry = self._entry, None
        if entry is None or not self.busy:
            return
        if entry.update.state is State.PROBATION and self._kept.active == entry.update.manifest_digest == self.serving:
            await self._begin(WasKept(entry.update.generation))  # it had passed; only the journal did not know
        else:
            await self._begin((Resumed if entry.clean else Crashed)(entry.update.generation))

    async def want(self, manifest_digest: str, generation: int, policy: Policy) -> None:
        """The cloud's wish: does nothing where it is fulfilled or under way, else begins, after ending what is under way."""
        now = self.update
        known = now is not None and (now.manifest_digest, now.generation) == (manifest_digest, generation)
        # The disk failed, or it did not fit any more when the agent began.
        lost = now is not None and now.state is State.SUCCEEDED and (manifest_digest != self._kept.active or not self.serving)
        if known and (not lost or self._unloaded):
            return
        self._unloaded = False
        await self._supersede()
        given_up = self._kit.crashes.given_up(self.model, manifest_digest)
        kept = manifest_digest in (self._kept.active, self._kept.previous) and not given_up
        proved = kept and self._kit.artifacts.held(manifest_digest)
        self.update = Update(self.model, manifest_digest, generation, policy, replaces=self._kept.active, proved=proved)
        self._pauses = 0
        served = kept and manifest_digest == self._kept.active == self.serving
        await self._begin(WasKept(generation) if served else Begun(generation))

    async def unload(self) -> None:
        """Takes the model out of memory, once its last request has ended. Raises Conflict while an update is under way."""
        self._check_quiet()
        served = self._kit.slots.get(self.model)
        if served is not None and served.apart:
            raise Conflict(
                f"model {self.model}: answers from a process of its own, which ends with it alone", hint="roll out another"
            )
        if served is not None:
            self._unloaded = True
            self.problem = f"{self.model}: a client of this node has unloaded it"
            self._kit.slots.remove(self.model)
            self._kit.log("unloaded", model=self.model, manifest=self._kept.active)
            self._changed()

    async def load(self) -> None:
        """Serves the active model again where nothing is served.

        Raises NotFound where there is none; Conflict while an update is under way, or where it does not fit beside the others;
        what `load_here` raises.
        """
        self._check_quiet()
        if self.serving:
            return
        if not self._kept.active:
            raise NotFound(f"model {self.model}: nothing was rolled out to it yet")
        try:
            self._kit.holdings.check_kept(self.model, self._kept.active)
        except OverShare as error:
            raise Conflict(f"model {self.model}: {error.message}", hint=error.hint) from error
        served = await load_here(self._kit, self.model, self._kept.active)
        if self.busy or self.serving:  # something else came first
            await asyncio.to_thread(served.model.close)
            self._check_quiet()
            return
        self._unloaded, self.problem = False, ""
        self._kit.slots.swap(self.model, served)
        self._kit.log("serving", model=self.model, manifest=self._kept.active, student=served.manifest.name)
        self._changed()

    def _check_quiet(self) -> None:
        if self.update is not None and self.busy:
            raise Conflict(f"model {self.model}: an update of it is {self.update.state}", hint="again when it has ended")

    async def drain(self) -> None:
        """Ends in good order; the journal says where to go on."""
        if self._tending is not None:
            self._tending.cancel()
            await asyncio.wait([self._tending])
        await self._halt()
        if self.update is not None and self.busy:
            await self._apply(Drained(self.update.generation), clean=True)

    def hung(self, digest: str) -> None:
        """An inference of this artifact was ended because it took too long. Too many of them: the model before serves again."""
        too_many = self.troubles.hung(digest, self._kit.limit_s, self._kit.monotonic())
        self._kit.log("model-hung", model=self.model, manifest=digest, detail=self.troubles.incident)
        self._changed()
        if too_many and digest == self.serving == self._kept.active and self._kept.previous and not self.busy:
            self.troubles.forget_hangs()
            self._task = asyncio.create_task(self._give_up("runtime-hang"), name=f"way back of {self.model}")

    # -- inside ----------------------------------------------------------------------------------------------------

    async def _give_up(self, reason: str) -> None:
        """The model that was kept takes the active one's place."""
        active, previous = self._kept.active, self._kept.previous
        if not await self._serve(previous):
            return
        self._keep_alone(previous)
        if self.update is not None and self.update.manifest_digest == active:
            detail = f"{self.troubles.incident}; served is {previous[:19]}"
            await self._apply(GivenUp(self.update.generation, reason, detail))
        self._changed()

    def _keep_alone(self, digest: str) -> None:
        self._kept = Kept(active=digest)
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
            await tend(self._kit, self.model, served, told, self._pause)
        except (FleetError, OSError) as error:
            self._damaged(served.manifest_digest, error)
            self._changed()

    async def _pause(self, pauses: int) -> None:
        await self._kit.sleep(self._kit.rng.uniform(0, min(_PAUSE_MOST_S, _PAUSE_FIRST_S * 2.0 ** min(pauses, 10))))

    async def _serve(self, digest: str) -> bool:
        try:
            self._kit.holdings.check_kept(self.model, digest)
            served = await load_here(self._kit, self.model, digest)
        except OverShare as error:
            self.problem = f"{self.model}: {error.code}: {error}"
            self._kit.log("over-share", model=self.model, manifest=digest, detail=str(error))
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

    async def _supersede(self) -> None:
        await self._halt()
        if self.update is not None and self.busy:
            await self._apply(Superseded(self.update.generation))

    async def _halt(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def _begin(self, event: Event) -> None:
        assert self.update is not None
        self._job = Job(self.update, self._journal, self._kit)
        following = await self._apply(event)
        if following is not None:
            self._task = asyncio.create_task(self._carry_on(following), name=f"update of {self.model}")

    async def _carry_on(self, following: Run | RunLater | None) -> None:
        try:
            await self._until_the_end(following)
        except Exception as error:  # noqa: BLE001 - the boundary: a bug here stops this update and nothing else
            traceback.print_exc()
            self.problem = f"{self.model}: the update stands still: {type(error).__name__}: {error}"
            self._kit.log("update-stuck", model=self.model, detail=self.problem)
            self._changed()

    async def _until_the_end(self, following: Run | RunLater | None) -> None:
        while following is not None:
            if isinstance(following, RunLater):
                await self._pause(self._pauses)
                self._pauses += 1
            event = await self._perform(following.step)
            if not isinstance(event, Deferred):
                self._pauses = 0
            following = await self._apply(event)

    async def _perform(self, name: str) -> Event:
        """Does one step. Whatever goes wrong in it is an event: the agent goes on serving."""
        assert self.update is not None
        assert self._job is not None
        generation, left = self.update.generation, self.update.deadline - self._kit.monotonic()
        try:
            async with asyncio.timeout(max(0.0, left)) as limit:
                return await STEPS[name](self._job)
        except TimeoutError as error:
            return Expired(generation) if limit.expired() else Broke(generation, "internal", str(error))
        except Unavailable as error:
            if self.update.state in _MAY_WAIT:
                return Deferred(generation, str(error))
            return Broke(generation, error.code, str(error))
        except FleetError as error:
            return Broke(generation, error.code, str(error))
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            return Broke(generation, "no-space" if full else "disk", str(error))
        except Exception as error:  # noqa: BLE001 - the boundary: a bug in a step, or a runtime's own exception, must not end serving
            traceback.print_exc()
            return Broke(generation, "internal", f"{type(error).__name__}: {error}")

    async def _apply(self, event: Event, *, clean: bool = False) -> Run | RunLater | None:
        """Moves, gives back what is to be given back at once, journals, and says what to do next."""
        assert self.update is not None
        before = self.update
        try:
            after, effects = step(before, event, self._kit.monotonic())
        except IllegalMove as error:
            after = replace(before, state=State.FAILED, reason=error.code, detail=str(error))
            effects = (Restore(), Release())
        after = replace(after, detail=after.detail[:_DETAIL])
        if Restore() in effects and self._job is not None:
            restore(self._job)
        try:
            self._journal.write(after, clean=clean)
        except OSError as error:
            if after.state not in ENDS and not clean:
                after, effects = step(after, Broke(after.generation, "no-space", f"journal: {error}"), self._kit.monotonic())
                if Restore() in effects and self._job is not None:
                    restore(self._job)
        await self._follow(before, after, effects)
        return next((effect for effect in effects if isinstance(effect, Run | RunLater)), None)

    async def _follow(self, before: Update, after: Update, effects: tuple[Effect, ...]) -> None:
        self.update = after
        if self._job is not None:
            self._job.update = after
            if Release() in effects:
                await self._job.release()
                self._job = None
        if after.state is State.SUCCEEDED:
            self._kept, self.problem = self._journal.kept(), ""
        if after.state is not before.state or after.state in ENDS:
            fields = {"reason": after.reason, "detail": after.detail} if after.reason else {}
            self._kit.log("update", model=self.model, state=str(after.state), manifest=after.manifest_digest,
                          generation=after.generation, **fields)  # fmt: skip
        self._changed()
