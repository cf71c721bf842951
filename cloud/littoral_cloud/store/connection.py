"""One way to reach Redis: a pool that waits, no hidden retries, and errors of littoral.errors.

Replies do not depend on redis-py's reshaping: the protocol is pinned to RESP2 and everything but a hash is read by scripts,
whose arrays and bytes are the same in every version.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, ReadOnlyError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from littoral.backoff import Backoff
from littoral.errors import BadInput, Unavailable
from littoral_cloud.store.cluster import CLUSTER_SCHEMES, ClusterMap, OwnerConnection, OwnerSSLConnection, is_cluster, servers_of
from littoral_cloud.store.redis_errors import passes, translated
from littoral_cloud.store.sentinels import SENTINEL_SCHEMES, Sentinels, is_sentinel, sentinels_of

log = logging.getLogger(__name__)

MINIMUM = (6, 2)
CONNECTIONS = 32
CONNECT_S = 5.0
REPLY_S = 10.0
FIRST_CONTACT_S = 10.0  # a Redis that was never there is reported sooner than one that went away
REPLICATED_S = 1.0  # for a write to reach the replicas; then it is sent again, and changes nothing where it is there
BACKOFF = Backoff(0.02, 1.0)
SCHEMES = ("redis", "rediss", "unix", *SENTINEL_SCHEMES, *CLUSTER_SCHEMES)
_EXAMPLES = "redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where Redis is: a URL, or the socket of the embedded one.

    `replicas`: how many replicas must have a write that must survive a failover, before it is answered.
    """

    url: str | None = None
    socket: Path | None = None
    password: str | None = field(default=None, repr=False)
    replicas: int = 0

    def __str__(self) -> str:
        if self.socket is not None:
            return f"unix://{self.socket}"
        parts = urlsplit(self.url or "")
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"  # never the password


def endpoint_from(url: str, password_file: Path | None, replicas: int = 0) -> Endpoint:
    """Raises BadInput, naming the setting, where the URL or the file is not what it must be."""
    scheme = urlsplit(url).scheme
    if scheme not in SCHEMES:
        raise BadInput(f"redis_url: {scheme!r} is no scheme of Redis", hint=f"it must begin with {_EXAMPLES}")
    if is_sentinel(url):
        sentinels_of(url)
    if is_cluster(url):
        servers_of(url)
    return Endpoint(url=url, password=_password(password_file), replicas=replicas)


def _password(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        password = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"redis_password_file: {file} cannot be read: {error}", hint="name a file that this user may read"
        ) from error
    if not password:
        raise BadInput(f"redis_password_file: {file} is empty", hint="write the password into it")
    return password


def client_settings(endpoint: Endpoint, retry: object) -> dict[str, Any]:
    """What our clients of Redis have in common. `retry`: none, as redis-py would run a cut-off command up to ten times more."""
    common = {"protocol": 2, "legacy_responses": False, "socket_connect_timeout": CONNECT_S, "retry": retry}
    return common | ({"password": endpoint.password} if endpoint.password is not None else {})


