"""A search in Redis: its journal is one list of JSON lines, its leases are keys that end by themselves. Machines may share it.

Implements littoral_cloud.search.store.SearchStore. A search trains in a thread and has no event loop, so this speaks to Redis
by a blocking client of its own; it is as patient as the ledger, and redis-py repeats no command by itself.
"""

from __future__ import annotations

import logging
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError
from redis.retry import Retry
from redis.sentinel import Sentinel

from littoral.errors import BadInput, FleetError, Unavailable
from littoral_cloud.store.cluster import BlockingOwnerConnection, BlockingOwnerSSLConnection, ClusterMap, is_cluster
from littoral_cloud.store.connection import (
    BACKOFF,
    CONNECT_S,
    REPLY_S,
    Endpoint,
    Script,
    fields_of,
    unfit,
)
from littoral_cloud.store.redis_errors import passes, translated
from littoral_cloud.store.scripts import ACQUIRE, RENEW
from littoral_cloud.store.sentinels import ANSWER_S, is_sentinel, sentinels_of
from redis import ConnectionPool, Redis

log = logging.getLogger(__name__)

PATIENCE_S = 15.0
_APPEND_KEPT_MS = 10 * 60 * 1000  # far longer than an append is repeated
_AT_ONCE = 1000  # lines in one answer

# KEYS 1 journal  2 this append   ARGV 1 ms that it is remembered, then lines. A repeated one adds nothing.
_APPEND = Script(
    """
if redis.call('SET', KEYS[2], '1', 'NX', 'PX', ARGV[1]) then
  for i = 2, #ARGV do redis.call('RPUSH', KEYS[1], ARGV[i]) end
end
return redis.call('LLEN', KEYS[1])
"""
)

# KEYS 1 journal   ARGV 1 first line, from 0  2 how many at most. Gives {number of lines in the journal, lines}
_READ = Script(
    """
local first = tonumber(ARGV[1])
return {redis.call('LLEN', KEYS[1]), redis.call('LRANGE', KEYS[1], first, first + tonumber(ARGV[2]) - 1)}
"""
)

# KEYS 1 lease   ARGV 1 token. Who waits for it asks again by itself.
_RELEASE = Script("return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('DEL', KEYS[1]) or 0")

# KEYS leases. Gives 1 or 0 for each.
_TAKEN = Script(
    """
local taken = {}
for i = 1, #KEYS do taken[i] = redis.call('EXISTS', KEYS[i]) end
return taken
"""
)


