from __future__ import annotations

from pathlib import Path

from littoral_node.machine.hardware_ids import MOST, hardware_ids
from tests.kit.machine import Machine


def test_serial_numbers_and_real_cards_are_read_and_what_is_no_id_is_left_out(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.write("proc/device-tree/serial-number", "10000000ABCD\0")
    machine.write("sys/class/dmi/id/product_serial", "To Be Filled By O.E.M.")
    for name, address, real in (
        ("eth0", "DC:A6:32:01:02:03", True),
        ("docker0", "02:42:00:00:00:01", False),
        ("lo", "00:00:00:00:00:00", True),
    ):
        machine.write(f"sys/class/net/{name}/address", address)
        if real:
            (tmp_path / "sys/class/net" / name / "device").mkdir()
    assert hardware_ids(tmp_path) == ("serial:10000000abcd", "mac:dc:a6:32:01:02:03")


def test_a_machine_that_says_nothing_has_none(tmp_path: Path) -> None:
    assert hardware_ids(tmp_path) == ()
    assert len(hardware_ids()) <= MOST
