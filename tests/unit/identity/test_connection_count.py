from __future__ import annotations

from pathlib import Path

import pytest

from littoral_node.identity.connection_count import ConnectionCount


def quiet(event: str, **fields: object) -> None:
    return


def test_it_counts_on_after_a_restart_and_a_copy_from_the_same_number(tmp_path: Path) -> None:
    file = tmp_path / "connections.json"
    count = ConnectionCount(file, quiet)
    assert [count.next(), count.next()] == [1, 2]
    assert (ConnectionCount(file, quiet).next(), count.next()) == (3, 3)  # two that run with one folder's content


def test_it_goes_on_from_what_the_cloud_knows(tmp_path: Path) -> None:
    file = tmp_path / "connections.json"
    count = ConnectionCount(file, quiet)
    count.at_least(7)
    count.at_least(5)
    assert ConnectionCount(file, quiet).next() == count.next() == 8


@pytest.mark.parametrize("text", ["{", '{"count": "many"}'])
def test_a_damaged_file_is_named_and_put_aside(tmp_path: Path, text: str) -> None:
    file, found = tmp_path / "connections.json", list[Path]()
    file.write_text(text)
    assert ConnectionCount(file, quiet, lambda path, why: found.append(path)).next() == 1
    assert found == [file]


def test_a_disk_that_takes_no_write_counts_in_memory(tmp_path: Path) -> None:
    log: list[str] = []
    count = ConnectionCount(tmp_path / "missing" / "connections.json", lambda event, **_: log.append(event))
    assert [count.next(), count.next()] == [1, 2]
    assert log == ["not-written", "not-written"]
