"""Documents that several writers change at the same moment."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, replace

import pytest

from littoral.errors import Conflict, LostLease
from littoral_cloud.fleet.edit import TRIES, edit, repeat_on_conflict
from littoral_cloud.fleet.ledger import Audit, Fence, Ledger
from littoral_cloud.fleet.records import load

pytest_plugins = ("tests.kit.redis",)


@dataclass(frozen=True)
class Counter:
    value: int = 0


def more(before: Counter | None) -> Counter:
    before = before or Counter()
    return replace(before, value=before.value + 1)


async def test_what_others_write_at_the_same_moment_is_not_lost(ledger: Ledger) -> None:
    def line(before: Counter | None, after: Counter) -> list[Audit]:
        return [Audit("counter.raised", "c", "test", {"value": after.value})]

    await asyncio.gather(*(edit(ledger, Counter, "counter", "c", more, line) for _ in range(12)))
    doc = await ledger.get("counter", "c")
    assert doc is not None
    assert load(Counter, doc).value == 12
    assert [entry.details["value"] for entry in await ledger.audit()] == list(range(1, 13))


@pytest.mark.parametrize("change", [lambda before: None, lambda before: before])
async def test_a_change_that_changes_nothing_writes_nothing(ledger: Ledger, change: object) -> None:
    await edit(ledger, Counter, "counter", "c", more)
    edited = await edit(ledger, Counter, "counter", "c", change)  # type: ignore[arg-type]
    doc = await ledger.get("counter", "c")
    assert doc is not None
    assert (edited.written, edited.record, doc.generation) == (False, Counter(1), 1)


async def test_a_fence_that_is_not_held_ends_it_at_once(ledger: Ledger) -> None:
    with pytest.raises(LostLease):
        await edit(ledger, Counter, "counter", "c", more, fence=Fence("nobody", 1))
    assert await ledger.get("counter", "c") is None


async def test_conflicts_without_end_are_raised_after_pauses() -> None:
    tried, pauses = [], []

    async def attempt() -> None:
        tried.append(1)
        raise Conflict("always")

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    with pytest.raises(Conflict):
        await repeat_on_conflict(attempt, random.Random(1), sleep)
    assert (len(tried), len(pauses)) == (TRIES, TRIES - 1)
