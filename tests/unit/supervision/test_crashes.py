"""Who is counted when the agent ended without a word, and what is written for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral_node.supervision import crash_record as c
from littoral_node.supervision.crash_record import Book, CrashBook, CrashCount
from littoral_node.supervision.failures import CRASHES

OLD, NEW, OTHER = (f"sha256:{letter * 64}" for letter in "abc")
HERE = "this start of the machine"


def running(**models: CrashCount) -> Book:
    return Book(machine=HERE, clean=False, models=models)


def first_start(book: Book) -> Any:
    started, crashes = c.reopened(book, HERE, {})
    assert crashes == {}
    return c.reopened(c.loading(started, "m", NEW), HERE, {})


def test_a_model_that_takes_the_agent_down_as_it_is_loaded_is_given_up_at_the_third_time() -> None:
    book = Book()
    for number in (1, 2, 3):
        assert not c.given_up(book, "m", NEW)
        book, crashes = c.reopened(c.loading(book, "m", NEW), HERE, {}) if number > 1 else first_start(book)
        assert crashes["m"].crashes == number
        assert f"counted against it: {number} of 3" in str(crashes["m"])
    assert c.given_up(book, "m", NEW)
    assert not c.given_up(book, "m", OLD)


def test_the_one_that_was_being_loaded_is_counted_and_nobody_else() -> None:
    book = c.loading(running(a=CrashCount(OLD), b=CrashCount(OTHER)), "b", NEW)
    after, crashes = c.reopened(book, HERE, {})
    assert set(crashes) == {"b"}
    assert after.models == {"a": CrashCount(OLD), "b": CrashCount(NEW, crashes=1)}


def test_a_crash_while_an_update_is_tried_is_counted_there_and_not_here() -> None:
    book = running(m=CrashCount(OLD), n=CrashCount(OTHER))
    after, _ = c.reopened(book, HERE, {"m": NEW})
    assert (after.models["m"].crashes, after.models["n"].crashes) == (0, 1)
    adopting = c.loading(book, "m", NEW)
    after, crashes = c.reopened(adopting, HERE, {"m": NEW})
    assert crashes == {}
    assert {standing.crashes for standing in after.models.values()} == {0}
    active_again = c.loading(book, "m", OLD)  # at the next start the old one is loaded: this is not the update's doing
    after, _ = c.reopened(active_again, HERE, {"m": NEW})
    assert after.models["m"] == CrashCount(OLD, crashes=1)


def test_what_has_proved_itself_is_reported_and_not_counted() -> None:
    book = c.proved(running(m=CrashCount(OLD, crashes=2), n=CrashCount(OTHER, crashes=1)), {"m": OLD, "n": NEW})
    assert book.models == {"m": CrashCount(OLD, proved=True), "n": CrashCount(OTHER, crashes=1)}
    for number in range(1, 6):
        book, crashes = c.reopened(book, HERE, {})
        assert (crashes["m"].crashes, crashes["m"].ends) == (0, number)
        assert "not counted" in str(crashes["m"])
        book = c.proved(c.loaded(book, "m", OLD), {"m": OLD})
    assert not c.given_up(book, "m", OLD)


def test_a_cut_of_the_power_counts_nothing() -> None:
    book = c.loading(running(m=CrashCount(OLD, crashes=2)), "m", OLD)
    after, crashes = c.reopened(book, "the next start of the machine", {})
    assert crashes == {}
    assert after.models["m"].crashes == 2
    assert after.blamed is None


def test_an_orderly_end_interrupts_a_row_but_brings_back_nothing_that_was_given_up() -> None:
    book = Book(HERE, True, 5, None, {"m": CrashCount(OLD, crashes=2), "n": CrashCount(NEW, crashes=3)})
    after, crashes = c.reopened(book, HERE, {})
    assert crashes == {}
    assert (after.ends, after.models["m"].crashes, after.models["n"].crashes) == (0, 0, 3)
    assert c.loaded(after, "n", NEW).models["n"].crashes == 0  # a new wish brought it back


@given(st.lists(st.sampled_from(["load", "loaded", "prove", "crash", "end", "cut"]), max_size=60))
def test_nothing_is_given_up_without_three_crashes_since_it_last_did_well(happenings: list[str]) -> None:
    book, _ = c.reopened(Book(), HERE, {})
    crashes = 0  # of the agent, since the model proved itself or the agent ended in good order
    for what in happenings:
        before = c.given_up(book, "m", NEW)
        match what:
            case "load":
                book = c.loading(book, "m", NEW)
            case "loaded":
                book = c.loaded(book, "m", NEW)
            case "prove":
                book = c.proved(book, {"m": NEW})
                crashes = 0
            case "crash":
                book, _ = c.reopened(book, HERE, {})
                crashes += 1
            case "end":
                book, _ = c.reopened(replace(book, clean=True, blamed=None), HERE, {})
                crashes = crashes if before else 0  # what was given up stays so, also after more crashes than it takes
            case "cut":
                book, _ = c.reopened(replace(book, machine="before"), HERE, {})
                assert c.given_up(book, "m", NEW) == before
        assert book.models.get("m", CrashCount(NEW)).crashes <= crashes
        if c.given_up(book, "m", NEW):
            assert crashes >= CRASHES
        assert before <= c.given_up(book, "m", NEW) or what in ("loaded", "prove")


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"schema": 1}', b'{"schema": 9}', b'{"schema": 1, "models": {"m": 3}}'])
def test_a_book_that_makes_no_sense_blames_nobody(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "crashes.json"
    path.write_bytes(damage)
    book = CrashBook(path, lambda *words, **fields: None)
    assert book.reopen({}) == {}
    book.loading("m", NEW)
    assert CrashBook(path, lambda *words, **fields: None).reopen({})["m"].crashes == 1


def test_a_copy_of_the_folder_blames_nobody_for_the_agent_that_runs_on_the_first(tmp_path: Path) -> None:
    for name in ("first", "copy"):
        (tmp_path / name).mkdir()
    book = CrashBook(tmp_path / "first" / "crashes.json", lambda *words, **fields: None)
    book.reopen({})
    book.loaded("m", NEW)
    written = (tmp_path / "first" / "crashes.json").read_bytes()
    (tmp_path / "copy" / "crashes.json").write_bytes(written)
    assert CrashBook(tmp_path / "copy" / "crashes.json", lambda *words, **fields: None).reopen({}) == {}
    assert CrashBook(tmp_path / "first" / "crashes.json", lambda *words, **fields: None).reopen({})["m"].crashes == 1


def test_it_is_written_as_it_is_loaded_and_not_for_what_changes_nothing(tmp_path: Path) -> None:
    path, logged = tmp_path / "crashes.json", []

    def log(event: str, **fields: Any) -> None:
        logged.append(event)

    book = CrashBook(path, log)
    book.reopen({})
    book.ended()
    assert not path.exists()  # a node that serves nothing writes nothing
    for _ in range(50):
        book.loading("m", NEW)
        book.loaded("m", NEW)
        for _ in range(20):
            book.proved({"m": NEW})
        written = path.stat().st_mtime_ns
        book.proved({"m": NEW})
        assert path.stat().st_mtime_ns == written
    (tmp_path / "no").write_bytes(b"")
    unwritable = CrashBook(tmp_path / "no" / "crashes.json", log)  # its folder is a file
    unwritable.loading("m", NEW)
    assert logged[-1] == "crashes-not-written"
