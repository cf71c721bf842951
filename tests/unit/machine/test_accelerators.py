"""What computes beside the CPU, and what counts energy, from made trees of the kernel's files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from littoral.budget import ESTIMATE
from littoral_node.machine.accelerators import Accelerator, accelerators
from littoral_node.machine.conditions import batteries
from littoral_node.machine.energy import WATTS_OF_A_CORE, Counter, EnergySpent, between, counters, spent
from littoral_node.machine.hardware import profile
from littoral_node.machine.wire import hardware_to
from tests.kit.machine import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "root")


def test_a_machine_without_any_has_none(machine: Machine) -> None:
    assert accelerators(machine.root) == ()
    assert counters(machine.root) == ()
    assert not batteries(machine.root)


def test_each_card_is_found_once_by_what_its_driver_says(machine: Machine) -> None:
    machine.write("proc/driver/nvidia/gpus/0000:01:00.0/information", "Model: \t\t NVIDIA GeForce RTX 3060\nDevice Minor: \t 0\n")
    machine.write("proc/driver/nvidia/gpus/0000:02:00.0/information", "Model: \t\t NVIDIA T4\nDevice Minor: \t 1\n")
    machine.write("dev/nvidia0", "")
    machine.write("sys/class/drm/renderD128/device/uevent", "DRIVER=nvidia\nPCI_ID=10DE:2504")
    machine.write("sys/class/drm/renderD129/device/uevent", "DRIVER=amdgpu")
    machine.write("sys/class/drm/renderD129/device/vendor", "0x1002")
    machine.write("sys/class/drm/renderD129/device/device", "0x73bf")
    machine.write("dev/dri/renderD129", "")
    machine.write("sys/class/drm/card0-HDMI-A-1/status", "connected")
    machine.write("dev/apex_0", "")
    machine.write("dev/hailo0", "")
    machine.write("sys/class/accel/accel0/device/uevent", "DRIVER=intel_vpu")
    machine.write("dev/accel/accel0", "")
    assert accelerators(machine.root) == (
        Accelerator("gpu", "AMD amdgpu 0x73bf", "/dev/dri/renderD129"),
        Accelerator("gpu", "NVIDIA GeForce RTX 3060", "/dev/nvidia0"),
        Accelerator("gpu", "NVIDIA T4", ""),  # the kernel knows it; this process sees no device
        Accelerator("npu", "hailo0", "/dev/hailo0"),
        Accelerator("npu", "intel_vpu", "/dev/accel/accel0"),
        Accelerator("tpu", "Coral", "/dev/apex_0"),
    )


def test_a_container_that_hides_the_drivers_files_still_shows_the_device(machine: Machine) -> None:
    machine.write("dev/nvidia3", "")
    machine.write("dev/nvidiactl", "")
    assert accelerators(machine.root) == (Accelerator("gpu", "NVIDIA", "/dev/nvidia3"),)


def rapl(machine: Machine, microjoules: int, *, number: int = 0, name: str = "package-0") -> None:
    place = f"sys/class/powercap/intel-rapl:{number}"
    machine.write(f"{place}/name", name)
    machine.write(f"{place}/max_energy_range_uj", 1_000_000)
    machine.write(f"{place}/energy_uj", microjoules)


def test_counters_say_whether_they_can_be_read_and_why_not(machine: Machine) -> None:
    rapl(machine, 5)
    rapl(machine, 5, number=1, name="psys")
    machine.write("sys/class/powercap/intel-rapl:0:0/name", "core")
    machine.write("sys/class/powercap/intel-rapl:2/name", "package-1")
    machine.battery(50, power_now=7_500_000)
    machine.battery(50, name="BAT1")
    found = counters(machine.root)
    assert found[0] == Counter("rapl:package-0")
    assert (found[1].name, found[1].readable) == ("rapl:package-1", False)
    assert "/sys/class/powercap/intel-rapl:2/energy_uj" in found[1].why
    assert found[2:] == (Counter("battery:BAT0"), Counter("battery:BAT1", "it says no power"))
    assert batteries(machine.root)


class Clock:
    """Moves by what one inference takes."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_the_package_counted_is_shared_by_the_inferences(machine: Machine) -> None:
    clock, state = Clock(), {"uj": 990_000, "runs": 0}
    rapl(machine, state["uj"])

    def once() -> None:
        clock.now += 0.05
        state["runs"] += 1
        state["uj"] = (state["uj"] + 3_000) % 1_000_000  # it goes round once
        rapl(machine, state["uj"])

    assert spent(once, machine.root, "x86_64", clock=clock, processor=clock) == EnergySpent(pytest.approx(3.0), "rapl")
    assert state["runs"] == 5