class Script:
    """Lua that Redis runs atomically."""

    __slots__ = ("digest", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        self.digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()  # the name that EVALSHA wants


class Connections:
    """A pool of connections to one Redis. It alone retries calls, because only it knows which are safe to repeat.

    Args:
        fleet: the hash tag of every key.
    """

    def __init__(
        self, endpoint: Endpoint, *, patience_s: float, fleet: str = "littoral", rng: random.Random | None = None
    ) -> None:
        self.rng = rng or random.Random()  # noqa: S311 - jitter
        self.endpoint = endpoint
        self.patience_s = patience_s
        self._away = False
        settings = client_settings(endpoint, Retry(NoBackoff(), 0))
        waiting: dict[str, Any] = {"max_connections": CONNECTIONS, "timeout": patience_s}
        url = endpoint.url or ""
        self._sentinels = Sentinels(url, settings) if is_sentinel(url) else None
        if self._sentinels is not None or endpoint.socket is not None or is_cluster(url):
            if self._sentinels is not None:
                settings |= self._sentinels.connection_settings
            elif is_cluster(url):
                cluster = ClusterMap(url, fleet, settings)
                settings |= {"connection_class": OwnerSSLConnection if cluster.tls else OwnerConnection, "cluster": cluster}
            else:
                settings |= {"connection_class": UnixDomainSocketConnection, "path": str(endpoint.socket)}
            self._pool = BlockingConnectionPool(socket_timeout=None, **waiting, **settings)
            self._listening = BlockingConnectionPool(socket_timeout=None, **settings)
        else:
            try:
                self._pool = BlockingConnectionPool.from_url(url, socket_timeout=None, **waiting, **settings)
                self._listening = BlockingConnectionPool.from_url(url, socket_timeout=None, **settings)
            except (ValueError, TypeError) as error:
                raise BadInput(f"redis_url: {endpoint}: {error}", hint=_EXAMPLES) from error
        self._redis = Redis(connection_pool=self._pool)

    def listener(self) -> AbstractConnection:
        """A connection of its own, without a limit on how long it waits for a word."""
        connection: AbstractConnection = self._listening.make_connection()  # type: ignore[no-untyped-call]
        return connection

    async def close(self) -> None:
        await self._pool.disconnect()
        if self._sentinels is not None:
            await self._sentinels.close()

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[str | bytes | int]) -> Any:
        """Runs a script; repeats it while Redis is away, for `patience_s` at most.

        Only for scripts that may run twice.

        Raises:
            Unavailable: Redis stayed away. NoSpace: its disk or memory is full.
        """
        return await self._patiently(lambda: self._evaluate(script, keys, args))

    async def run_durably(self, script: Script, keys: Sequence[str], args: Sequence[str | bytes | int]) -> Any:
        """As `run`; also waits until as many replicas as the endpoint asks for have what was written.

        Raises Unavailable where they do not have it in time: it may have been written, and may be lost by a failover.
        """
        if not self.endpoint.replicas:
            return await self.run(script, keys, args)
        return await self._patiently(lambda: self._evaluate_and_wait(script, keys, args))

    async def command(self, *command: str | bytes | int) -> Any:
        """A single command that may run twice; as `run`."""
        return await self._patiently(lambda: self._execute(*command))

    async def _evaluate(self, script: Script, keys: Sequence[str], args: Sequence[str | bytes | int]) -> Any:
        try:
            return await self._execute("EVALSHA", script.digest, len(keys), *keys, *args)
        except NoScriptError:
            return await self._execute("EVAL", script.source, len(keys), *keys, *args)

    async def _evaluate_and_wait(self, script: Script, keys: Sequence[str], args: Sequence[str | bytes | int]) -> Any:
        """WAIT counts the replicas that have what this connection wrote, so both go over one connection."""
        wanted = self.endpoint.replicas
        try:
            reply, replicas = await self._with_wait("EVALSHA", script.digest, len(keys), *keys, *args)
        except NoScriptError:
            reply, replicas = await self._with_wait("EVAL", script.source, len(keys), *keys, *args)
        if replicas < wanted:
            raise RedisTimeoutError(f"{replicas} of {wanted} replicas have what was written, after {REPLICATED_S:g} s")
        return reply

    async def _with_wait(self, *command: str | bytes | int) -> tuple[Any, int]:
        """The reply, and how many replicas have what the command wrote."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.execute_command(*command)
        pipe.execute_command("WAIT", self.endpoint.replicas, int(REPLICATED_S * 1000))
        try:
            async with asyncio.timeout(REPLY_S + REPLICATED_S):
                reply, replicas = await pipe.execute()
        except TimeoutError as error:
            raise RedisTimeoutError(f"no answer after {REPLY_S + REPLICATED_S:g} s") from error
        except ResponseError as error:
            if "WAIT cannot be used with replica" in str(error):  # a primary that became a replica between the two
                raise ReadOnlyError(str(error)) from error
            raise
        return reply, int(replicas)

    async def _execute(self, *command: str | bytes | int) -> Any:
        """The limit is ours: with one of its own redis-py sends under asyncio.wait_for, which in Python 3.11 swallows a cancel
        that comes when the bytes are just out, and the canceller would wait for ever."""
        try:
            async with asyncio.timeout(REPLY_S):
                return await self._redis.execute_command(*command)  # type: ignore[no-untyped-call]
        except TimeoutError as error:
            raise RedisTimeoutError(f"no answer after {REPLY_S:g} s") from error

    async def _patiently(self, call: Callable[[], Awaitable[Any]], patience_s: float | None = None) -> Any:
        loop = asyncio.get_running_loop()
        patience_s = self.patience_s if patience_s is None else patience_s
        deadline = loop.time() + patience_s
        attempt = 0
        while True:
            try:
                reply = await call()
                if self._away:
                    self._away = False
                    log.warning("redis: %s is back", self.endpoint)
                return reply
            except (RedisError, OSError) as error:
                if not passes(error):
                    raise translated(error, self.endpoint) from error
                if not self._away and attempt > 0:  # once an outage, and not for a connection that had grown old
                    self._away = True
                    log.warning("redis: %s cannot be had (%s); trying for %g s", self.endpoint, error, patience_s)
                if loop.time() + (pause_s := BACKOFF.pause_s(attempt, self.rng)) > deadline:
                    raise Unavailable(
                        f"redis: {self.endpoint} cannot be had since {patience_s:g} s: {error}",
                        hint="start Redis again; nothing that was answered is lost",
                    ) from error
            await asyncio.sleep(pause_s)
            attempt += 1

    async def check(self) -> None:
        """Raises BadInput where this Redis cannot hold a ledger: too old, a cluster against its URL, or one that throws keys
        away."""
        call = functools.partial(self._execute, "INFO")
        if (
            no := unfit(fields_of(await self._patiently(call, min(self.patience_s, FIRST_CONTACT_S))), self.endpoint)
        ) is not None:
            raise no


def unfit(info: Mapping[str, str], endpoint: Endpoint) -> BadInput | None:
    """Why a Redis with this INFO cannot hold a ledger; None: it can."""
    version = info.get("redis_version", "0.0")
    if tuple(int(part) for part in version.split(".")[:2]) < MINIMUM:
        return BadInput(f"redis: {endpoint} is {version}", hint="Littoral needs Redis or Valkey of 6.2 or newer")
    clustered = info.get("cluster_enabled") == "1"
    if clustered != is_cluster(endpoint.url or ""):
        other = "redis+cluster://HOST:PORT,HOST:PORT,..." if clustered else "redis:// or redis+sentinel://"
        return BadInput(f"redis: {endpoint} is {'a node of a' if clustered else 'no'} cluster", hint=f"write {other}")
    policy = info.get("maxmemory_policy", "noeviction")
    if info.get("maxmemory", "0") != "0" and policy != "noeviction":
        return BadInput(
            f"redis: {endpoint} has maxmemory-policy {policy}: it would throw the fleet's documents away",
            hint="run `redis-cli config set maxmemory-policy noeviction`, and set it in redis.conf",
        )
    return None


def fields_of(info: Any) -> Mapping[str, str]:
    """INFO's reply: text, or what redis-py made of it."""
    if isinstance(info, Mapping):
        return {str(name): str(value) for name, value in info.items()}
    lines = bytes(info).decode().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)
