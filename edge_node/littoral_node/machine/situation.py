"""What this node may spend now: reads the machine when the kernel announces a change, and sends a new budget at once."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from littoral.budget import Budget
from littoral.fleet.v1 import hardware_pb2, session_pb2
from littoral_node.machine import metered, overlay, uevents
from littoral_node.machine.conditions import ConditionsInForce, Reading, Thresholds, is_hot, read, step
from littoral_node.machine.wire import budget_to

POLL_S = 30.0
"""Time between two readings without an event of the kernel: it does not always announce a slow battery."""

POLL_ELSEWHERE_S = 1.0
"""The same for the root of a simulation: the kernel announces no change there."""

TOGETHER_S = 0.1
"""Time to wait for further events: pulling a plug makes several."""

LINE_S = 60.0
"""How often NetworkManager is asked."""


class Situation:
    """Args:
    plain: budgets by model name where nothing holds; "" for models that are not named.
    overlays: by condition, what takes its place while that holds.
    root: below which the machine's files lie.
    line: whether the line is metered; None: the machine is asked.
    changed: called with the message to send when the budgets, or how the machine stands, changed.
    labelled: counts the labelled examples of the node; None where it has none.
    """

    def __init__(
        self,
        plain: Mapping[str, Budget],
        overlays: Mapping[str, Budget],
        thresholds: Thresholds,
        *,
        root: Path,
        line: bool | None,
        changed: Callable[[session_pb2.ConnectRequest], object],
        log: Callable[..., None],
        monotonic: Callable[[], float],
        labelled: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._plain, self._overlays, self._thresholds = plain, overlays, thresholds
        self._root, self._line, self._asked_line = root, line, line
        self._changed, self._log, self._monotonic = changed, log, monotonic
        self._labelled, self.examples = labelled, labelled()
        self._asked_at = -math.inf
        self._reading = read(root, line)
        self._conditions = step(ConditionsInForce(), self._reading, thresholds, monotonic())
        self._woken = asyncio.Event()

    @property
    def holds(self) -> frozenset[str]:
        """All conditions that hold, with a budget or without one."""
        return self._conditions.in_force

    @property
    def in_force(self) -> tuple[str, ...]:
        """Conditions that hold and that have a budget; in the order of the settings."""
        return tuple(name for name in self._overlays if name in self._conditions.in_force)

    def budgets(self) -> dict[str, Budget]:
        """By model name, the budget now."""
        return overlay.in_force(self._plain, self._overlays, self._conditions.in_force)

    @property
    def metered(self) -> bool | None:
        """Whether the network is metered; None: not known."""
        return self._reading.metered

    def conditions(self) -> hardware_pb2.Conditions:
        reading = self._reading
        return hardware_pb2.Conditions(
            on_mains=reading.on_mains,
            battery_percent=reading.battery_percent,
            celsius=reading.celsius,
            hot="hot" in self._conditions.in_force or is_hot(reading, self._thresholds),
            metered=reading.metered,
            in_force=self.in_force,
        )

    def count(self) -> int | None:
        """Labelled examples that the node holds at this moment."""
        self.examples = self._labelled()
        return self.examples

    def message(self) -> session_pb2.ConnectRequest:
        change = session_pb2.BudgetChange(conditions=self.conditions())
        for model, budget in self.budgets().items():
            change.budgets[model].CopyFrom(budget_to(budget))
        if self.examples is not None:
            change.labelled_examples[""] = self.examples
        return session_pb2.ConnectRequest(budget_change=change)

    async def run(self) -> None:
        """Until cancelled."""
        with self._listening() as heard:
            poll = POLL_S if heard else POLL_ELSEWHERE_S if self._root != Path("/") else POLL_S / 3
            while True:
                await self.look()
                pause = min(poll, max(0.0, self._conditions.next_end() - self._monotonic()) + 0.01)
                with suppress(TimeoutError):  # nothing was announced: time to look anyway
                    async with asyncio.timeout(pause):
                        await self._woken.wait()
                        await asyncio.sleep(min(TOGETHER_S, pause))
                self._woken.clear()

    async def look(self) -> None:
        """Reads the machine once, and sends what changed."""
        line = await self._metered()
        reading, examples = await asyncio.to_thread(lambda: (read(self._root, line), self._labelled()))
        self._take(reading, examples)

    def _take(self, reading: Reading, examples: int | None) -> None:
        before, stood = self._conditions, self._stands()
        self._reading, self.examples = reading, examples
        self._conditions = step(before, reading, self._thresholds, self._monotonic())
        if self._conditions.in_force != before.in_force:
            self._log(
                "conditions",
                holds=",".join(sorted(self._conditions.in_force)),
                budget=str(self.budgets().get("", Budget())),
                battery=reading.battery_percent,
                mains=reading.on_mains,
            )
        if self._stands() != stood:
            self._changed(self.message())

    def _stands(self) -> tuple[object, ...]:
        """The state to report to the cloud; without every percent of a battery."""
        return self._reading.on_mains, self._reading.metered, self._conditions.in_force, self.budgets(), self.examples

    async def _metered(self) -> bool | None:
        if self._line is not None:
            return self._line
        if (now := self._monotonic()) - self._asked_at >= LINE_S:
            self._asked_at, self._asked_line = now, await metered.asked(self._root)
        return self._asked_line

    @contextmanager
    def _listening(self) -> Iterator[bool]:
        """Whether the kernel tells this process of changes, for as long as the context lasts."""
        socket = uevents.open_uevents() if self._root == Path("/") else None
        if socket is None:
            yield False
            return
        loop = asyncio.get_running_loop()

        def readable() -> None:
            if uevents.drained(socket):
                self._woken.set()

        loop.add_reader(socket, readable)
        try:
            yield True
        finally:
            loop.remove_reader(socket)
            socket.close()
