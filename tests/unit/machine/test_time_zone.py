"""The name of the machine's time zone, as Linux machines say it."""

from __future__ import annotations

from pathlib import Path

import pytest

from littoral_node.machine.time_zone import time_zone


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TZ", raising=False)


def test_the_setting_comes_before_what_the_machine_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etc").mkdir()
    assert time_zone(tmp_path) == "UTC"
    (tmp_path / "etc/timezone").write_text("America/New_York\n")
    assert time_zone(tmp_path) == "America/New_York"
    (tmp_path / "etc/localtime").symlink_to("../usr/share/zoneinfo/Asia/Tokyo")
    assert time_zone(tmp_path) == "Asia/Tokyo"
    monkeypatch.setenv("TZ", ":Europe/Paris")
    assert time_zone(tmp_path) == "Europe/Paris"
    assert time_zone(tmp_path, "Europe/Berlin") == "Europe/Berlin"


@pytest.mark.parametrize("name", ["", "CET-1CEST,M3.5.0,M10.5.0/3", "../../x", "\0", "Mars/Olympus"])
def test_what_is_no_name_of_a_zone_is_passed_over(tmp_path: Path, name: str) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/timezone").write_text(name)
    assert time_zone(tmp_path) == "UTC"


def test_a_file_in_place_of_the_link_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/localtime").write_bytes(b"TZif2")
    assert time_zone(tmp_path) == "UTC"
