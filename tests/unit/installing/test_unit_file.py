"""The unit's text: what it must hold, for whom, and that the page says all of it."""

from __future__ import annotations

import configparser
from dataclasses import replace
from pathlib import Path

from littoral_node.installing.unit import SystemdUnit

USUAL = SystemdUnit(command=Path("/opt/littoral/current/bin/littoral-node"), data=Path("/var/lib/littoral"), user="littoral")


def values(unit: SystemdUnit, key: str) -> list[str]:
    return [line.value for line in unit.lines() if line.key == key]


def test_it_may_write_one_folder_and_is_started_again_for_ever() -> None:
    wanted = {
        "Type": ["notify"],
        "User": ["littoral"],
        "WatchdogSec": ["60"],
        "Restart": ["always"],
        "StartLimitIntervalSec": ["0"],
        "RestartSec": ["1"],
        "RestartSteps": [],
        "ProtectSystem": ["strict"],
        "ReadWritePaths": ['"/var/lib/littoral"'],
        "CapabilityBoundingSet": [""],
        "NoNewPrivileges": ["yes"],
        "SystemCallFilter": ["@system-service", "~@privileged"],
        "MemoryMax": ["512M"],
    }
    assert {key: values(USUAL, key) for key in wanted} == wanted


def test_what_is_asked_for_opens_what_it_must_and_no_more() -> None:
    assert values(USUAL, "PrivateDevices") == ["yes"]
    assert values(replace(USUAL, devices=True), "PrivateDevices") == ["no"]
    assert values(USUAL, "ProtectHome") == ["yes"]
    assert values(replace(USUAL, home_python=True), "ProtectHome") == ["read-only"]
    assert values(replace(USUAL, user=""), "User") == []


def test_the_text_is_read_as_its_lines_say_and_a_percent_sign_stays_one() -> None:
    text = replace(USUAL, data=Path("/srv/50% of it")).text()
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    assert parser.sections() == ["Unit", "Service", "Install"]
    assert parser["Service"]["ReadWritePaths"] == '"/srv/50%% of it"'
    assert parser["Service"]["ExecStart"] == '"/opt/littoral/current/bin/littoral-node" run --data "/srv/50%% of it"'
    assert parser["Install"]["WantedBy"] == "multi-user.target"
