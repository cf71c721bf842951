"""The daily pass over a real Redis: one coordinator of several works, once a day."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from littoral.errors import FleetError
from littoral_cloud.app import open_core
from littoral_cloud.fleet.ledger import Audit, Change, Fence
from littoral_cloud.retention.controller import DAY_S, Retention
from littoral_cloud.retention.parts import parts_of
from littoral_cloud.settings import CloudSettings
from littoral_cloud.store.redis_ledger import RedisLedger
from littoral_cloud.trust.audit_check import check_trail

pytest_plugins = ("tests.kit.redis",)

RNG = random.Random(7)


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


async def test_by_the_setting_a_coordinator_archives_the_trail(tmp_path_factory: pytest.TempPathFactory) -> None:
    data: Path = tmp_path_factory.mktemp("r")
    now = 1_800_000_000.0
    async with open_core(CloudSettings(data_dir=data, audit_days=30), clock=lambda: now) as core:
        await core.ledger.commit(Change((), (Audit("thing.done", "old", "me"),)))
        now += 31 * DAY_S
        await core.ledger.commit(Change((), (Audit("thing.done", "new", "me"),)))
        assert await Retention(core.ledger, parts_of(core), core.clock, RNG).pass_if_due()
        assert [entry.subject for entry in await core.ledger.audit()][:1] == ["new"]
        assert (await check_trail(core.ledger, core.trust.signing_keys(), folder=data)).archived == 1
    async with open_core(CloudSettings(data_dir=data)) as core:
        assert "audit" not in parts_of(core)
