"""What every Ledger must do. The only one today is Redis's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from littoral.errors import BadInput, Conflict, LostLease
from littoral_cloud.fleet.ledger import Announcement, Audit, Change, Fence, Ledger, Take, Write
from littoral_cloud.store.connection import Endpoint
from littoral_cloud.store.redis_ledger import RedisLedger
from littoral_cloud.trust.audit_chain import GENESIS, verify
from tests.kit.patience import PATIENCE_S
from tests.kit.raw_redis import raw_redis
from tests.kit.redis_server import next_fleet

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


async def test_it_knows_the_kinds_of_which_there_is_a_document(
    ledger: Ledger, another: Callable[[], AbstractAsyncContextManager[Ledger]], redis_endpoint: Endpoint
) -> None:
    assert await ledger.kinds() == []
    await ledger.commit(Change((write("a", {}, 0), write("a", {}, 0, "node-name"), write("b", {}, 0))))
    async with another() as other, RedisLedger.open(redis_endpoint, lambda: 0.0, fleet="a*[b]") as stranger:
        assert await other.kinds() == ["node-name", "thing"]
        await stranger.commit(Change((write("x", {}, 0, "strange"),)))
        assert await stranger.kinds() == ["strange"]
    await ledger.commit(Change((write("a", None, 1, "node-name"),)))
    assert await ledger.kinds() == ["thing"]


async def test_a_change_is_written_whole_or_not_at_all(ledger: Ledger) -> None:
    await ledger.commit(Change((write("a", {}, 0),)))
    with pytest.raises(Conflict, match="thing a: expected generation 7, found 1"):
        await ledger.commit(Change((write("b", {}, 0), write("a", {}, 7)), (Audit("thing.made", "b", "me"),)))
    assert [doc.id for doc in await ledger.all("thing")] == ["a"]
    assert await ledger.audit() == []


async def test_a_deleted_document_is_gone_and_counts_on_when_it_comes_back(ledger: Ledger) -> None:
    await ledger.commit(Change((write("a", {}, 0),)))
    await ledger.commit(Change((write("a", {}, 1),)))
    assert await ledger.commit(Change((write("a", None, 2),))) == {("thing", "a"): 0}
    assert await ledger.get("thing", "a") is None
    assert await ledger.all("thing") == []
    again = await ledger.commit(Change((write("a", {}, 0),)))
    assert again["thing", "a"] > 2, "who still holds generation 2 must not take this one for it"


async def test_of_many_who_write_at_the_same_moment_one_succeeds(ledger: Ledger) -> None:
    tries = [ledger.commit(Change((write("a", {"by": n}, 0),), (Audit("thing.made", "a", str(n)),))) for n in range(20)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    winners = [n for n, result in enumerate(results) if not isinstance(result, BaseException)]
    assert len(winners) == 1
    assert all(isinstance(result, Conflict) for n, result in enumerate(results) if n not in winners)
    assert [entry.actor for entry in await ledger.audit()] == [str(winners[0])]


async def test_of_many_who_take_at_the_same_moment_each_gets_one_until_nothing_is_left(ledger: Ledger) -> None:
    body = {"name": 'a "left":9 \\"left', "at": 1_800_000_000.25, "labels": {}, "left": 12, "tags": []}
    await ledger.commit(Change((write("a", body, 0),)))
    tries = [ledger.commit(Change((Take("thing", "a", "left"), write(f"got-{n}", {}, 0)))) for n in range(20)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    refused = [result for result in results if isinstance(result, BaseException)]
    assert [str(each) for each in refused] == ["thing a: nothing is left of left (read it again)"] * 8
    assert all(isinstance(each, Conflict) for each in refused)
    doc = await ledger.get("thing", "a")
    assert doc is not None
    assert (doc.generation, doc.body) == (13, body | {"left": 0})
    assert len(await ledger.all("thing")) == 13
    for missing in (Take("thing", "gone", "left"), Take("thing", "a", "other"), Take("thing", "a", "name")):
        with pytest.raises(Conflict, match="nothing is left"):
            await ledger.commit(Change((missing,)))


@pytest.mark.parametrize(
    "change",
    [
        Change((write("a", {}, 0), write("a", {}, 0))),
        Change((write("", {}, 0),)),
        Change((write("a", {}, 0, "No Kind"),)),
        Change((write("a", {"x": float("nan")}, 0),)),
        Change((write("a", {"x": object()}, 0),)),
        Change((write("a", {"n": 1}, 0), Take("thing", "a", "n"))),
        Change((Take("thing", "a", '.*"'),)),
        Change((), (Audit("a.b", "c", "d", {"x": object()}),)),
    ],
)
async def test_what_is_no_change_is_refused_and_nothing_is_written(ledger: Ledger, change: Change) -> None:
    with pytest.raises(BadInput):
        await ledger.commit(change)
    assert await ledger.all("thing") == []


async def test_the_audit_trail_is_one_chain_whoever_writes_to_it(ledger: RedisLedger, another: Callable[[], Any]) -> None:
    async with another() as second:
        for batch in range(3):
            await asyncio.gather(
                *(
                    each.commit(Change((), (Audit("thing.done", f"{batch}-{n}", "me"), Audit("thing.seen", f"{n}", "you"))))
                    for n, each in enumerate((ledger, second, ledger, second))
                )
            )
    entries = await ledger.audit()
    assert len(entries) == 24
    assert verify(entries) is None
    assert await ledger.audit_head() == entries[-1].chain != GENESIS


async def test_the_audit_trail_can_be_read_in_pages(ledger: Ledger) -> None:
    await ledger.commit(Change((), tuple(Audit("thing.done", str(n), "me", {"n": n}) for n in range(5))))
    first = await ledger.audit(count=2)
    rest = await ledger.audit(after=first[-1].id)
    assert [entry.details["n"] for entry in (*first, *rest)] == [0, 1, 2, 3, 4]
    newest = await ledger.audit_before(count=2)
    before = await ledger.audit_before(before=newest[-1].id)
    assert [entry.details["n"] for entry in (*newest, *before)] == [4, 3, 2, 1, 0]
    with pytest.raises(BadInput, match="after"):
        await ledger.audit(after="yesterday")


async def test_a_watcher_is_woken_by_what_it_watches_and_by_nothing_else(ledger: Ledger) -> None:
    async with ledger.watch("thing", "audit") as announcements, asyncio.timeout(PATIENCE_S):
        await ledger.commit(Change((write("x", {}, None, "other"), write("a", {}, None), write("b", None, None))))
        assert {await anext(announcements), await anext(announcements)} == {
            Announcement("thing", "a"),
            Announcement("thing", "b"),
        }
        await ledger.commit(Change((), (Audit("thing.done", "a", "me"),)))
        assert (await anext(announcements)).kind == "audit"


async def test_a_watcher_that_is_slow_hears_of_a_document_once(ledger: Ledger) -> None:
    async with ledger.watch("thing") as announcements, ledger.watch("end") as ends, asyncio.timeout(PATIENCE_S):
        for _ in range(50):
            await ledger.commit(Change((write("a", {}, None),)))
        await ledger.commit(Change((write("z", {}, None, "end"),)))
        await anext(ends)
        assert await anext(announcements) == Announcement("thing", "a")
        await ledger.commit(Change((write("b", {}, None),)))
        assert await anext(announcements) == Announcement("thing", "b")


async def test_a_lease_has_one_holder_and_a_larger_token_for_each(ledger: RedisLedger, another: Callable[[], Any]) -> None:
    inside = 0
    tokens: list[int] = []

    async def hold(each: Ledger) -> None:
        nonlocal inside
        async with each.lease("rollouts", ttl_s=2 * PATIENCE_S) as fence:
            inside += 1
            assert inside == 1
            tokens.append(fence.token)
            await each.commit(Change((write("a", {"by": fence.token}, None),)), fence=fence)
            inside -= 1

    async with another() as second, asyncio.timeout(PATIENCE_S):  # less than one ttl: each was woken, none waited for its end
        await asyncio.gather(*(hold(each) for each in (ledger, second, ledger, second)))
    assert tokens == sorted(set(tokens))
    assert len(tokens) == 4


async def test_a_write_with_the_token_of_an_old_holder_is_refused(ledger: Ledger) -> None:
    async with ledger.lease("rollouts") as old:
        pass
    with pytest.raises(LostLease, match="rollouts"):
        await ledger.commit(Change((write("a", {}, 0),)), fence=old)
    async with ledger.lease("rollouts") as new:
        with pytest.raises(LostLease):
            await ledger.commit(Change((write("a", {}, 0),)), fence=Fence("rollouts", new.token - 1))
        await ledger.commit(Change((write("a", {}, 0),)), fence=new)


async def test_a_lease_outlives_its_ttl_while_it_is_held(ledger: Ledger) -> None:
    async with ledger.lease("short", ttl_s=1.5) as fence:
        await asyncio.sleep(2.0)  # what is tested is that time passes
        await ledger.commit(Change((write("a", {"held": True}, 0),)), fence=fence)
    doc = await ledger.get("thing", "a")
    assert doc is not None
    assert doc.body == {"held": True}


async def test_many_documents_are_read_at_one_time(ledger: Ledger) -> None:
    await ledger.commit(Change((write("a", {"n": 1}, 0), write("b", {"n": 2}, 0, "other"))))
    found = await ledger.get_many([("other", "b"), ("thing", "b"), ("thing", "a")])
    assert [None if doc is None else (doc.id, doc.generation, doc.body) for doc in found] == [
        ("b", 1, {"n": 2}),
        None,
        ("a", 1, {"n": 1}),
    ]
    assert await ledger.get_many([]) == []


async def test_every_document_of_a_kind_comes_in_pages(ledger: Ledger) -> None:
    ids = {f"n{number}" for number in range(2500)}
    await ledger.commit(Change(tuple(write(id, {"text": "x" * 80}, 0) for id in sorted(ids))))
    pages = [page async for page in ledger.pages("thing", 500)]
    assert {doc.id for page in pages for doc in page} == ids
    assert 2 < len(pages) < 12
    assert [doc.id for doc in await ledger.all("thing")] == sorted(ids)


async def test_a_kind_in_order_is_read_page_by_page_by_id(ledger: Ledger) -> None:
    def named(name: str, body: dict[str, object] | None = None) -> Write:
        return Write("node-name", name, body or {"node_id": name}, None)

    await ledger.commit(Change(tuple(named(name) for name in ("delta", "alfa", "charlie", "bravo"))))
    await ledger.commit(Change((named("alfa", {"node_id": "changed"}), Write("node-name", "charlie", None, None))))
    first = await ledger.page("node-name", count=2)
    assert [(doc.id, doc.generation, doc.body["node_id"]) for doc in first] == [("alfa", 2, "changed"), ("bravo", 1, "bravo")]
    assert [doc.id for doc in await ledger.page("node-name", after="bravo", count=2)] == ["delta"]
    assert await ledger.page("node-name", after="delta") == []
    await ledger.commit(Change((named("charlie"),)))
    assert [doc.id for doc in await ledger.page("node-name")] == ["alfa", "bravo", "charlie", "delta"]


async def test_ids_that_were_written_before_they_were_in_order_are_put_in_order(
    ledger: Ledger, redis_socket: Path, fleet_name: str
) -> None:
    await ledger.commit(Change(tuple(Write("node-name", name, {}, None) for name in ("b", "a"))))
    assert raw_redis(redis_socket, "DEL", "ids:node-name", fleet=fleet_name) == 1
    assert [doc.id for doc in await ledger.page("node-name")] == ["a", "b"]


async def test_a_quiet_write_is_not_announced(ledger: Ledger) -> None:
    async with ledger.watch("thing") as announcements, asyncio.timeout(PATIENCE_S):
        before = await ledger.position()
        committed = await ledger.commit(Change((Write("thing", "a", {}, None, quiet=True),)))
        assert (committed, committed.position) == ({("thing", "a"): 1}, 0)
        assert await ledger.position() == before
        committed = await ledger.commit(Change((write("b", {}, None),)))
        assert await anext(announcements) == Announcement("thing", "b")
        assert committed.position == await ledger.position() == before + 1


async def test_an_announcement_names_the_newest_generation(ledger: Ledger) -> None:
    async with ledger.watch("thing", "end") as announcements, asyncio.timeout(PATIENCE_S):
        for body in ({}, {}, {}, None):
            await ledger.commit(Change((write("a", body, None), write("b", {}, None))))
        await ledger.commit(Change((write("z", {}, None, "end"),)))
        seen: dict[str, int] = {}
        while "z" not in seen:
            seen |= {(each := await anext(announcements)).id: each.generation}
            seen |= {each.id: each.generation for each in announcements.drain()}
        assert (seen["a"], seen["b"]) == (0, 4)
        assert announcements.drain() == frozenset()


async def test_of_changes_that_are_written_together_each_has_its_own_outcome(ledger: Ledger, another: Callable[[], Any]) -> None:
    async with ledger.lease("rollouts") as old:
        pass
    await ledger.commit(Change((write("there", {}, 0), write("left", {"n": 1}, 0))))

    def line(id: str) -> tuple[Audit]:
        return (Audit("thing.made", id, "me"),)

    async with another() as second:
        await second.commit(Change((), line("of another process")))
        outcomes = await asyncio.gather(
            ledger.commit(Change((write("first", {}, 0),), line("first"))),  # goes alone; the others wait, and go together
            ledger.commit(Change((write("a", {}, 0),), line("a"))),
            ledger.commit(Change((write("there", {}, 0),), line("conflict"))),
            ledger.commit(Change((write("b", {}, 0),)), fence=old),
            ledger.commit(Change((Take("thing", "left", "n"),), line("taken"))),
            ledger.commit(Change((write("c", {}, 0),))),
            ledger.commit(Change((write("a", {"n": 2}, 1),), line("a again"))),
            return_exceptions=True,
        )
    kinds = [type(each).__name__.removesuffix("Change") for each in outcomes]
    assert kinds == [
        "Committed",
        "Committed",
        "Conflict",
        "LostLease",
        "Committed",
        "Committed",
        "Committed",
    ]
    assert outcomes[6] == {("thing", "a"): 2}
    assert "thing there: expected generation 0, found 1" in str(outcomes[2])
    entries = await ledger.audit()
    assert [entry.subject for entry in entries] == ["of another process", "first", "a", "taken", "a again"]
    assert verify(entries) is None


BODIES = st.dictionaries(
    st.text(max_size=5),
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    max_size=3,
)
WRITES = st.tuples(st.sampled_from("ab"), st.none() | BODIES, st.none() | st.integers(0, 3))


@settings(max_examples=40, deadline=None)
@given(changes=st.lists(st.lists(WRITES, min_size=1, max_size=3, unique_by=lambda each: each[0]), max_size=8))
def test_any_changes_leave_what_a_dictionary_would_hold(redis_socket: Path, changes: list[list[Any]]) -> None:
    async def run() -> None:
        async with RedisLedger.open(Endpoint(socket=redis_socket), lambda: 0.0, fleet=next_fleet()) as ledger:
            held: dict[str, tuple[int, Any]] = {}
            last = {"a": 0, "b": 0}
            for writes in changes:
                change = Change(tuple(write(*each) for each in writes), (Audit("thing.changed", "x", "me"),))
                if any(expected is not None and held.get(id, (0,))[0] != expected for id, _, expected in writes):
                    with pytest.raises(Conflict):
                        await ledger.commit(change)
                    continue
                generations = await ledger.commit(change)
                for id, body, _ in writes:
                    if body is None:
                        held.pop(id, None)
                        assert generations["thing", id] == 0
                    else:
                        last[id] += 1
                        held[id] = (last[id], body)
                        assert generations["thing", id] == last[id]
            assert {doc.id: (doc.generation, doc.body) for doc in await ledger.all("thing")} == held
            assert verify(await ledger.audit()) is None

    asyncio.run(run())


async def test_leaving_what_was_entered_leaves_no_task_behind(redis_endpoint: Endpoint, fleet_name: str) -> None:
    before = asyncio.all_tasks()
    async with AsyncExitStack() as stack:
        ledger = await stack.enter_async_context(RedisLedger.open(redis_endpoint, lambda: 0.0, fleet=fleet_name))
        await stack.enter_async_context(ledger.watch("thing"))
        await stack.enter_async_context(ledger.lease("x"))
    assert asyncio.all_tasks() == before
