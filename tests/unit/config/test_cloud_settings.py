"""What the coordinator reads from its environment, and what it refuses."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from littoral.errors import BadInput
from littoral_cloud.settings import CloudSettings, load_settings


def test_a_flag_beats_the_environment_which_beats_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {
        "DATA_DIR": "/srv/cloud",
        "REDIS_PASSWORD_FILE": "/run/secret",
        "FLEET_PORT": "0",
        "PUBLIC_NAMES": '["cloud", "10.0.0.7"]',
        "TELEMETRY_INTERVAL_S": "0.5",
        "AUTO_LOOP": "on",
        "HEARTBEAT_INTERVAL_S": "not looked at: a flag was given",
    }.items():
        monkeypatch.setenv(f"LITTORAL_{name}", text)
    found = load_settings(heartbeat_interval_s=3.0, host=None)
    assert found == CloudSettings(
        data_dir=Path("/srv/cloud"),
        redis_password_file=Path("/run/secret"),
        fleet_port=0,
        public_names=("cloud", "10.0.0.7"),
        telemetry_interval_s=0.5,
        auto_loop=True,
        heartbeat_interval_s=3.0,
    )
    monkeypatch.setenv("LITTORAL_PUBLIC_NAMES", "cloud, 10.0.0.7")
    assert load_settings(heartbeat_interval_s=3.0).public_names == found.public_names


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("fleet_port", "70000", "70000 is not from 0 to 65535"),
        ("fleet_port", "seven", "'seven' is not a whole number"),
        ("fleet_port", "", "'' is not a whole number"),
        ("heartbeat_interval_s", "0", "0.0 is not above 0 and at most 3600"),
        ("heartbeat_interval_s", "nan", "nan is not above 0"),
        ("telemetry_flush_s", "inf", "inf is not from 0 to 86400"),
        ("telemetry_flush_s", "-1", "-1.0 is not from 0"),
        ("auto_loop", "perhaps", "'perhaps' is neither true nor false"),
        ("public_names", '["cloud"', "is not a JSON list"),
        ("public_names", "[1]", "must hold texts alone"),
        ("ended_kept", "9", "9 is not from 10 to 100000"),
    ],
)
def test_a_refusal_names_the_setting_its_value_and_where_it_is_set(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, why: str
) -> None:
    monkeypatch.setenv(f"LITTORAL_{name.upper()}", text)
    with pytest.raises(BadInput) as refused:
        load_settings()
    assert refused.value.message.startswith(f"setting {name}: ")
    assert why in refused.value.message
    assert f"LITTORAL_{name.upper()}" in refused.value.hint


def test_an_unknown_variable_is_refused_with_the_nearest_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITTORAL_AUTO_LOPP", "1")
    with pytest.raises(BadInput, match="LITTORAL_AUTO_LOPP is not a setting") as refused:
        load_settings()
    assert refused.value.hint.startswith("did you mean LITTORAL_AUTO_LOOP?")


def test_every_default_is_a_value_that_its_setting_takes() -> None:
    found = CloudSettings()
    assert {each.name for each in fields(found)} >= {"data_dir", "redis_url", "host", "auto_loop"}
    assert all(each.metadata["meaning"].endswith(".") for each in fields(found))
