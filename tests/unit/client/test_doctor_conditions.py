"""What the doctor says of battery, heat, line and energy counters."""

from __future__ import annotations

from pathlib import Path

import pytest

from littoral_node.client.doctor import Finding, Verdict, examine
from littoral_node.identity.folder import NodeFolder
from littoral_node.runtimes.using import VARIABLE
from tests.kit.machine import Machine


async def found(folder: Path, **variables: str) -> list[Finding]:
    environment = {f"LITTORAL_NODE_{name.upper()}": text for name, text in variables.items()}
    return [f for f in await examine(NodeFolder(folder), environment, now=0.0) if f.check in ("conditions", "energy")]


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor settles on runtimes for its own process, which here is also that of other tests."""
    monkeypatch.setenv(VARIABLE, "")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "machine")


async def test_how_the_machine_stands_is_said(tmp_path: Path, machine: Machine) -> None:
    machine.unplugged(37)
    machine.zone(50.0, trip=90.0)
    machine.battery(37, power_now=5_000_000)
    [stands] = await found(tmp_path, machine_root=str(machine.root), on_battery_low="p95<=1ms", metered="no")
    assert (stands.verdict, stands.detail) == (Verdict.OK, "battery 37 %, on battery, not hot, network is not metered")


async def test_a_budget_whose_condition_the_machine_never_tells_is_warned_of(tmp_path: Path, machine: Machine) -> None:
    machine.root.mkdir(exist_ok=True)
    [stands] = await found(
        tmp_path, machine_root=str(machine.root), on_battery_low="p95<=1ms", on_hot="p95<=1ms", on_metered="p95<=1ms"
    )
    assert stands.verdict is Verdict.WARN
    assert (
        stands.detail
        == "battery, heat and network are unknown; on_battery_low, on_hot: this machine never reports that condition"
    )
    [stands] = await found(tmp_path, machine_root=str(machine.root))
    assert stands.verdict is Verdict.OK


async def test_a_counter_that_cannot_be_read_is_named(tmp_path: Path, machine: Machine) -> None:
    machine.write("sys/class/powercap/intel-rapl:0/name", "package-0")
    _, energy = await found(tmp_path, machine_root=str(machine.root))
    assert energy.verdict is Verdict.WARN
    assert energy.detail.startswith("rapl:package-0: /sys/class/powercap/intel-rapl:0/energy_uj is readable by root alone")


async def test_settings_that_cannot_be_read_are_complained_of_once(tmp_path: Path) -> None:
    assert await found(tmp_path, battery_low="full") == []
