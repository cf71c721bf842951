"""Redis Cluster: several primaries, each with some of the 16,384 slots, and replicas that take over.

The address is redis+cluster://HOST:PORT,HOST:PORT,... (rediss+cluster:// with TLS); a few of its servers are enough. Every key of
a fleet carries the fleet's hash tag, so a fleet is one slot and one script may use all of its keys. Each new connection asks the
cluster which server has that slot. One whose server has lost the slot, or became a replica, is closed; the next one asks again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio.connection import Connection, SSLConnection
from redis.connection import Connection as BlockingConnection
from redis.connection import SSLConnection as BlockingSSLConnection
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from littoral.errors import BadInput
from littoral_cloud.store.sentinels import hosts_of

CLUSTER_SCHEMES = ("redis+cluster", "rediss+cluster")
PORT = 6379
ANSWER_S = 2.0
"""For one server to say who has our slot; then the next one is asked."""
_HINT = "redis+cluster://HOST:6379,HOST:6379,HOST:6379"

Address = tuple[str, int]


def is_cluster(url: str) -> bool:
    return urlsplit(url).scheme in CLUSTER_SCHEMES


def servers_of(url: str) -> tuple[Address, ...]:
    """Of the address. Raises BadInput, naming the setting."""
    parts = urlsplit(url)
    if parts.path.strip("/") or parts.query:
        raise BadInput(f"redis_url: {(parts.path or parts.query)!r}: a cluster has no database and no options", hint=_HINT)
    return hosts_of(parts.netloc, PORT, "a server of the cluster", _HINT)


def owner_in(slots: Sequence[Any], slot: int, asked: str) -> Address | None:
    """Which server has a slot; None: none has it.

    Args:
        slots: the reply to CLUSTER SLOTS: [first, last, [host, port, ...] of the primary, of its replicas ...] of each range.
        asked: the host that answered: one that names no host means its own.
    """
    for first, last, primary, *_ in slots:
        if first <= slot <= last:
            host = (primary[0] or b"").decode()
            return (asked if host in ("", "?") else host, int(primary[1]))
    return None


class ClusterMap:
    """Asks the servers, one after another, who has the slot of a fleet.

    Args:
        settings: of a connection to the servers.
    """

    def __init__(self, url: str, fleet: str, settings: Mapping[str, Any]) -> None:
        self.slot = key_slot(f"{{{fleet}}}".encode())
        self.tls = urlsplit(url).scheme == "rediss+cluster"
        self._named = servers_of(url)
        self._known: list[Address] = list(self._named)
        self._settings = {**settings, "socket_connect_timeout": ANSWER_S, "socket_timeout": ANSWER_S}

    async def owner(self) -> Address:
        """Raises ConnectionError of redis-py where none of the servers knows."""
        failures = []
        for host, port in tuple(self._known):
            connection = (SSLConnection if self.tls else Connection)(host=host, port=port, **self._settings)
            try:
                await connection.connect()  # type: ignore[no-untyped-call]
                await connection.send_command("CLUSTER", "SLOTS")
                if (found := self._learn(await connection.read_response(), host, port)) is not None:
                    return found
                failures.append(f"{host}:{port}: no server has slot {self.slot}")
            except (RedisError, OSError) as error:
                failures.append(_refused(error, host, port))
            finally:
                await connection.disconnect(nowait=True)
            self._ask_later(host, port)
        raise RedisConnectionError(_nobody(failures))

    def owner_blocking(self) -> Address:
        """As `owner`, for who has no event loop."""
        failures = []
        for host, port in tuple(self._known):
            kind = BlockingSSLConnection if self.tls else BlockingConnection
            connection: Any = kind(host=host, port=port, **self._settings)
            try:
                connection.connect()
                connection.send_command("CLUSTER", "SLOTS")
                if (found := self._learn(connection.read_response(), host, port)) is not None:
                    return found
                failures.append(f"{host}:{port}: no server has slot {self.slot}")
            except (RedisError, OSError) as error:
                failures.append(_refused(error, host, port))
            finally:
                connection.disconnect()
            self._ask_later(host, port)
        raise RedisConnectionError(_nobody(failures))

    def _learn(self, slots: Sequence[Any], host: str, port: int) -> Address | None:
        """What a server says; others that it names are asked, too, when the first ones are gone."""
        named = [(server[0].decode(), int(server[1])) for _, _, *servers in slots for server in servers if server[0]]
        self._known = list(dict.fromkeys((*self._known, *self._named, *named)))
        found = owner_in(slots, self.slot, host)
        if found is not None:  # the next one that asks hears it from another server: this one may be cut off from the others
            self._ask_later(host, port)
        return found

    def _ask_later(self, host: str, port: int) -> None:
        if (host, port) in self._known:
            self._known.remove((host, port))
            self._known.append((host, port))


def _refused(error: Exception, host: str, port: int) -> str:
    if isinstance(error, ResponseError) and not isinstance(error, ClusterDownError):
        raise error  # a wrong password, or no cluster: waiting does not help
    return f"{host}:{port}: {error}"


def _nobody(failures: Sequence[str]) -> str:
    return f"no server of the cluster says who has our slot: {'; '.join(failures[:3])}"


def _elsewhere(error: ResponseError) -> Exception:
    """What it means for who sent the command: it did not run, and may be sent again."""
    if isinstance(error, MovedError | ReadOnlyError | ClusterDownError):
        return RedisConnectionError(f"another server of the cluster has our slot, or soon: {error}")
    return TryAgainError(f"our slot is moving to another server: {error}")


_NOT_HERE = (MovedError, AskError, ReadOnlyError, ClusterDownError)


class OwnerConnection(Connection):
    """To the server that has the slot when it connects."""

    def __init__(self, *, cluster: ClusterMap, **settings: Any) -> None:
        self._cluster = cluster
        super().__init__(**settings)

    async def connect(self) -> None:
        if not self.is_connected:
            self.host, self.port = await self._cluster.owner()
        await super().connect()  # type: ignore[no-untyped-call]

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return await super().read_response(*args, **kwargs)
        except _NOT_HERE as error:
            after = _elsewhere(error)
            if isinstance(after, RedisConnectionError):
                await self.disconnect(nowait=True)
            raise after from error


class OwnerSSLConnection(OwnerConnection, SSLConnection):
    """The same with TLS."""


class BlockingOwnerConnection(BlockingConnection):
    """The same for who has no event loop."""

    def __init__(self, *, cluster: ClusterMap, **settings: Any) -> None:
        self._cluster = cluster
        super().__init__(**settings)  # type: ignore[no-untyped-call]

    def connect(self) -> None:
        if not self.is_connected:
            self.host, self.port = self._cluster.owner_blocking()
        super().connect()  # type: ignore[no-untyped-call]

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().read_response(*args, **kwargs)
        except _NOT_HERE as error:
            after = _elsewhere(error)
            if isinstance(after, RedisConnectionError):
                self.disconnect()  # type: ignore[no-untyped-call]
            raise after from error


class BlockingOwnerSSLConnection(BlockingOwnerConnection, BlockingSSLConnection):
    """The same with TLS."""
