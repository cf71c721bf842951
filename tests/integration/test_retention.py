"""The daily pass over a real Redis: one coordinator of several works, once a day."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from littoral.errors import Conflict, FleetError, LostLease, NoSpace, Unavailable
from littoral_cloud.app import open_core
from littoral_cloud.cli import execute
from littoral_cloud.federation.run import KIND as RUN
from littoral_cloud.federation.run import Run, RunState
from littoral_cloud.fleet.drift import KIND as INPUTS
from littoral_cloud.fleet.ledger import Audit, Change, Fence, Ledger, Write
from littoral_cloud.fleet.measurements import MeasurementRecord, measurement_id
from littoral_cloud.fleet.nodes import OF_A_NODE
from littoral_cloud.fleet.records import Desired, DesiredModel, Enrolment, Node, Release, dump
from littoral_cloud.fleet.telemetry import KIND as TELEMETRY
from littoral_cloud.fleet.view import FleetView
from littoral_cloud.retention.archive import FOLDER, find, find_all
from littoral_cloud.retention.controller import DAY_S, FIRST_LOOK_S, LOOK_S, Retention
from littoral_cloud.retention.parts import RetentionParts, parts_of
from littoral_cloud.rollouts.assignments import BATCH_NODES, Assignment, assignment_docs, assignment_id
from littoral_cloud.rollouts.assignments import KIND as ASSIGNMENT
from littoral_cloud.rollouts.commands import start_rollout
from littoral_cloud.rollouts.seen_fleet import RECORDS
from littoral_cloud.rollouts.state import KIND as ROLLOUT
from littoral_cloud.rollouts.state import Rollout, RolloutPolicy, RolloutState
from littoral_cloud.settings import CloudSettings
from littoral_cloud.store.redis_ledger import RedisLedger
from littoral_cloud.trust.audit_archive import LEASE
from littoral_cloud.trust.audit_check import check_trail

pytest_plugins = ("tests.kit.redis", "tests.kit.disk")

RNG = random.Random(7)
NOW = 1_800_000_000.0
RELEASE = Release(release_id="digits-1", model="digits", kind="manual", artifacts=("sha256:" + "1" * 64,), created_at=1.0)


@asynccontextmanager
async def viewing(ledger: Ledger) -> AsyncIterator[FleetView]:
    view = FleetView(ledger, {**RECORDS, RUN: Run})
    task = asyncio.create_task(view.run())
    try:
        await view.ready()
        yield view
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def retaining(ledger: Ledger, folder: Path, keep: int = 2) -> AsyncIterator[tuple[RetentionParts, Fence]]:
    async with viewing(ledger) as view, ledger.lease(LEASE) as fence:
        yield RetentionParts(ledger, view, folder, lambda: NOW, keep), fence


def rollout(ended_at: float | None, state: RolloutState = RolloutState.SUCCEEDED) -> dict[str, Any]:
    made = Rollout(
        release_id="digits-1",
        model="digits",
        kind="manual",
        policy=RolloutPolicy(),
        state=state,
        created_at=1.0,
        entered_at=1.0,
        deadline=9e9,
        ended_at=ended_at,
    )
    return dump(made)


def run(number: int) -> dict[str, Any]:
    made = Run(
        run_id=f"run-{number}",
        model="digits",
        strategy="fedavg",
        rounds=1,
        local_epochs=1,
        learning_rate=0.1,
        batch_size=1,
        seed=1,
        architecture={},
        input={},
        classes=2,
        base_weights="sha256:" + "9" * 64,
        state=RunState.FAILED,
        finished_at=float(number),
    )
    return dump(made)


async def seeded(ledger: Ledger) -> None:
    """Five rollouts that passed, one that runs, five runs that failed."""
    writes = [Write("release", "digits-1", dump(RELEASE), 0)]
    writes += [Write(ROLLOUT, f"digits-1-r{n}", rollout(float(n)), 0) for n in range(1, 6)]
    writes += [Write(ROLLOUT, "digits-1-r6", rollout(None, RolloutState.WAVE), 0)]
    writes += [Write(RUN, f"run-{n}", run(n), 0) for n in range(1, 6)]
    await ledger.commit(Change(tuple(writes)))


def fill(folder: Path) -> None:
    """Until not a byte is free."""
    with (folder / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


async def ids(ledger: Ledger, kind: str) -> list[str]:
    return [doc.id for doc in await ledger.all(kind)]


async def test_of_two_coordinators_one_works_once_a_day(
    ledger: RedisLedger, another: Callable[[], AbstractAsyncContextManager[RedisLedger]]
) -> None:
    worked: list[float] = []
    now = 1_000.0

    async def part(fence: Fence) -> str:
        worked.append(now)
        return "some"

    async with another() as second:
        both = [Retention(each, {"part": part}, lambda: now, RNG) for each in (ledger, second)]
        assert sorted(await asyncio.gather(*(each.pass_if_due() for each in both))) == [False, True]
        now += DAY_S - 1
        assert not await both[0].pass_if_due()
        now += 2
        assert sorted(await asyncio.gather(*(each.pass_if_due() for each in both))) == [False, True]
    assert worked == [1_000.0, 1_000.0 + DAY_S + 1]


async def test_a_part_that_fails_stops_no_other_and_is_repeated(ledger: RedisLedger, caplog: pytest.LogCaptureFixture) -> None:
    worked: list[str] = []

    async def broken(fence: Fence) -> str:
        worked.append("broken")
        if len(worked) == 1:
            raise FleetError("the disk is full")
        return ""

    async def good(fence: Fence) -> str:
        worked.append("good")
        return ""

    retention = Retention(ledger, {"first": broken, "second": good}, lambda: 5.0, RNG)
    assert await retention.pass_if_due()
    assert worked == ["broken", "good"]
    assert "retention: first: the disk is full" in caplog.text
    assert await retention.pass_if_due(), "it was not finished"
    assert not await retention.pass_if_due()


async def test_it_looks_soon_after_the_start_and_then_every_hour_though_redis_was_away(ledger: RedisLedger) -> None:
    now, pauses, worked = NOW, list[float](), list[float]()

    async def sleep(seconds: float) -> None:
        nonlocal now
        pauses.append(seconds)
        now += seconds
        if len(pauses) > 30:
            raise StopAsyncIteration

    async def part(fence: Fence) -> str:
        worked.append(now)
        if len(worked) == 1:
            raise Unavailable("redis is away")
        return ""

    with pytest.raises(StopAsyncIteration):
        await Retention(ledger, {"part": part}, lambda: now, RNG, sleep).run()
    assert FIRST_LOOK_S <= pauses[0] <= 1.5 * FIRST_LOOK_S
    assert all(LOOK_S <= each <= 1.5 * LOOK_S for each in pauses[1:])
    assert worked[1] == worked[0] + pauses[1]
    assert len(worked) == 3
    assert DAY_S <= worked[2] - worked[1] < DAY_S + 1.5 * LOOK_S


async def test_by_the_setting_a_coordinator_archives_the_trail(tmp_path_factory: pytest.TempPathFactory) -> None:
    data: Path = tmp_path_factory.mktemp("r")
    now = 1_800_000_000.0
    async with open_core(CloudSettings(data_dir=data, audit_days=30), clock=lambda: now) as core:
        await core.ledger.commit(Change((), (Audit("thing.done", "old", "me"),)))
        now += 31 * DAY_S
        await core.ledger.commit(Change((), (Audit("thing.done", "new", "me"),)))
        async with viewing(core.ledger) as view:
            assert await Retention(core.ledger, parts_of(core, view), core.clock, RNG).pass_if_due()
        assert [entry.subject for entry in await core.ledger.audit()][:1] == ["new"]
        assert (await check_trail(core.ledger, core.trust.signing_keys(), folder=data)).archived == 1
        assert "audit" not in parts_of(replace(core, settings=CloudSettings(data_dir=data)), view)


async def test_ended_rollouts_and_runs_go_into_a_file_and_the_numbers_go_on(ledger: RedisLedger, tmp_path: Path) -> None:
    await seeded(ledger)
    before = {doc.id: doc for kind in (ROLLOUT, RUN) for doc in await ledger.all(kind)}
    async with retaining(ledger, tmp_path) as (retained, fence):
        assert "archived 3 in" in await retained.rollouts(fence)
        assert "archived 3 in" in await retained.runs(fence)
        assert await retained.rollouts(fence) == await retained.runs(fence) == ""
    assert await ids(ledger, ROLLOUT) == ["digits-1-r4", "digits-1-r5", "digits-1-r6"]
    assert await ids(ledger, RUN) == ["run-4", "run-5"]
    for kind, id in [*((ROLLOUT, f"digits-1-r{n}") for n in (1, 2, 3)), *((RUN, f"run-{n}") for n in (1, 2, 3))]:
        found = find(tmp_path, kind, id)
        assert found is not None
        assert found.doc == before[id]
    lines = {entry.action: entry for entry in await ledger.audit()}
    assert lines["rollout.archived"].details == {"ids": [f"digits-1-r{n}" for n in (1, 2, 3)], "folder": str(tmp_path)}
    assert lines["run.archived"].subject == "runs-2027.jsonl"

    await ledger.commit(Change(tuple(Write(ROLLOUT, f"digits-1-r{n}", None, None) for n in (4, 5, 6))))
    with pytest.raises(Conflict, match="is archived"):
        await start_rollout(ledger, RELEASE, NOW, number=3)
    assert await start_rollout(ledger, RELEASE, NOW) == "digits-1-r4", "an archived number is not used again"


def given(rollout_id: str, nodes: int) -> list[Write]:
    found = []
    for number in range(nodes):
        a = Assignment(rollout_id=rollout_id, node_id=f"n{number:03}", manifest_digest="m", name="x", previous="", generation=1)
        found.append(Write(ASSIGNMENT, assignment_id(rollout_id, a.node_id), dump(a), 0))
    return found


async def test_what_each_node_got_goes_into_a_file_with_its_rollout_and_is_found_there(
    ledger: RedisLedger, tmp_path: Path
) -> None:
    await seeded(ledger)
    many = BATCH_NODES + 5
    writes = [*given("digits-1-r1", many), *given("digits-1-r2", 2), *given("digits-1-r5", 3), *given("digits-1-r6", 1)]
    for start in range(0, len(writes), BATCH_NODES):
        await ledger.commit(Change(tuple(writes[start : start + BATCH_NODES])))
    async with retaining(ledger, tmp_path) as (retained, fence):
        await retained.rollouts(fence)
    assert len(find_all(tmp_path, ASSIGNMENT, assignment_id("digits-1-r1", ""))) == many
    assert [doc.id for doc in find_all(tmp_path, ASSIGNMENT, assignment_id("digits-1-r2", ""))] == [
        "digits-1-r2/n000",
        "digits-1-r2/n001",
    ]
    assert sorted({id.partition("/")[0] for id in await ids(ledger, ASSIGNMENT)}) == ["digits-1-r5", "digits-1-r6"]
    assert [doc.id async for doc in assignment_docs(ledger, "digits-1-r5", after="n000", most=1)] == ["digits-1-r5/n001"]


async def test_killed_between_writing_and_deleting_it_loses_nothing(ledger: RedisLedger, tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    class Dying:
        """A ledger that writes nothing."""

        def __getattr__(self, name: str) -> Any:
            return getattr(ledger, name)

        async def commit(self, change: Change, *, fence: Fence | None = None) -> None:
            raise Killed

    await seeded(ledger)
    async with retaining(ledger, tmp_path) as (retained, fence):
        dying: Any = Dying()
        with pytest.raises(Killed):
            await replace(retained, ledger=dying).rollouts(fence)
        assert len(await ids(ledger, ROLLOUT)) == 6
        await retained.rollouts(fence)
    assert await ids(ledger, ROLLOUT) == ["digits-1-r4", "digits-1-r5", "digits-1-r6"]
    assert (tmp_path / "rollouts-2027.jsonl").read_text().count('"id": "digits-1-r1"') == 2
    assert find(tmp_path, ROLLOUT, "digits-1-r1") is not None


async def test_without_the_lease_nothing_is_deleted(ledger: RedisLedger, tmp_path: Path) -> None:
    await seeded(ledger)
    async with retaining(ledger, tmp_path) as (retained, fence):
        with pytest.raises(LostLease):
            await retained.rollouts(replace(fence, token=fence.token - 1))
    assert len(await ids(ledger, ROLLOUT)) == 6


async def test_on_a_full_disk_nothing_is_deleted(ledger: RedisLedger, tiny_disk: Path) -> None:
    await seeded(ledger)
    fill(tiny_disk)
    async with retaining(ledger, tiny_disk) as (retained, fence):
        with pytest.raises(NoSpace):
            await retained.rollouts(fence)
    assert len(await ids(ledger, ROLLOUT)) == 6


async def test_what_is_left_of_a_node_that_is_out_goes(ledger: RedisLedger, tmp_path: Path) -> None:
    def node(id: str, enrolment: Enrolment) -> Write:
        record = Node(
            node_id=id,
            name=id,
            enrolment=enrolment,
            public_key_sha256="",
            certificate_sha256="",
            certificate_expires_at=9e9,
            enrolled_at=0.0,
        )
        return Write("node", id, dump(record), 0)

    def measured(digest: str, node_id: str) -> Write:
        record = MeasurementRecord(manifest_digest=digest, node_id=node_id, hardware_class="c", measured_at=1.0)
        return Write("measurement", measurement_id(digest, node_id), dump(record), 0)

    wanted = Desired(models={"digits": DesiredModel(manifest_digest="wanted", rollout_id="r", generation=1)})
    [released] = RELEASE.artifacts
    there = [node("in", Enrolment.ACCEPTED), Write("desired", "in", dump(wanted), 0), Write("release", "r", dump(RELEASE), 0)]
    there += [measured("wanted", "in"), measured(released, "in")]
    there += [Write(kind, "in:digits", {"last_report_at": 1.0, "updated_at": 1.0}, 0) for kind in (TELEMETRY, INPUTS)]
    old = [measured("forgotten", "in"), measured(released, "out")]
    old += [Write(kind, "in:former", {"last_report_at": 1.0, "updated_at": 1.0}, 0) for kind in (TELEMETRY, INPUTS)]
    old += [Write(kind, "out:digits", {"last_report_at": NOW, "updated_at": NOW}, 0) for kind in (TELEMETRY, INPUTS)]
    old += [Write(kind, "out", dump(Desired()) if kind == "desired" else {}, 0) for kind in OF_A_NODE]
    await ledger.commit(Change((*there, *old, node("out", Enrolment.DECOMMISSIONED))))
    async with retaining(ledger, tmp_path) as (retained, fence):
        assert await retained.measurements(fence) == "deleted 2"
        assert await retained.leftovers(fence) == f"deleted {len(old) - 2}"
        assert await retained.measurements(fence) == await retained.leftovers(fence) == ""
        assert not {write.id for write in old} & set(retained.view.of("measurement"))
    left = {(kind, id) for kind in await ledger.kinds() for id in await ids(ledger, kind)}
    assert left == {*((write.kind, write.id) for write in there), ("node", "out")}


async def test_an_archived_rollout_and_run_are_shown(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path_factory.mktemp("r")
    async with open_core(CloudSettings(data_dir=data)) as core:
        await seeded(core.ledger)
        async with retaining(core.ledger, data / FOLDER) as (retained, fence):
            await retained.rollouts(fence)
            await retained.runs(fence)
        for words, shown in ((("rollout", "show", "digits-1-r1"), "SUCCEEDED"), (("run", "show", "run-1"), "FAILED")):
            assert await asyncio.to_thread(execute, [*words, "--data-dir", str(data)]) == 0
            out = capsys.readouterr().out
            assert shown in out
            assert str(data / FOLDER) in out
            assert await asyncio.to_thread(execute, [*words[:2], "none", "--data-dir", str(data)]) == 4
            assert "there is none" in capsys.readouterr().err


async def test_what_operators_left_goes_when_it_opens_nothing_any_more(ledger: Ledger, tmp_path: Path) -> None:
    day_s = 86_400.0
    ends = {
        ("web-session", "over"): {"expires_at": NOW - 1},
        ("web-session", "open"): {"expires_at": NOW + 60},
        ("idempotency", "old"): {"at": NOW - day_s},
        ("idempotency", "young"): {"at": NOW - 60},
        ("operator-token", "long-over"): {"expires_at": NOW - 91 * day_s},
        ("operator-token", "over"): {"expires_at": NOW - 1},
    }
    await ledger.commit(Change(tuple(Write(kind, id, body, 0) for (kind, id), body in ends.items())))
    async with retaining(ledger, tmp_path) as (parts, fence):
        assert "3" in await parts.expired(fence)
        assert await parts.expired(fence) == ""
    kinds = sorted({kind for kind, _ in ends})
    assert {doc.id for kind in kinds for doc in await ledger.all(kind)} == {"open", "young", "over"}
