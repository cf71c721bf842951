"""What sessions were handed is written for many nodes together, once for each intent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import pytest

from littoral.errors import Unavailable
from littoral_cloud.fleet.handed import AT_ONCE, KIND, Handed, HandedDesk, HandedModel, after_handing
from littoral_cloud.fleet.ledger import Change, CommittedChange, Fence, Ledger
from littoral_cloud.fleet.records import Desired, DesiredModel, FederatedTask, load

pytest_plugins = ("tests.kit.redis",)


class CountingLedger:
    """The ledger, which counts changes; it is away at first for as many as `away`."""

    def __init__(self, ledger: Ledger, away: int = 0) -> None:
        self.ledger, self.away, self.changes = ledger, away, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ledger, name)

    async def commit(self, change: Change, *, fence: Fence | None = None) -> CommittedChange:
        if self.away:
            self.away -= 1
            raise Unavailable("redis: is away")
        self.changes += 1
        return await self.ledger.commit(change, fence=fence)


def wanted(**generations: int) -> Desired:
    return Desired(
        models={name: DesiredModel(manifest_digest="m", rollout_id="r", generation=n) for name, n in generations.items()}
    )


async def stored(ledger: Ledger) -> Mapping[str, Handed]:
    return {doc.id: load(Handed, doc) for doc in await ledger.all(KIND)}


def test_the_first_time_of_each_intent_counts() -> None:
    first = after_handing(Handed(), wanted(a=3, b=1), 10.0)
    assert first.models == {"a": HandedModel(generation=3, at=10.0), "b": HandedModel(generation=1, at=10.0)}
    assert after_handing(first, wanted(a=3, b=1), 20.0) is first
    assert after_handing(first, wanted(a=2, b=1), 20.0) is first, "an older intent comes late"
    task = FederatedTask(run_id="r", message_id="m", message_digest="d", message_bytes=1, round=1)
    assert after_handing(first, replace(wanted(a=3, b=1), federated=task), 20.0) is first, "nothing of a model changed"
    second = after_handing(first, wanted(a=4), 30.0)
    assert second.models == {"a": HandedModel(generation=4, at=30.0)}


async def test_many_nodes_are_one_change_and_the_same_again_is_none(ledger: Ledger) -> None:
    counting = CountingLedger(ledger)
    desk = HandedDesk(cast(Ledger, counting), lambda: 7.0)
    for number in range(AT_ONCE + 1):
        desk.enter(f"n{number}", Handed())
        desk.handed(f"n{number}", wanted(digits=1))
        desk.handed(f"n{number}", wanted(digits=2))
    await desk.write()
    assert counting.changes == 2
    found = await stored(ledger)
    assert len(found) == AT_ONCE + 1
    assert all(each.models == {"digits": HandedModel(generation=2, at=7.0)} for each in found.values())
    for number in range(AT_ONCE + 1):
        desk.handed(f"n{number}", wanted(digits=2))
    await desk.write()
    assert counting.changes == 2


async def test_what_another_session_was_handed_before_stays(ledger: Ledger) -> None:
    desk = HandedDesk(ledger, lambda: 50.0)
    desk.enter("n1", Handed(models={"digits": HandedModel(generation=3, at=10.0)}))
    desk.handed("n1", wanted(digits=3))
    await desk.write()
    assert await stored(ledger) == {}
    desk.leave("n1")
    desk.enter("n1", Handed(models={"digits": HandedModel(generation=3, at=10.0)}))
    desk.handed("n1", wanted(digits=4))
    desk.leave("n1")
    await desk.write()
    assert (await stored(ledger))["n1"].models == {"digits": HandedModel(generation=4, at=50.0)}


async def test_while_redis_is_away_it_waits_and_is_written_with_the_time_of_the_handing(ledger: Ledger) -> None:
    counting, now = CountingLedger(ledger, away=1), [5.0]
    desk = HandedDesk(cast(Ledger, counting), lambda: now[0])
    desk.handed("n1", wanted(digits=1))
    with pytest.raises(Unavailable):
        await desk.write()
    now[0] = 99.0
    await desk.write()
    assert (await stored(ledger))["n1"].models["digits"].at == 5.0
