"""The same cases over every place where a search can be kept."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from littoral_cloud.search.store import FolderStore, MemoryStore, SearchStore
from littoral_cloud.store.connection import Endpoint
from littoral_cloud.store.searches import RedisSearch

pytest_plugins = ("tests.kit.redis",)

TTL_S = 30.0
KINDS = ("memory", "folder", "redis")


@pytest.fixture(params=KINDS)
def opened(
    request: pytest.FixtureRequest, tmp_path: Path, redis_endpoint: Endpoint, fleet_name: str
) -> Callable[[], SearchStore]:
    """Opens the same search once more, as another process would; in memory there is only one."""
    one = MemoryStore()
    stores: dict[str, Callable[[], SearchStore]] = {
        "memory": lambda: one,
        "folder": lambda: FolderStore(tmp_path / "s"),
        "redis": lambda: RedisSearch(redis_endpoint, "s", fleet=fleet_name),
    }
    return stores[request.param]


def test_lines_stay_in_their_order_and_are_read_from_anywhere(opened: Callable[[], SearchStore]) -> None:
    a, b = opened(), opened()
    assert a.read(0) == []
    a.append(["1", "2"])
    b.append(["3"])
    assert a.read(0) == b.read(0) == ["1", "2", "3"]
    assert (b.read(2), b.read(3)) == (["3"], [])


def test_lines_that_are_put_together_stand_together(opened: Callable[[], SearchStore]) -> None:
    def put(name: str) -> None:
        store = opened()
        for i in range(20):
            store.append([f"{name}{i}", f"{name}{i}'"])

    workers = [threading.Thread(target=put, args=(name,)) for name in "abc"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    lines = opened().read(0)
    assert len(lines) == 120
    assert all(after == before + "'" for before, after in zip(lines[::2], lines[1::2], strict=True))


def test_many_lines_are_all_read(opened: Callable[[], SearchStore]) -> None:
    store = opened()
    store.append([json.dumps(i) for i in range(2_500)])
    assert [json.loads(line) for line in store.read(0)] == list(range(2_500))


def test_a_lease_has_one_holder(opened: Callable[[], SearchStore]) -> None:
    a, b = opened(), opened()
    token = a.take("run-1", TTL_S)
    assert token is not None
    assert b.take("run-1", TTL_S) is None
    assert b.leased(["run-1", "run-2"]) == {"run-1"}
    assert a.renew("run-1", token, TTL_S)
    assert not b.renew("run-1", token + 1, TTL_S)
    b.release("run-1", token + 1)  # not ours: nothing happens
    assert b.leased(["run-1"]) == {"run-1"}
    a.release("run-1", token)
    assert b.leased(["run-1"]) == frozenset()
    assert b.take("run-1", TTL_S) is not None
    assert not a.renew("run-1", token, TTL_S)
