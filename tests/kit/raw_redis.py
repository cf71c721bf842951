"""Redis as `redis-cli` sees it, beside the ledger: for damage that no ledger would do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import redis
from littoral_cloud.trust.private_socket import socket_path


def raw_redis(socket: Path, command: str, key: str, *rest: str | bytes, fleet: str = "littoral") -> Any:
    """Runs one command on one key of a fleet, for example `audit` or `lease:rollouts`."""
    return configure_redis(socket, command, f"{{{fleet}}}:{key}", *rest)


def configure_redis(socket: Path, *words: str | bytes) -> Any:
    """Runs a command as it stands."""
    client = redis.Redis(unix_socket_path=str(socket))
    try:
        return client.execute_command(*words)
    finally:
        client.close()


def socket_of(data_dir: Path) -> Path:
    """The socket of the embedded server of a data folder."""
    return socket_path(data_dir / "redis", "redis.sock")
