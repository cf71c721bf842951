"""The update of a simulated node: its steps take the time that the scenario names, and what they end with is drawn. Which step
comes next is the agent's own decision (agent.py)."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable

from littoral.backoff import Backoff
from littoral_cloud.fleet.records import DesiredModel, ReportedModel
from littoral_cloud.simulate.agent import (
    Committed,
    Fetched,
    Loaded,
    OutOfReach,
    ProbationPolicy,
    Ready,
    Reserved,
    RetryStep,
    RunStep,
    S,
    Shadowed,
    SimulatedAgent,
    StepFailed,
    TimedOut,
    UpdateEvent,
    Verified,
    lied,
)
from littoral_cloud.simulate.downloads import Downloads
from littoral_cloud.simulate.population import NodeTraits
from littoral_cloud.simulate.surroundings import Surroundings
from littoral_cloud.simulate.trials import SimulatedTrial

_RETRY = Backoff(0.5, 30.0)


class SimulatedUpdates:
    """Args:
    serving: the manifest that it serves at the start; "": none.
    online: whether the node has a session.
    changed: there is something new to report.
    send: reports it, where the node has a session.
    """

    def __init__(
        self,
        traits: NodeTraits,
        serving: str,
        around: Surroundings,
        downloads: Downloads,
        online: asyncio.Event,
        changed: Callable[[], None],
        send: Callable[[], Awaitable[None]],
    ) -> None:
        self._traits = traits
        self._around = around
        self._downloads = downloads
        self._online = online
        self._changed = changed
        self._send = send
        self.agent = SimulatedAgent(around.model, serving)
        self._task: asyncio.Task[None] | None = None
        self._trial: SimulatedTrial | None = None
        self._booted_at = 0.0

    def boot(self) -> None:
        """The machine was switched on."""
        now = self._booted_at = self._around.clock()
        self._around.books.serves(self._traits.node_id, self.agent.answers, now)
        self._follow(self.agent.resume(now))

    def switch_off(self) -> None:
        now = self._around.clock()
        if self._task is not None:
            self._task.cancel()
        self.agent.drain(now)
        self._around.books.serves(self._traits.node_id, "", now)

    def reported(self) -> ReportedModel:
        """The truth, where the node is no liar."""
        truth = self.agent.reported(self._trial.told() if self._trial is not None else None)
        if self._traits.lie is None:
            return truth
        self._around.books.lies += 1
        return lied(truth, self._traits.lie)

    def wanted(self, model: DesiredModel) -> None:
        """Starts the update to it, where it is not known."""
        answered = self.agent.answers
        following = self.agent.reconcile(model, self._around.clock())
        if following is not False:
            if self._task is not None:
                self._task.cancel()
            self._note(answered)
            self._follow(following)
        elif self._task is None or self._task.done():
            self._task = self._around.tasks.create_task(self._say())

    async def _say(self) -> None:
        await self._send()

    def _follow(self, following: RunStep | RetryStep | bool | None) -> None:
        self._trial = None
        self._changed()
        work = self._carry_on(following) if isinstance(following, RunStep | RetryStep) else self._say()
        self._task = self._around.tasks.create_task(work)

    async def _carry_on(self, following: RunStep | RetryStep | None) -> None:
        pauses = 0
        while following is not None:
            if isinstance(following, RetryStep):
                await self._online.wait()
                await self._pause(_RETRY.pause_s(pauses, self._around.rng))
                pauses += 1
            event = await self._in_time(following.step)
            pauses = pauses if isinstance(event, OutOfReach) else 0
            answered = self.agent.answers
            following = self.agent.apply(event, self._around.clock())
            self._changed()
            self._note(answered)
            if isinstance(event, Committed):
                self._around.books.committed[self.agent.active].append(self._around.clock())
        await self._send()
        update = self.agent.update
        if self._trial is not None and update is not None and update.state is S.SUCCEEDED and not update.proved:
            await self._show_more(self._trial, update.policy)

    async def _in_time(self, step: str) -> UpdateEvent:
        """One step, inside the time that the agent's table gives the update's state."""
        update = self.agent.update
        assert update is not None
        try:
            async with asyncio.timeout_at(update.deadline if math.isfinite(update.deadline) else None):
                return await self._perform(step)
        except TimeoutError:
            return TimedOut(update.generation)

    async def _perform(self, step: str) -> UpdateEvent:
        """One step. What it does to the disk and to the runtime takes the time that the scenario names."""
        update, around = self.agent.update, self._around
        assert update is not None
        artifact = around.artifacts[update.manifest_digest]
        match step:
            case "turn":
                return Ready(update.generation)
            case "reserve":
                if not self._online.is_set():
                    return OutOfReach(update.generation, "the cloud cannot be reached")
                return Reserved(update.generation)
            case "download":
                await self._send()
                if not await self._downloads.fetch(update.manifest_digest):
                    return OutOfReach(update.generation, "the cloud cannot be reached")
                return Fetched(update.generation)
            case "verify":
                return Verified(update.generation)
            case "load":
                await self._pause(self._traits.group.load_s * around.rng.uniform(0.5, 1.5))
                if not update.proved and around.rng.random() < artifact.load_fails:
                    return StepFailed(update.generation, "runtime-failure", f"{artifact.name} cannot be loaded here")
                return Loaded(update.generation)
            case "shadow":
                if not update.proved and update.replaces and update.policy.shadow_s:
                    await self._pause(update.policy.shadow_s)
                    self._tried().shadow(update.policy.shadow_s)
                return Shadowed(update.generation)
            case "swap":
                answered = self.agent.answers
                event = self.agent.swap()
                self._note(answered)
                return event
            case "watch":
                return await self._watch(self._tried())
        return self.agent.adopt()

    def _tried(self) -> SimulatedTrial:
        """What the update under way shows of its candidate."""
        update, around = self.agent.update, self._around
        assert update is not None
        if self._trial is None:
            before, served_s = around.artifacts.get(update.replaces), around.clock() - self._booted_at
            artifact = around.artifacts[update.manifest_digest]
            self._trial = SimulatedTrial(update, artifact, before, self._traits, around.draws, served_s)
        return self._trial

    async def _watch(self, trial: SimulatedTrial) -> UpdateEvent:
        """Reports while the evidence grows."""
        ends, event = trial.watch()
        at = 0.0
        await self._send()
        while at < ends:
            before, at = at, trial.next_report_s(at, ends)
            await asyncio.sleep(at - before)
            self._changed()
            if at < ends:
                await self._send()
        trial.at(ends)
        return event

    async def _show_more(self, trial: SimulatedTrial, policy: ProbationPolicy) -> None:
        """The candidate is adopted: its evidence grows on, and is reported for as long as the cloud asks for it."""
        answers_s = policy.duration_s
        while answers_s + (pause_s := trial.pause_s()) <= policy.evidence_s:
            await self._pause(pause_s)
            answers_s += pause_s
            trial.serves(pause_s)
            if trial.worth_telling(answers_s):
                self._changed()
        await self._send()

    async def _pause(self, seconds: float) -> None:
        await self._send()
        await asyncio.sleep(seconds)

    def _note(self, answered: str) -> None:
        """For the books: what answers requests since now."""
        now, books = self._around.clock(), self._around.books
        if self.agent.answers != answered:
            books.serves(self._traits.node_id, self.agent.answers, now)
