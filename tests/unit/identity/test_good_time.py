"""What time it is, on a machine whose clock lies. All clocks are a test's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from littoral.errors import Untrusted
from littoral.identity import key_id_of
from littoral.signed_time import seal_time
from littoral_node.identity.files import write_record
from littoral_node.identity.good_time import KEEP_S, TOLERANCE_S, GoodTime, NodeClock

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
RAW = KEY.public_key().public_bytes_raw()
TRUSTED = {key_id_of(RAW): RAW}
NOW = 1_800_000_000.0
DAY_S = 86_400.0


class Machine:
    """One boot: its clock stands wrong by a constant, and time passes for both clocks."""

    def __init__(self, file: Path, clock: float) -> None:
        self.base, self.passed, self.log = clock, 0.0, list[tuple[str, Any]]()
        self.damaged: list[Path] = []
        self.clock = NodeClock(
            file,
            lambda: self.base + self.passed,
            lambda event, **f: self.log.append((event, f)),
            self.up,
            lambda path, why: self.damaged.append(path),
        )

    def up(self) -> float:
        return 1000.0 + self.passed

    def hear(self, at: float) -> None:
        self.clock.answered(seal_time(at, self.clock.nonce(), KEY), TRUSTED)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "clock.json"


def test_a_right_clock_counts_and_nothing_is_wrong(file: Path) -> None:
    machine = Machine(file, NOW)
    assert (machine.clock(), machine.clock.is_wrong, machine.clock.problem()) == (NOW, False, "")
    machine.hear(NOW + TOLERANCE_S)  # it is not quite the coordinator's
    assert not machine.clock.is_wrong
    assert machine.log == []


def test_in_1970_the_last_good_time_on_the_disk_counts_and_goes_on(file: Path) -> None:
    write_record(file, GoodTime(NOW))
    machine = Machine(file, 60.0)
    machine.passed = 10.0
    assert machine.clock() == NOW + 10.0
    assert machine.clock.is_wrong
    assert (
        machine.clock.problem()
        == f"this machine's clock is {(NOW - 60) / DAY_S:.1f} days behind the last good time: set it (NTP)"
    )
    machine.hear(NOW + DAY_S)  # it was off for a day
    machine.passed = 20.0
    assert machine.clock() == NOW + DAY_S + 10.0
    assert [event for event, _ in machine.log] == ["clock-wrong"]
    machine.base = NOW + DAY_S - 10.0  # somebody set it
    assert (machine.clock.is_wrong, machine.clock.problem()) == (False, "")


def test_without_a_good_time_the_beginning_of_the_certificate_counts(file: Path) -> None:
    machine = Machine(file, 60.0)
    machine.passed = 5.0
    machine.clock.not_before(NOW)
    machine.passed = 15.0
    assert machine.clock() == NOW + 10.0
    machine.clock.not_before(NOW - DAY_S)
    assert machine.clock() == NOW + 10.0


def test_a_year_ahead_counts_until_a_coordinator_is_heard_and_leaves_nothing_behind(file: Path) -> None:
    write_record(file, GoodTime(NOW))
    machine = Machine(file, NOW + 365 * DAY_S)
    assert machine.clock() == NOW + 365 * DAY_S
    assert not machine.clock.is_wrong  # it may have been off for a year
    machine.hear(NOW + 60)
    assert machine.clock() == NOW + 60
    assert machine.clock.problem() == "this machine's clock is 365.0 days ahead of the coordinator's: set it (NTP)"
    machine.passed = KEEP_S
    machine.clock.keep()
    assert Machine(file, 60.0).clock() == NOW + 60 + KEEP_S  # of the next boot


def test_an_old_a_foreign_and_an_unasked_answer_change_nothing(file: Path) -> None:
    machine = Machine(file, NOW)
    old = seal_time(NOW - DAY_S, machine.clock.nonce(), KEY)
    fresh = machine.clock.nonce()
    for envelope in (old, seal_time(NOW - DAY_S, fresh, Ed25519PrivateKey.generate()), b"junk"):
        with pytest.raises(Untrusted):
            machine.clock.answered(envelope, TRUSTED)
        with pytest.raises(Untrusted, match="nothing was asked"):  # a nonce counts once
            machine.clock.answered(seal_time(NOW, fresh, KEY), TRUSTED)
        fresh = machine.clock.nonce()
    assert (machine.clock(), machine.clock.is_signed) == (NOW, False)
    assert not file.exists()


@pytest.mark.parametrize("text", ["", "{", '{"at": "soon"}', '{"at": 1e9}'])
def test_a_damaged_file_is_put_aside(file: Path, text: str) -> None:
    file.write_text(text)
    machine = Machine(file, NOW)
    assert machine.clock() == NOW
    assert machine.damaged == [file]
    assert not file.exists()


def test_a_disk_that_takes_no_write_is_logged(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "missing" / "clock.json", NOW)
    machine.hear(NOW)
    assert [event for event, _ in machine.log] == ["not-written"]
    assert machine.clock() == NOW
