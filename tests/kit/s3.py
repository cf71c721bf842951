"""A server that speaks S3 over HTTP, as a process: moto's. A test may kill it, and start it again with an empty store."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from pathlib import Path

import httpx

from tests.kit.patience import PATIENCE_S
from tests.kit.ports import lasting_port

BUCKET = "models"


class S3Server:
    def __init__(self, log: Path) -> None:
        self.port = lasting_port()
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    @property
    def environment(self) -> dict[str, str]:
        """For a client of it."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
        }

    async def start(self) -> None:
        """Returns once it answers, and has the bucket."""
        code = "import sys; from moto.server import main; main(sys.argv[1:])"
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", code, "-H", "127.0.0.1", "-p", str(self.port)), stdout=log, stderr=log
            )
        async with asyncio.timeout(PATIENCE_S), httpx.AsyncClient(trust_env=False) as client:
            while True:  # it does not say when it is ready
                with suppress(httpx.TransportError):
                    (await client.put(f"http://127.0.0.1:{self.port}/{BUCKET}")).raise_for_status()
                    return
                await asyncio.sleep(0.05)

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
