"""A primary that became a replica between a write and the count of its copies: the write is tried again, and is not refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from littoral.errors import Unavailable
from littoral_cloud.store.connection import Connections, Endpoint, Script
from tests.kit.redis_server import MortalRedis


async def test_a_server_that_is_a_replica_since_is_waited_for(tmp_path: Path) -> None:
    server = MortalRedis(tmp_path)
    await server.start()
    redis = Connections(Endpoint(socket=server.socket, replicas=1), patience_s=0.5)
    try:
        await redis.command("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(Unavailable, match="WAIT cannot be used with replica"):
            await redis.run_durably(Script("return 1"), [], [])
    finally:
        await redis.close()
        await server.kill()
