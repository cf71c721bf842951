"""Redis Sentinel: several servers of which one is the primary, and which one that is may change.

The address is redis+sentinel://HOST:PORT,HOST:PORT,.../SERVICE (rediss+sentinel:// with TLS to the servers). Each new connection
asks a sentinel for the primary; one whose server has become a replica is closed. The password is that of the servers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio.sentinel import Sentinel, SentinelManagedConnection, SentinelManagedSSLConnection

from littoral.errors import BadInput

SENTINEL_SCHEMES = ("redis+sentinel", "rediss+sentinel")
PORT = 26379
ANSWER_S = 1.0
"""For one sentinel to answer; then the next one is asked."""


@dataclass(frozen=True, slots=True)
class SentinelAddress:
    hosts: tuple[tuple[str, int], ...]
    service: str
    tls: bool


def is_sentinel(url: str) -> bool:
    return urlsplit(url).scheme in SENTINEL_SCHEMES


def sentinels_of(url: str) -> SentinelAddress:
    """Raises BadInput, naming the setting."""
    hint = "redis+sentinel://HOST:26379,HOST:26379,HOST:26379/SERVICE"
    parts = urlsplit(url)
    hosts = hosts_of(parts.netloc, PORT, "a sentinel", hint)
    service = parts.path.strip("/")
    if not service or "/" in service:
        raise BadInput(f"redis_url: {parts.path!r} names no service of the sentinels", hint=hint)
    return SentinelAddress(hosts, service, parts.scheme == "rediss+sentinel")


def hosts_of(netloc: str, usual_port: int, of: str, hint: str) -> tuple[tuple[str, int], ...]:
    """HOST:PORT,HOST:PORT,... of an address. Raises BadInput, naming the setting."""
    hosts = []
    for text in netloc.rpartition("@")[2].split(","):
        host, colon, port = text.rpartition(":") if ":" in text.rpartition("]")[2] else (text, "", "")
        if not host or (colon and not port.isdecimal()):
            raise BadInput(f"redis_url: {text!r} is no address of {of}", hint=hint)
        hosts.append((host.strip("[]"), int(port or usual_port)))
    return tuple(hosts)


class Sentinels:
    """Finds the primary for the connections of a pool.

    Args:
        settings: of a connection to the servers.
    """

    def __init__(self, url: str, settings: Mapping[str, Any]) -> None:
        address = sentinels_of(url)
        self._service = address.service
        own = {name: value for name, value in settings.items() if name != "password"}
        self._sentinel = Sentinel(  # type: ignore[no-untyped-call]
            address.hosts, sentinel_kwargs={**own, "socket_timeout": ANSWER_S, "socket_connect_timeout": ANSWER_S}
        )
        self.connection_settings: Mapping[str, Any] = {
            "connection_class": SentinelManagedSSLConnection if address.tls else SentinelManagedConnection,
            "connection_pool": self,
        }

    # What redis-py's connections ask of their pool:
    is_master = True
    check_connection = False

    async def get_master_address(self) -> tuple[str, int]:
        found: tuple[str, int] = await self._sentinel.discover_master(self._service)
        return found

    async def close(self) -> None:
        for sentinel in self._sentinel.sentinels:
            await sentinel.aclose()
