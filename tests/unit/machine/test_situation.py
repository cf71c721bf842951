"""A node that is told by its kernel, or finds out by looking, that it may spend something else."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from littoral.budget import Budget
from littoral.fleet.v1 import session_pb2
from littoral_node.machine import situation as under_test
from littoral_node.machine import uevents
from littoral_node.machine.conditions import STEADY_S, Reading, Thresholds
from littoral_node.machine.situation import Situation
from tests.kit.machine import Machine
from tests.kit.patience import PATIENCE_S

PLAIN, LOW = Budget(), Budget.parse("artifact<=20KB")
BATTERY = b"change@/devices/LNXSYSTM:00/PNP0C0A:00/power_supply/BAT0\0ACTION=change\0SUBSYSTEM=power_supply\0SEQNUM=12\0"
DISK = b"add@/devices/virtual/block/loop0\0ACTION=add\0SUBSYSTEM=block\0SEQNUM=13\0"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Node:
    """A situation whose words are kept."""

    def __init__(self, machine: Machine, clock: object, root: Path | None = None, **overlays: Budget) -> None:
        self.said: list[session_pb2.BudgetChange] = []
        self.labelled: int | None = None
        self.logged: list[str] = []
        self.grew = asyncio.Event()
        self.situation = Situation(
            {"": PLAIN, "digits": Budget.parse("p95<=2ms")},
            overlays or {"battery_low": LOW},
            Thresholds(),
            root=root or machine.root,
            line=None,
            changed=self._keep,
            log=lambda event, **fields: self.logged.append(event),
            monotonic=clock,  # type: ignore[arg-type]
            labelled=lambda: self.labelled,
        )

    def _keep(self, word: session_pb2.ConnectRequest) -> None:
        self.said.append(word.budget_change)
        self.grew.set()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


async def test_what_holds_at_the_start_is_in_the_first_budget(machine: Machine) -> None:
    machine.unplugged(12)
    node = Node(machine, Clock())
    assert node.situation.in_force == ("battery_low",)
    assert node.situation.budgets() == {"": LOW, "digits": Budget.parse("p95<=2ms,artifact<=20KB")}
    stands = node.situation.conditions()
    assert (stands.on_mains, stands.battery_percent, list(stands.in_force)) == (False, 12.0, ["battery_low"])
    assert not stands.HasField("celsius")
    assert not stands.HasField("metered")


async def test_a_change_is_said_once_and_the_percents_between_are_not(machine: Machine) -> None:
    machine.plugged(80)
    clock = Clock()
    node = Node(machine, clock)
    machine.unplugged(60)
    await node.situation.look()
    for percent in (50, 40, 21):
        machine.battery(percent)
        await node.situation.look()
    assert [(change.conditions.on_mains, len(change.conditions.in_force)) for change in node.said] == [(False, 0)]
    machine.battery(19)
    await node.situation.look()
    await node.situation.look()
    assert len(node.said) == 2
    assert node.said[1].budgets[""].artifact_bytes == 20_000
    assert node.said[1].budgets["digits"].latency_ms == 2.0
    machine.plugged(19)
    await node.situation.look()
    assert node.situation.in_force == ("battery_low",)
    clock.now += STEADY_S
    await node.situation.look()
    assert node.situation.in_force == ()
    assert not node.said[-1].budgets[""].HasField("artifact_bytes")
    assert node.logged == ["conditions"] * 3  # on battery; low; neither


async def test_the_end_of_a_condition_is_not_waited_for_longer_than_it_takes(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("littoral_node.machine.conditions.STEADY_S", 0.05)
    monkeypatch.setattr(under_test, "POLL_ELSEWHERE_S", 0.02)
    machine.unplugged(10)
    node = Node(machine, asyncio.get_running_loop().time)
    running = asyncio.create_task(node.situation.run())
    machine.plugged(10)
    async with asyncio.timeout(PATIENCE_S):
        while node.situation.in_force:
            node.grew.clear()
            await node.grew.wait()
    assert list(node.said[-1].conditions.in_force) == []
    assert not node.said[-1].budgets[""].HasField("artifact_bytes")
    running.cancel()
    await asyncio.wait([running])


async def test_the_kernels_word_about_power_is_followed_and_others_are_not(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, kernels = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.setblocking(False)
    monkeypatch.setattr(uevents, "open_uevents", lambda: ours)
    machine.plugged(10)
    read = under_test.read
    monkeypatch.setattr(under_test, "read", lambda _, line: read(machine.root, line))
    node = Node(machine, asyncio.get_running_loop().time, Path("/"))  # the kernel is listened to; the made machine is read
    looks: list[Path] = []
    first = asyncio.Event()
    loop = asyncio.get_running_loop()

    def seen(root: Path, line: bool | None) -> Reading:
        found = read(machine.root, line)
        looks.append(root)
        loop.call_soon_threadsafe(first.set)
        return found

    monkeypatch.setattr(under_test, "read", seen)
    running = asyncio.create_task(node.situation.run())
    await first.wait()
    kernels.send(DISK)
    machine.unplugged(10)
    kernels.send(BATTERY)
    async with asyncio.timeout(PATIENCE_S):
        await node.grew.wait()
    assert node.situation.in_force == ("battery_low",)
    assert len(looks) == 2  # at the start, and for the battery
    running.cancel()
    await asyncio.wait([running])
    assert ours.fileno() == -1
    kernels.close()


def test_a_message_of_the_kernel_names_its_subsystem() -> None:
    assert uevents.subsystem(BATTERY) == "power_supply"
    assert uevents.subsystem(b"libudev\0\xfe\xed") == ""
    assert uevents.subsystem(b"") == ""


def test_what_waits_is_taken_whole() -> None:
    ours, kernels = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.setblocking(False)
    with ours, kernels:
        assert uevents.drained(ours) is False
        for message in (DISK, BATTERY, DISK):
            kernels.send(message)
        assert uevents.drained(ours) is True
        assert uevents.drained(ours) is False


def test_the_kernel_is_listened_to_where_it_can_be() -> None:
    opened = uevents.open_uevents()
    if opened is not None:  # a sandbox may have none; then the timer alone looks
        with opened:
            assert opened.getblocking() is False


async def test_labelled_examples_are_counted_again_and_said_where_they_became_more(machine: Machine) -> None:
    node = Node(machine, Clock())
    await node.situation.look()
    assert [dict(word.labelled_examples) for word in node.said] == []
    node.labelled = 7
    await node.situation.look()
    await node.situation.look()
    assert [dict(word.labelled_examples) for word in node.said] == [{"": 7}]
    assert node.situation.count() == 7
