"""Keeps the federated runs going: in the coordinator, one run at a time, each in a worker process that dies with it.

One at a time because a node has one federated task; the others wait in order. What to do next is read from the ledger, so a
coordinator that was killed goes on where the last one stood.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from math import inf
from pathlib import Path

from littoral.backoff import Backoff
from littoral.errors import NotFound, Unavailable
from littoral.process.command import Command
from littoral.process.limits import command_of
from littoral_cloud.federation.exchange import forget_run
from littoral_cloud.federation.run import (
    KIND,
    STOPPED,
    Run,
    RunState,
    all_runs,
    crashed,
    failed,
    next_run,
    read_run,
    started,
    update_run,
)
from littoral_cloud.federation.worker import LEASE, TRY_AGAIN
from littoral_cloud.fleet.controller import ControllerSpec, News, keep_advancing
from littoral_cloud.fleet.ledger import Audit, Clock, Fence, Ledger
from littoral_cloud.fleet.records import Desired, load

log = logging.getLogger(__name__)

MAX_CRASHES = 3
"""Crashes of the worker within one round, after which the run fails."""
BACKOFF = Backoff(2.0, 30.0)
"""Before the next start of a worker that ended too early."""
WATCH = ControllerSpec("federation", LEASE, (KIND,))


@dataclass(frozen=True, slots=True)
class RunController:
    ledger: Ledger
    data_dir: Path  # the coordinator's, for the worker; its logs go to DATA/federation/RUN_ID.log
    clock: Clock
    rng: random.Random  # for jitter
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def run(self) -> None:
        """Runs until it is cancelled."""
        await keep_advancing(self.ledger, WATCH, self._advance, self.clock, self.rng, self.sleep)

    async def _advance(self, news: News, fence: Fence) -> float:
        """Works on every run that there is, one after another."""
        if news is None:
            await self._sweep(fence)
        while (run := next_run(await all_runs(self.ledger))) is not None:
            await self._drive(run, fence)
        return inf

    async def _sweep(self, fence: Fence) -> None:
        """Takes tasks of runs that are over from the nodes: their worker died before it could."""
        live = {run.run_id for run in await all_runs(self.ledger) if not run.state.terminal}
        found = set[str]()
        async for page in self.ledger.pages("desired"):
            tasks = (load(Desired, doc).federated for doc in page if doc.body.get("federated"))
            found |= {task.run_id for task in tasks if task is not None}
        for run_id in found - live:
            await forget_run(self.ledger, run_id, fence)

    async def _drive(self, run: Run, fence: Fence) -> None:
        """Works on one run until it is over."""
        if run.state is RunState.PENDING:
            audit, now = Audit("run.started", run.run_id, "federation"), self.clock()
            run = await update_run(self.ledger, run.run_id, lambda r: started(r, now), audit, fence=fence)
        attempt = 0
        while not run.state.terminal:
            code = await self._work(run.run_id, fence)
            try:
                run = await read_run(self.ledger, run.run_id)
            except NotFound:
                return
            if run.state.terminal:
                break
            if code != TRY_AGAIN:
                run = await self._note_crash(run, code, fence)
            if not run.state.terminal:
                await self.sleep(BACKOFF.pause_s(attempt, self.rng))
                attempt += 1
        await forget_run(self.ledger, run.run_id, fence)

    async def _note_crash(self, run: Run, code: int, fence: Fence) -> Run:
        if run.crashes >= MAX_CRASHES:
            detail = f"the worker process ended {run.crashes + 1} times, last with {code}; see {self._log(run.run_id)}"
            audit = Audit("run.failed", run.run_id, "federation", {"reason": "worker-crashed", "detail": detail})
            now = self.clock()
            return await update_run(
                self.ledger, run.run_id, lambda r: failed(r, "worker-crashed", detail, now), audit, fence=fence
            )
        audit = Audit("run.worker-crashed", run.run_id, "federation", {"code": code, "crashes": run.crashes + 1})
        return await update_run(self.ledger, run.run_id, crashed, audit, fence=fence)

    async def _stopped(self, run_id: str) -> None:
        """Returns when an operator has stopped the run."""
        async with self.ledger.watch(KIND) as news:
            while True:
                with contextlib.suppress(Unavailable):
                    if (await read_run(self.ledger, run_id)).reason == STOPPED:
                        return
                await anext(news)

    def _log(self, run_id: str) -> Path:
        return self.data_dir / "federation" / f"{run_id}.log"

    async def _work(self, run_id: str, fence: Fence) -> int:
        """One life of the worker process; its exit code. Cancelled, it takes the process with it."""
        worker = await Command.start(
            f"run {run_id}",
            (
                *command_of("littoral_cloud.federation.worker"),
                *(run_id, "--data", str(self.data_dir), "--fence", str(fence.token)),
            ),
            self._log(run_id),
            how=signal.SIGKILL,  # it has no state that the ledger lacks
        )
        ended, stopped = asyncio.ensure_future(worker.ended()), asyncio.ensure_future(self._stopped(run_id))
        try:
            await asyncio.wait((ended, stopped), return_when=asyncio.FIRST_COMPLETED)
            return ended.result() if ended.done() else 0
        finally:
            for way_to_end in (ended, stopped):
                way_to_end.cancel()
            await worker.end(drain_s=0)
