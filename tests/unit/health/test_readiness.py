"""When a coordinator is ready, and what it says where it is not."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from littoral.errors import FleetError, NoSpace, Unavailable
from littoral_cloud.health import readiness
from littoral_cloud.health.readiness import (
    LEAST_FREE_BYTES,
    PartState,
    Readiness,
    Validity,
    certificate_part,
    disk_part,
    view_part,
)

DAY_S = 86_400.0


class Parts:
    """A ledger and a view that a test may break."""

    def __init__(self) -> None:
        self.error: FleetError | None = None
        self.answers = asyncio.Event()
        self.answers.set()
        self.is_read = True
        self.behind_s = 0.0
        self.writes = 0

    async def check_writable(self) -> None:
        await self.answers.wait()
        self.writes += 1
        if self.error is not None:
            raise self.error


@pytest.fixture
def parts() -> Parts:
    return Parts()


@pytest.fixture
def ready(parts: Parts, tmp_path: Path) -> Readiness:
    certificates = (Validity("listeners", 0, 100 * DAY_S),)
    return Readiness(parts, parts, {"data": tmp_path}, lambda: certificates, lambda: 50 * DAY_S)


def not_ready(ready: Readiness) -> dict[str, str]:
    return {part.part: part.why for part in ready.parts if not part.ready}


async def test_before_the_first_look_nothing_is_ready(ready: Readiness) -> None:
    assert set(not_ready(ready)) == {"redis", "view", "disk", "certificate"}
    await ready.look()
    assert ready.ready, not_ready(ready)


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (Unavailable("redis: unix:///secret/place is away", hint="start it"), "a write fails: unavailable"),
        (NoSpace("redis: full"), "a write fails: no-space"),
    ],
)
async def test_a_redis_that_takes_no_write_is_named_without_its_address(
    parts: Parts, ready: Readiness, error: FleetError, why: str
) -> None:
    parts.error = error
    await ready.look()
    assert not_ready(ready) == {"redis": why}
    parts.error = None
    await ready.look()
    assert ready.ready


async def test_a_redis_that_does_not_answer_holds_nobody_up(
    parts: Parts, ready: Readiness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "CHECK_S", 0.01)
    parts.answers.clear()
    await ready.look()
    assert not_ready(ready) == {"redis": "no answer within 0.01 s"}


async def test_a_view_that_is_read_or_behind_is_named(parts: Parts, ready: Readiness) -> None:
    parts.behind_s = 20.0
    await ready.look()
    assert not_ready(ready) == {"view": "20.0 s behind, 15 s are the most"}
    parts.is_read = False
    await ready.look()
    assert not_ready(ready) == {"view": "the fleet is being read"}


def test_the_limits_of_each_part() -> None:
    assert view_part(True, 15.0) == ""
    assert disk_part({"data": LEAST_FREE_BYTES}) == ""
    assert disk_part({"data": LEAST_FREE_BYTES, "blobs": 2**20}) == "blobs: 1 MiB free, 128 MiB are the least"
    assert disk_part({"data": None}) == "data: cannot be asked"
    certificates = (Validity("listeners", 10 * DAY_S, 20 * DAY_S), Validity("ca", 0, 30 * DAY_S))
    assert certificate_part(certificates, 10 * DAY_S) == ""
    assert certificate_part(certificates, 20 * DAY_S) == "listeners: ended 0.0 days ago"
    assert certificate_part(certificates, 0.0) == "listeners: begins in 10.0 days: is this machine's clock right?"
    assert certificate_part(certificates[1:], 31 * DAY_S) == "ca: ended 1.0 days ago"


async def test_what_was_seen_long_ago_does_not_count(ready: Readiness, monkeypatch: pytest.MonkeyPatch) -> None:
    await ready.look()
    monkeypatch.setattr(readiness, "STALE_S", -1.0)
    assert set(not_ready(ready)) == {"redis", "view", "disk", "certificate"}
    assert "last looked at 0 s ago" in not_ready(ready)["redis"]


async def test_one_that_ends_is_not_ready_any_more_and_says_so_at_once(ready: Readiness) -> None:
    await ready.look()
    version = ready.version
    waiting = asyncio.create_task(ready.later_than(version))
    ready.drain()
    async with asyncio.timeout(5):
        await waiting
    assert not_ready(ready) == {"draining": "it was asked to end"}


async def test_a_change_is_logged_once_and_a_start_is_not(
    parts: Parts, ready: Readiness, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger=readiness.__name__)
    parts.is_read = False
    await ready.look()
    parts.is_read = True
    await ready.look()
    assert caplog.messages == []
    parts.error = Unavailable("away")
    await ready.look()
    await ready.look()
    parts.error = None
    await ready.look()
    assert caplog.messages == ["ready: redis: a write fails: unavailable", "ready: redis: ready again"]


def test_a_part_without_a_reason_is_ready() -> None:
    assert PartState("disk").ready
    assert not PartState("disk", "full").ready
