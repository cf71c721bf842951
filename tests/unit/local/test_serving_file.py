"""Who serves a data folder: the lock says it, whatever the files there say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from littoral.errors import BadInput, Unavailable
from littoral_cloud.local.discovery import SERVE_FILE, Serving, claimed

OURS = Serving("127.0.0.1:1", "127.0.0.1:2", os.getpid())


def test_a_folder_is_served_once_by_whatever_path(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "data")
    with claimed(tmp_path / "data", "first"):
        OURS.write(tmp_path / "data")
        for path in (tmp_path / "data", tmp_path / "link"):
            with pytest.raises(Unavailable, match=f"process {os.getpid()}, enrolment at 127.0.0.1:1"), claimed(path, "second"):
                pass
        assert Serving.read(tmp_path / "data") == OURS


def test_whoever_comes_next_learns_who_was_there_and_starts_without_its_address(tmp_path: Path) -> None:
    for before, now in (("", "first"), ("first", "second"), ("second", "third")):
        with claimed(tmp_path, now) as former:
            assert former == before
            assert Serving.read(tmp_path) is None
            OURS.write(tmp_path)  # and it is killed: nobody removes it


def test_an_address_counts_while_the_lock_is_held_and_not_because_a_process_has_that_number(tmp_path: Path) -> None:
    with claimed(tmp_path, "first"):
        OURS.write(tmp_path)
    assert (tmp_path / SERVE_FILE).exists()
    assert Serving.read(tmp_path) is None
    assert Serving.read(tmp_path / "nowhere") is None


def test_a_file_is_removed_by_whom_it_names(tmp_path: Path) -> None:
    other = Serving("127.0.0.1:3", "127.0.0.1:4", os.getpid() + 1)
    other.write(tmp_path)
    OURS.withdraw(tmp_path)
    assert (tmp_path / SERVE_FILE).exists()
    other.withdraw(tmp_path)
    assert not (tmp_path / SERVE_FILE).exists()


def test_what_cannot_be_locked_or_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="cannot be written"), claimed(tmp_path / "file" / "below", "first"):
        pass
    (tmp_path / SERVE_FILE).write_text("{")
    with pytest.raises(BadInput, match="is damaged"):
        Serving.read(tmp_path)
    with claimed(tmp_path, "first"), pytest.raises(Unavailable, match="just starting, or ending"), claimed(tmp_path, "second"):
        pass
