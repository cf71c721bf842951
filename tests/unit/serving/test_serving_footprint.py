"""What serving costs a process, beside gRPC in the same event loop."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import httpx

from tests.kit.models import images
from tests.kit.patience import PATIENCE_S
from tests.kit.serving import request_of


async def test_it_serves_beside_grpc_in_one_loop_in_under_100_mb_and_stops_without_a_word(tmp_path: Path) -> None:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-m", "tests.kit.serving_process", str(tmp_path)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        line = await child.stdout.readline()
        assert line, (await child.communicate())[1].decode()
        port = int(line.split()[0])
        url, body = f"http://127.0.0.1:{port}/v2/models/tiny/infer", request_of(images(1, shape=(1, 28, 28)))
        async with httpx.AsyncClient(trust_env=False) as client:
            for _ in range(20):
                answers = await asyncio.gather(*(client.post(url, json=body) for _ in range(10)))
                assert [answer.status_code for answer in answers] == [200] * 10
                child.stdin.write(b"\n")
                rss = int(await child.stdout.readline())
        assert rss < 100_000_000
        child.stdin.close()
        _, errors = await child.communicate()
    assert child.returncode == 0
    assert errors == b""
