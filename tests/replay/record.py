"""Records the audit trails that tests/replay replays: `python -m tests.replay.record`.

The fleet is the kit's, in virtual time; the ledger is a real Redis, the decisions and commands are the coordinator's own. A
recorded file is never written again by hand or by a newer version: it stands for a coordinator that wrote it once, so record
only files that are not there.
"""

from __future__ import annotations

import asyncio
import json
import random
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from littoral_cloud.fleet.ledger import Change, CommittedChange, Fence, Ledger, Write
from littoral_cloud.fleet.records import UpdateState
from littoral_cloud.rollouts.back import withdraw_everywhere
from littoral_cloud.rollouts.commands import read_rollout, start_rollout
from littoral_cloud.rollouts.controller import Controller
from littoral_cloud.rollouts.state import ENDED, RolloutPolicy
from littoral_cloud.rollouts.steering import abort
from littoral_cloud.store.connection import Endpoint
from littoral_cloud.store.embedded import embedded_redis
from littoral_cloud.store.redis_ledger import RedisLedger
from tests.kit.rollout_world import Fate, World, artifact
from tests.kit.view import following

FOLDER = Path(__file__).parent / "rollouts"
OLD, GOOD = artifact("old", accuracy=0.97), artifact("good", accuracy=0.99)
SLOW = Fate(takes_s=1_000.0)
BAD = Fate({GOOD.manifest_digest: UpdateState.ROLLED_BACK})
LATER = RolloutPolicy(pending_s=600.0)

MANY = {f"n{number:03}": Fate(takes_s=1.0) for number in range(450)}
"""More than two batches of nodes."""
IN_BATCHES = RolloutPolicy(wave_sizes=(1,), most_nodes=450)
KILLED = frozenset({"killed-after-each-commit", "killed-on-the-way-back"})
"""Scenarios in which each controller makes one commit, and is gone."""

Act = Callable[[Ledger, str], Awaitable[object]]
SCENARIOS: dict[str, tuple[dict[str, Fate], RolloutPolicy, Act | None]] = {
    "promoted": ({"a": Fate(), "b": Fate(), "c": Fate()}, RolloutPolicy(), None),
    "rolled-back-by-probation": ({"a": BAD, "b": Fate(), "c": Fate()}, RolloutPolicy(), None),
    "aborted": ({"a": SLOW, "b": Fate()}, RolloutPolicy(), lambda ledger, id: abort(ledger, id, "alice")),
    "expired": ({"a": Fate(away=((0.0, 9_999.0),))}, LATER, None),
    "withdrawn": (
        {"a": SLOW, "b": Fate()},
        RolloutPolicy(),
        lambda ledger, id: withdraw_everywhere(ledger, id.rpartition("-r")[0], "it is wrong", "alice"),
    ),
    "killed-after-each-commit": (MANY, IN_BATCHES, None),
    "killed-on-the-way-back": (MANY | {"n007": replace(BAD, takes_s=3.0)}, IN_BATCHES, None),
}


class Killed(Exception):
    pass


class MortalLedger:
    """The ledger of a controller that is gone after one commit."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.commits = ledger, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ledger, name)

    async def commit(self, change: Change, *, fence: Fence | None = None) -> CommittedChange:
        if self.commits:
            raise Killed
        self.commits += 1
        return await self.ledger.commit(change, fence=fence)


async def recorded(ledger: Ledger, world: World, policy: RolloutPolicy, act: Act | None, *, killed: bool = False) -> str:
    """Runs one rollout to its end; gives its id. `act` is called in the first wave."""
    release = world.release(1, GOOD)
    await _to_ledger(world, ledger)
    id = await start_rollout(ledger, release, world.now, policy, actor="alice")
    async with following(ledger) as fleet:
        while True:
            await fleet.view.catch_up()
            of_controller = cast(Ledger, MortalLedger(ledger)) if killed else ledger
            with suppress(Killed):
                await Controller(of_controller, fleet, lambda: world.now, random.Random(1)).advance(None)
            for kind in ("rollout", "desired", "assignment"):
                world.documents.take_over(await ledger.all(kind))
            for node_id in world.actors:
                world.hand(node_id)
            rollout = (await read_rollout(ledger, id))[1]
            if rollout.state in ENDED:
                return id
            if act is not None and rollout.running_wave is not None:
                await act(ledger, id)
                act = None
            world.tick(1.0 if killed else 5.0)
            await _to_ledger(world, ledger)


async def _to_ledger(world: World, ledger: Ledger) -> None:
    docs = [doc for (kind, _), doc in world.docs.items() if kind not in ("rollout", "desired", "assignment")]
    for start in range(0, len(docs), 500):
        await ledger.commit(Change(tuple(Write(doc.kind, doc.id, doc.body, None) for doc in docs[start : start + 500])))


async def _record(name: str, endpoint: Endpoint) -> None:
    fates, policy, act = SCENARIOS[name]
    world = World([OLD, GOOD])
    for node_id, fate in fates.items():
        world.add_node(node_id, fate, serving=OLD.manifest_digest)
    async with RedisLedger.open(endpoint, lambda: world.now, fleet=name) as ledger:
        id = await recorded(ledger, world, policy, act, killed=name in KILLED)
        ended = (await read_rollout(ledger, id))[1].state
        head = {"rollout": id, "ended": ended}
        lines = [
            {"at": e.at, "action": e.action, "subject": e.subject, "actor": e.actor, "details": dict(e.details)}
            for e in await ledger.audit()
        ]
    text = "".join(json.dumps(line) + "\n" for line in (head, *lines))
    (FOLDER / f"{name}.jsonl").write_text(text)


async def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        async with embedded_redis(Path(folder)) as socket:
            for name in SCENARIOS:
                if not (FOLDER / f"{name}.jsonl").exists():
                    await _record(name, Endpoint(socket=socket))


if __name__ == "__main__":
    asyncio.run(main())