def test_a_battery_that_empties_is_asked_and_one_that_is_charged_is_not(machine: Machine) -> None:
    clock = Clock()

    def once() -> None:
        clock.now += 0.01

    machine.battery(50, current_now=-1_500_000, voltage_now=4_000_000)  # 6 W, as a driver writes it that counts what leaves
    assert spent(once, machine.root, "aarch64", clock=clock, processor=clock) == EnergySpent(pytest.approx(60.0), "battery")
    machine.battery(50, "Charging", current_now=1_500_000, voltage_now=4_000_000)
    assert spent(once, machine.root, "aarch64", clock=clock, processor=clock).source == ESTIMATE


def test_where_nothing_counts_it_is_processor_time_times_a_stated_power(machine: Machine) -> None:
    clock, busy = Clock(), Clock()

    def once() -> None:
        clock.now += 0.02
        busy.now += 0.03  # two threads

    found = spent(once, machine.root, "aarch64", clock=clock, processor=busy)
    assert found == EnergySpent(pytest.approx(30.0 * WATTS_OF_A_CORE["aarch64"]), ESTIMATE)
    assert spent(once, machine.root, "unheard-of", clock=clock, processor=busy).source == ESTIMATE


def test_a_counter_that_stands_still_is_no_counter(machine: Machine) -> None:
    clock = Clock()
    rapl(machine, 7)

    def once() -> None:
        clock.now += 0.1

    assert spent(once, machine.root, "x86_64", clock=clock, processor=clock).source == ESTIMATE


@given(st.floats(0, 1e9), st.floats(0, 1e9), st.floats(0, 1e9))
def test_no_energy_is_negative(before: float, after: float, most: float) -> None:
    assert between(before, after, most) >= 0


NAMES = st.sampled_from(["type", "status", "power_now", "current_now", "voltage_now", "name", "energy_uj", "information",
                         "max_energy_range_uj", "device/uevent", "device/vendor", "scope", "present"])  # fmt: skip
PLACES = st.sampled_from(["sys/class/power_supply/b", "sys/class/powercap/intel-rapl:0", "sys/class/drm/renderD128",
                          "proc/driver/nvidia/gpus/a", "sys/class/accel/accel0", "dev"])  # fmt: skip
TEXTS = st.one_of(st.sampled_from(["Battery", "Discharging", "package-0", "nan", "-5", "DRIVER=", "1"]), st.text(max_size=12))


@given(st.dictionaries(st.tuples(PLACES, NAMES), TEXTS, max_size=12))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_whatever_a_kernel_writes_nothing_fails(
    tmp_path_factory: pytest.TempPathFactory, files: dict[tuple[str, str], str]
) -> None:
    root = tmp_path_factory.mktemp("root")
    for (place, name), content in files.items():
        path = root / place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    clock = Clock()

    def once() -> None:
        clock.now += 0.5

    found = spent(once, root, "x86_64", clock=clock, processor=clock)
    assert found.millijoules is not None
    assert found.millijoules >= 0
    accelerators(root)
    counters(root)


def test_what_changes_is_not_in_the_class_and_what_inferences_depend_on_is(machine: Machine, tmp_path: Path) -> None:
    plain = profile(tmp_path, {}, root=machine.root)
    machine.unplugged(10)
    machine.zone(99.0)
    machine.write("run/littoral/metered", "yes")
    machine.write("dev/apex_0", "")
    rapl(machine, 5)
    changed = profile(tmp_path, {}, root=machine.root)
    assert changed.hardware_class == plain.hardware_class
    assert (changed.has_battery, len(changed.accelerators), len(changed.energy_counters)) == (True, 1, 2)
    assert profile(tmp_path, {}, threads=2).hardware_class != plain.hardware_class
    word = hardware_to(changed)
    assert [(a.kind, a.device) for a in word.accelerators] == [("tpu", "/dev/apex_0")]
    assert [(c.name, c.readable) for c in word.energy_counters] == [("rapl:package-0", True), ("battery:BAT0", False)]
    assert (word.threads, word.has_battery) == (1, True)


def test_this_very_machine_can_be_read(tmp_path: Path) -> None:
    found = profile(tmp_path, {})
    assert all(counter.readable or counter.why for counter in found.energy_counters)
    assert all(os.path.exists(a.device) for a in found.accelerators if a.device)
