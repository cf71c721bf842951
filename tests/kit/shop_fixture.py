"""Fixtures: the shop of tests/kit/shop.py in the data folder that commands open, and what they print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from littoral_cloud.cli import execute
from tests.kit.shop import Shop, stocked


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setenv("LITTORAL_DATA_DIR", str(tmp_path / "cloud"))
    return stocked(tmp_path)


@pytest.fixture
def said(shop: Shop, capsys: pytest.CaptureFixture[str]) -> Any:
    """What a command that succeeds prints; parsed where it was asked for as JSON."""

    def of(*words: str) -> Any:
        assert execute(words) == 0, capsys.readouterr().err
        out = capsys.readouterr().out
        return json.loads(out) if "json" in words else out

    return of
