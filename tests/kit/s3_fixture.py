"""The fixture of an S3 server whose credentials are in the environment."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.kit.s3 import S3Server


@pytest.fixture
async def s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[S3Server]:
    server = S3Server(tmp_path / "s3.log")
    await server.start()
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    yield server
    await server.kill()