class RedisSearch:
    """One search in one Redis.

    Args:
        name: of the search; searches of different names do not see each other.
        fleet: the hash tag of every key.
        patience_s: for how long a call outlasts a Redis that is away.
        clock: gives seconds.

    Raises:
        BadInput: this Redis cannot hold one. Unavailable: it cannot be had.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        name: str,
        *,
        fleet: str = "littoral",
        patience_s: float = PATIENCE_S,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self._rng = rng or random.Random()  # noqa: S311 - jitter
        self._endpoint, self._patience_s, self._clock = endpoint, patience_s, clock
        self._base = f"{{{fleet}}}:search:{name}"
        self._redis = _client(endpoint, fleet)
        if (no := unfit(fields_of(self._patiently(lambda: self._execute("INFO"))), endpoint)) is not None:
            raise no

    def close(self) -> None:
        self._redis.close()

    def read(self, start: int) -> Sequence[str]:
        """Raises FleetError where the journal has become shorter: what was answered was lost, and trials with it."""
        lines: list[str] = []
        while True:
            count, found = self._run(_READ, [self._key("journal")], [start + len(lines), _AT_ONCE])
            if count < start:
                raise FleetError(
                    f"redis: {self._endpoint} has {count} lines of this search, and had {start} before: it has lost writes",
                    hint="the same command continues from what is stored",
                )
            lines += [line.decode() for line in found]
            if len(found) < _AT_ONCE:
                return lines

    def append(self, lines: Sequence[str]) -> None:
        keys = [self._key("journal"), self._key("append", secrets.token_hex(16))]
        self._run(_APPEND, keys, [_APPEND_KEPT_MS, *lines])

    def take(self, name: str, ttl_s: float) -> int | None:
        keys = [self._key("lease", name), self._key("lease-token", name), self._key("lease-attempt", secrets.token_hex(16))]
        said, value = self._run(ACQUIRE, keys, [int(ttl_s * 1000)])
        return int(value) if said == b"acquired" else None

    def renew(self, name: str, token: int, ttl_s: float) -> bool:
        return bool(self._run(RENEW, [self._key("lease", name)], [token, int(ttl_s * 1000)]))

    def release(self, name: str, token: int) -> None:
        self._run(_RELEASE, [self._key("lease", name)], [token])

    def leased(self, names: Iterable[str]) -> frozenset[str]:
        asked = list(names)
        if not asked:
            return frozenset()
        answers = self._run(_TAKEN, [self._key("lease", name) for name in asked], [])
        return frozenset(name for name, held in zip(asked, answers, strict=True) if held)

    def _key(self, *parts: str) -> str:
        return ":".join((self._base, *parts))

    def _run(self, script: Script, keys: Sequence[str], args: Sequence[str | bytes | int]) -> Any:
        """Every script here may run twice."""

        def call() -> Any:
            try:
                return self._execute("EVALSHA", script.digest, len(keys), *keys, *args)
            except NoScriptError:
                return self._execute("EVAL", script.source, len(keys), *keys, *args)

        return self._patiently(call)

    def _execute(self, *command: str | bytes | int) -> Any:
        return self._redis.execute_command(*command)  # type: ignore[no-untyped-call]

    def _patiently(self, call: Callable[[], Any]) -> Any:
        deadline, attempt, pause = self._clock() + self._patience_s, 0, threading.Event()
        while True:
            try:
                return call()
            except (RedisError, OSError) as error:
                if not passes(error):
                    raise translated(error, self._endpoint) from error
                if self._clock() + (pause_s := BACKOFF.pause_s(attempt, self._rng)) > deadline:
                    raise Unavailable(
                        f"redis: {self._endpoint} cannot be had since {self._patience_s:g} s: {error}",
                        hint="start Redis again, then the same command: it goes on with the trials that are done",
                    ) from error
            pause.wait(pause_s)
            attempt += 1


def _client(endpoint: Endpoint, fleet: str) -> Redis:
    settings: dict[str, Any] = {
        "protocol": 2,
        "legacy_responses": False,
        "socket_connect_timeout": CONNECT_S,
        "socket_timeout": REPLY_S,
        "retry": Retry(NoBackoff(), 0),  # redis-py would run a cut-off command up to ten times more
    }
    if endpoint.password is not None:
        settings["password"] = endpoint.password
    if endpoint.socket is not None:
        return Redis(unix_socket_path=str(endpoint.socket), **settings)
    if is_cluster(endpoint.url or ""):
        cluster = ClusterMap(endpoint.url or "", fleet, settings)
        kind = BlockingOwnerSSLConnection if cluster.tls else BlockingOwnerConnection
        return Redis(connection_pool=ConnectionPool(connection_class=kind, cluster=cluster, **settings))
    if is_sentinel(endpoint.url or ""):
        address = sentinels_of(endpoint.url or "")
        asked = {"socket_timeout": ANSWER_S, "socket_connect_timeout": ANSWER_S}
        sentinel = Sentinel(address.hosts, sentinel_kwargs=asked)  # type: ignore[no-untyped-call]
        found: Redis = sentinel.master_for(address.service, ssl=address.tls, **settings)  # type: ignore[no-untyped-call]
        return found
    try:
        return Redis.from_url(endpoint.url or "", **settings)
    except (ValueError, TypeError) as error:
        raise BadInput(f"redis_url: {endpoint}: {error}", hint="redis://, rediss:// or unix://") from error
