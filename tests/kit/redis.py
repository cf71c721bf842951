"""Fixtures of a real Redis: one embedded server a session, a fleet of its own for each test; and a server that may be killed."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from littoral_cloud.store.connection import Endpoint
from littoral_cloud.store.embedded import embedded_redis
from littoral_cloud.store.redis_ledger import RedisLedger
from tests.kit.redis_server import MortalRedis, next_fleet


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
    return next_fleet()


@pytest.fixture
async def ledger(redis_endpoint: Endpoint, fleet_name: str) -> AsyncIterator[RedisLedger]:
    async with RedisLedger.open(redis_endpoint, time.time, fleet=fleet_name, patience_s=5.0) as opened:  # noqa: TID251 - a shell
        yield opened


@pytest.fixture
def another(redis_endpoint: Endpoint, fleet_name: str) -> Callable[[], AbstractAsyncContextManager[RedisLedger]]:
    """Opens the ledger of the same fleet once more, as another process would."""
    clock = time.time  # noqa: TID251 - a shell
    return lambda: RedisLedger.open(redis_endpoint, clock, fleet=fleet_name, patience_s=5.0)


@pytest.fixture
async def mortal_redis(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[MortalRedis]:
    server = MortalRedis(tmp_path_factory.mktemp("r"))
    await server.start()
    yield server
    await server.kill()
