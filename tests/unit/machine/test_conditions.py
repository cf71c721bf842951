"""How a machine stands, from its kernel's files, and what holds because of it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from littoral_node.machine.conditions import (
    NAMES,
    STEADY_S,
    ConditionsInForce,
    Reading,
    Thresholds,
    heat,
    is_hot,
    power,
    read,
    step,
    throttled,
    yes_or_no,
)
from littoral_node.machine.metered import default_interface
from tests.kit.machine import Machine

USUAL = Thresholds()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_machine_that_says_nothing_is_not_known(machine: Machine) -> None:
    assert read(machine.root) == Reading()
    assert read(machine.root / "nowhere") == Reading()


@pytest.mark.parametrize(
    ("plug", "status", "on_mains"),
    [
        (None, "Discharging", False),
        (None, "Charging", True),
        (None, "Full", True),
        (None, "Not charging", True),
        (None, "Unknown", None),
        (False, "Discharging", False),
        (False, "Unknown", False),
        (True, "Discharging", True),  # the plug gives less than is used, but it gives
        (True, "Full", True),
    ],
)
def test_power_as_laptops_and_boards_say_it(machine: Machine, plug: bool | None, status: str, on_mains: bool | None) -> None:
    machine.battery(37, status)
    if plug is not None:
        machine.mains(plug)
    assert power(machine.root) == (on_mains, 37.0)


def test_a_plug_without_power_on_a_machine_without_a_battery_says_nothing(machine: Machine) -> None:
    machine.mains(online=False, name="ucsi", kind="USB")
    assert power(machine.root) == (None, None)
    machine.mains(online=True)
    assert power(machine.root) == (True, None)


def test_batteries_count_by_what_they_hold_and_a_mouse_does_not(machine: Machine) -> None:
    machine.battery(90, name="BAT0", energy_now=9_000_000, energy_full=10_000_000)
    machine.battery(10, name="BAT1", energy_now=4_000_000, energy_full=40_000_000)
    machine.battery(5, name="hidpp_battery_0", scope="Device")
    machine.battery(1, name="BAT2", present=0)
    assert power(machine.root) == (False, 26.0)
    machine.write("sys/class/power_supply/BAT1/energy_full", "")
    assert power(machine.root) == (False, 50.0)  # the mean of what both say


def test_a_battery_that_counts_in_charge(machine: Machine) -> None:
    machine.battery(0, charge_now=1_500_000, charge_full=3_000_000, capacity="")
    assert power(machine.root) == (False, 50.0)


def test_heat_is_told_by_the_nearest_trip_point(machine: Machine) -> None:
    machine.zone(70.0, trip=95.0, number=0)
    machine.zone(60.0, trip=62.5, number=1)
    machine.zone(50.0, trip=40.0, kind="active", number=2)  # only a fan starts there
    machine.zone(-273.0, number=3)  # no sensor
    machine.zone(45.0, trip=-274.0, number=4)  # no trip point
    assert heat(machine.root) == (70.0, -2.5)
    assert is_hot(read(machine.root), USUAL) is False
    assert is_hot(read(machine.root), Thresholds(hot_at=65.0)) is True
    machine.zone(63.0, trip=62.5, number=1)
    assert is_hot(read(machine.root), USUAL) is True
    assert is_hot(Reading(), USUAL) is None
    assert is_hot(Reading(), Thresholds(hot_at=65.0)) is None


@pytest.mark.parametrize(("kind", "state", "held"), [("Processor", 2, True), ("Processor", 0, False), ("Fan", 3, False),
                                                     ("cpufreq-cpu0", 1, True), ("intel_powerclamp", -1, False)])  # fmt: skip
def test_a_processor_that_is_held_back_is_hot(machine: Machine, kind: str, state: int, held: bool) -> None:
    machine.write("sys/class/thermal/cooling_device0/type", kind)
    machine.write("sys/class/thermal/cooling_device0/cur_state", state)
    assert throttled(machine.root) is held


def test_a_processor_that_was_held_back_since_the_last_look_is_hot(machine: Machine) -> None:
    machine.write("sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", 7)
    held = step(ConditionsInForce(), read(machine.root), USUAL, 0.0)
    assert held.in_force == frozenset()  # what was before the start does not count
    machine.write("sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", 8)
    assert step(held, read(machine.root), USUAL, 1.0).in_force == {"hot"}


def test_metered_is_what_is_set_else_what_the_machine_says(machine: Machine) -> None:
    machine.write("run/littoral/metered", "yes (guessed)")
    assert read(machine.root).metered is True
    assert read(machine.root, metered=False).metered is False
    assert [yes_or_no(said) for said in ("no (guessed)", "unknown", "", "YES")] == [False, None, None, True]


def test_the_line_that_counts_is_the_default_route_with_the_lowest_metric() -> None:
    header = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
    wifi = "wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n"
    modem = "wwan0\t00000000\t0101A8C0\t0003\t0\t0\t700\t00000000\t0\t0\t0\n"
    near = "eth0\t0001A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n"
    assert default_interface(header + modem + near + wifi) == "wlan0"
    assert default_interface(header + near) == ""
    assert default_interface("") == ""


def test_a_low_battery_holds_at_once_and_ends_with_a_gap_or_with_mains_after_a_wait() -> None:
    low, gone = Reading(on_mains=False, battery_percent=19.9), Reading(on_mains=False, battery_percent=22.0)
    held = step(ConditionsInForce(), low, USUAL, 0.0)
    assert held.in_force == {"battery_low", "on_battery"}
    held = step(held, gone, USUAL, 100.0)  # over the threshold, not over the gap
    assert "battery_low" in held.in_force
    assert held.next_end() == math.inf
    held = step(held, replace(gone, battery_percent=25.0), USUAL, 200.0)
    assert "battery_low" in held.in_force
    assert held.next_end() == 200.0 + STEADY_S
    held = step(held, replace(gone, battery_percent=25.0), USUAL, 200.0 + STEADY_S)
    assert held.in_force == {"on_battery"}
    assert step(held, gone, USUAL, 300.0).in_force == {"on_battery"}  # it ended: the gap is for what holds


def test_a_plug_that_is_loose_does_not_end_a_low_battery() -> None:
    low, plugged = Reading(on_mains=False, battery_percent=10.0), Reading(on_mains=True, battery_percent=10.0)
    held = step(ConditionsInForce(), low, USUAL, 0.0)
    for second in range(1, 20):
        held = step(held, plugged if second % 2 else low, USUAL, float(second))
        assert "battery_low" in held.in_force
    held = step(step(held, plugged, USUAL, 30.0), plugged, USUAL, 30.0 + STEADY_S)
    assert held.in_force == frozenset()


readings = st.builds(
    Reading,
    on_mains=st.sampled_from([None, True, False]),
    battery_percent=st.one_of(st.none(), st.floats(0, 100)),
    celsius=st.one_of(st.none(), st.floats(-40, 120)),
    over_trip=st.one_of(st.none(), st.floats(-80, 30)),
    throttled=st.booleans(),
    throttles=st.integers(0, 9),
    metered=st.sampled_from([None, True, False]),
)


@given(st.lists(st.tuples(readings, st.floats(0, 20)), max_size=20), st.sampled_from([USUAL, Thresholds(35.0, 60.0)]))
def test_whatever_comes_a_condition_ends_only_after_it_was_gone_for_long_enough(
    seen: list[tuple[Reading, float]], thresholds: Thresholds
) -> None:
    held, now, changes = ConditionsInForce(), 0.0, dict.fromkeys(NAMES, -math.inf)
    for reading, seconds in seen:
        now += seconds
        after = step(held, reading, thresholds, now)
        assert after.in_force <= set(NAMES)
        assert set(after.ending) <= after.in_force
        for name in held.in_force - after.in_force:
            assert now - held.ending[name] >= STEADY_S
        for name in after.in_force - held.in_force:
            changes[name] = now
        if reading.on_mains is not True and reading.battery_percent is not None:
            assert ("battery_low" in after.in_force) or reading.battery_percent >= thresholds.battery_low
        held = after


NAMES_OF_FILES = st.sampled_from(
    ["type", "online", "capacity", "status", "present", "scope", "energy_now", "energy_full", "charge_now", "temp", "cur_state",
     "trip_point_0_type", "trip_point_0_temp", "thermal_throttle/core_throttle_count"]
)  # fmt: skip
PLACES = st.sampled_from(
    ["sys/class/power_supply/a", "sys/class/power_supply/b", "sys/class/thermal/thermal_zone0",
     "sys/class/thermal/cooling_device0", "sys/devices/system/cpu/cpu0", "run/littoral"]
)  # fmt: skip
TEXTS = st.one_of(
    st.sampled_from(
        ["Battery", "Mains", "Discharging", "0", "1", "50", "passive", "Processor", "85000", "nan", "inf", "-1", "1e400"]
    ),
    st.binary(max_size=12).map(lambda raw: raw.decode("latin-1")),
)


@given(st.dictionaries(st.tuples(PLACES, NAMES_OF_FILES), TEXTS, max_size=16))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_whatever_a_kernel_writes_is_read(tmp_path_factory: pytest.TempPathFactory, files: dict[tuple[str, str], str]) -> None:
    root = tmp_path_factory.mktemp("root")
    for (place, name), text in files.items():
        path = root / place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("latin-1"))
    found = read(root)
    assert found.battery_percent is None or 0 <= found.battery_percent <= 100
    assert found.celsius is None or -50 <= found.celsius < 250
    assert found.throttles >= 0
    step(ConditionsInForce(), found, USUAL, 0.0)


def test_folders_where_files_should_be_are_passed_over(machine: Machine) -> None:
    (machine.root / "sys/class/power_supply/BAT0/type").mkdir(parents=True)
    (machine.root / "sys/class/thermal").mkdir(parents=True)
    (machine.root / "sys/class/thermal/thermal_zone0").write_text("x")
    assert read(machine.root) == Reading()
