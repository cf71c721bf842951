"""The coordinator as a fixture: `pytest_plugins = ("tests.kit.cloud_fixture",)`. Helpers to import are in tests.kit.cloud."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.kit.cloud import Cloud, running_cloud


@pytest.fixture
async def cloud(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cloud]:
    async with running_cloud(tmp_path_factory.mktemp("c")) as running:
        yield running
