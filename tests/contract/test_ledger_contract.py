"""What every Ledger must do. The only one today is Redis's."""

from __future__ import annotations

import asyncio

import pytest

from cloud.fleet.ledger import Announcement, Audit, Change, Ledger, Write
from littoral.errors import Conflict

pytest_plugins = ("tests.kit.redis",)


def write(id: str, body: dict[str, object] | None, expected: int | None, kind: str = "thing") -> Write:
    return Write(kind, id, body, expected)


async def test_a_document_has_generation_1_when_new_and_one_more_with_every_write(ledger: Ledger) -> None:
    assert await ledger.get("thing", "a") is None
    assert await ledger.commit(Change((write("a", {"n": 1}, 0),))) == {("thing", "a"): 1}
    assert await ledger.commit(Change((write("a", {"n": 2}, 1),))) == {("thing", "a"): 2}
    doc = await ledger.get("thing", "a")
    assert doc is not None
    assert (doc.generation, doc.body) == (2, {"n": 2})


async def test_a_change_is_written_whole_or_not_at_all(ledger: Ledger) -> None:
    await ledger.commit(Change((write("a", {}, 0),)))
    with pytest.raises(Conflict, match="thing a: expected generation 7, found 1"):
        await ledger.commit(Change((write("b", {}, 0), write("a", {}, 7)), (Audit("thing.made", "b", "me"),)))
    assert [doc.id for doc in await ledger.all("thing")] == ["a"]
    assert await ledger.audit() == []


async def test_a_watcher_is_woken_by_what_it_watches(ledger: Ledger) -> None:
    async with ledger.watch("thing") as announcements:
        await ledger.commit(Change((write("x", {}, None, "other"), write("a", {}, None))))
        async with asyncio.timeout(5):
            assert await anext(announcements) == Announcement("thing", "a")
