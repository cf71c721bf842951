"""A real Redis for tests: one embedded server a session, a fleet of its own for each test."""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from cloud.store.connection import Endpoint
from cloud.store.embedded import embedded_redis
from cloud.store.redis_ledger import RedisLedger

_fleets = itertools.count(1)


@pytest.fixture(scope="session")
def redis_socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The socket of an embedded Redis that lives as long as the session, on an event loop of its own thread."""
    folder = tmp_path_factory.mktemp("redis")
    started: list[Path | BaseException] = []
    ready, done = threading.Event(), threading.Event()

    async def serve() -> None:
        try:
            async with embedded_redis(folder) as socket:
                started.append(socket)
                ready.set()
                await asyncio.to_thread(done.wait)
        except BaseException as error:
            started.append(error)
            ready.set()
            raise

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    ready.wait()
    if isinstance(started[0], BaseException):
        raise started[0]
    yield started[0]
    done.set()
    thread.join()


@pytest.fixture
def redis_endpoint(redis_socket: Path) -> Endpoint:
    return Endpoint(socket=redis_socket)


@pytest.fixture
def fleet_name() -> str:
    """A fleet that no other test sees."""
    return f"test-{os.getpid()}-{next(_fleets)}"


@pytest.fixture
async def ledger(redis_endpoint: Endpoint, fleet_name: str) -> AsyncIterator[RedisLedger]:
    async with RedisLedger.open(redis_endpoint, time.time, fleet=fleet_name, patience_s=5.0) as opened:  # noqa: TID251 - a shell
        yield opened
