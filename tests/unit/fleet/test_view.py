"""The view over a real Redis: it reads what changed and nothing else, and never goes back to what was before."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from littoral_cloud.fleet.issued_tokens import Token
from littoral_cloud.fleet.ledger import Announcement, Change, Doc, Ledger, Write
from littoral_cloud.fleet.records import dump
from littoral_cloud.fleet.view import FleetView, Held
from tests.kit.patience import PATIENCE_S

pytest_plugins = ("tests.kit.redis",)


def token(uses: int) -> dict[str, Any]:
    return dump(Token(name="t", expires_at=1.0, uses_left=uses))


class CountedReads:
    """A ledger that counts the documents that are read."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.asked: list[tuple[str, str]] = []
        self.kinds: list[str] = []

    async def get_many(self, wanted: Sequence[tuple[str, str]]) -> Sequence[Doc | None]:
        self.asked += wanted
        return await self._ledger.get_many(wanted)

    def pages(self, kind: str, size: int = 1000) -> AsyncIterator[Sequence[Doc]]:
        self.kinds.append(kind)
        return self._ledger.pages(kind, size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)


@asynccontextmanager
async def followed(ledger: Ledger) -> AsyncIterator[tuple[FleetView, CountedReads]]:
    counted = CountedReads(ledger)
    view = FleetView(counted, {"token": Token})  # type: ignore[arg-type]
    task = asyncio.create_task(view.run())
    try:
        await view.ready()
        yield view, counted
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_it_reads_everything_once_and_then_only_what_changed(ledger: Ledger) -> None:
    await ledger.commit(Change(tuple(Write("token", f"t{n}", token(n), 0) for n in range(700))))
    async with followed(ledger) as (view, counted):
        assert len(view.of("token")) == 700
        await ledger.commit(Change((Write("token", "t5", token(50), 1), Write("other", "x", {}, 0))))
        await ledger.commit(Change((Write("token", "t6", None, 1),)))
        await view.catch_up()
        assert view.of("token")["t5"] == Held(2, Token(name="t", expires_at=1.0, uses_left=50))
        assert "t6" not in view.of("token")
        assert sorted(counted.asked) == [("token", "t5"), ("token", "t6")]
        assert counted.kinds == ["token"]


async def test_what_was_committed_here_is_there_at_once(ledger: Ledger) -> None:
    async with followed(ledger) as (view, counted), view.watch("token") as news, asyncio.timeout(PATIENCE_S):
        change = Change((Write("token", "a", token(3), 0), Write("other", "x", {}, 0)))
        view.wrote(change, await ledger.commit(change))
        assert view.of("token")["a"].record.uses_left == 3
        assert await anext(news) == Announcement("token", "a")
        await view.catch_up()
        assert len(counted.asked) <= 1  # where the announcement came before the answer to the commit
        assert news.drain() == frozenset()


async def test_a_reading_that_comes_late_changes_nothing(ledger: Ledger) -> None:
    async with followed(ledger) as (view, _):
        old = Change((Write("token", "a", token(3), 0),))
        committed = await ledger.commit(old)
        await ledger.commit(Change((Write("token", "a", token(2), 1),)))
        await view.catch_up()
        view.wrote(old, committed)
        assert view.of("token")["a"].record.uses_left == 2


async def test_a_document_that_cannot_be_read_is_left_out_and_the_others_are_there(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    await ledger.commit(Change((Write("token", "a", token(3), 0), Write("token", "bad", {"name": 7}, 0))))
    async with followed(ledger) as (view, _):
        assert set(view.of("token")) == {"a"}
        await ledger.commit(Change((Write("token", "bad", token(1), 1), Write("token", "a", {"x": 1}, 1))))
        await view.catch_up()
        assert set(view.of("token")) == {"bad"}
    assert "view: left out: token bad" in caplog.text


async def test_after_any_writes_it_holds_what_the_ledger_holds(ledger: Ledger) -> None:
    rng = random.Random(7)
    heard: set[str] = set()
    async with followed(ledger) as (view, _), view.watch("token") as news:
        for _ in range(60):
            ids = rng.sample("abcdefgh", rng.randint(1, 3))
            bodies = [None if rng.random() < 0.3 else token(rng.randint(0, 9)) for _ in ids]
            change = Change(tuple(Write("token", id, body, None) for id, body in zip(ids, bodies, strict=True)))
            committed = await ledger.commit(change)
            if rng.random() < 0.5:
                view.wrote(change, committed)
        await view.catch_up()
        docs = {doc.id: (doc.generation, doc.body["uses_left"]) for doc in await ledger.all("token")}
        assert {id: (held.generation, held.record.uses_left) for id, held in view.of("token").items()} == docs
        heard |= {each.id for each in news.drain()}
        assert heard >= set(docs)


async def test_it_is_behind_while_a_change_or_a_commit_waits_and_no_longer(ledger: Ledger) -> None:
    async with followed(ledger) as (view, counted), asyncio.timeout(PATIENCE_S):
        assert view.behind_s == 0
        reading, go_on = asyncio.Event(), asyncio.Event()
        read = counted.get_many

        async def held_up(wanted: Sequence[tuple[str, str]]) -> Sequence[Doc | None]:
            reading.set()
            await go_on.wait()
            return await read(wanted)

        counted.get_many = held_up  # type: ignore[method-assign]
        writing = asyncio.create_task(ledger.commit(Change((Write("token", "a", token(1), None),))))
        await asyncio.sleep(0)  # the commit is on its way
        assert 0 < ledger.commits_wait_s <= view.behind_s
        await writing
        assert ledger.commits_wait_s == 0
        await reading.wait()
        before = view.behind_s
        await ledger.commit(Change((Write("token", "b", token(1), None),)))
        assert view.behind_s > before > 0, "the oldest one counts"
        go_on.set()
        await view.catch_up()
        assert view.behind_s == 0
