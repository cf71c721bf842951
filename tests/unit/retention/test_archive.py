from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.errors import NoSpace
from littoral_cloud.fleet.ledger import Doc
from littoral_cloud.retention.archive import add, find, place_of

NOW = 1_800_000_000.0  # in 2027
DOCS = st.lists(
    st.builds(
        Doc,
        st.just("rollout"),
        st.text(min_size=1, max_size=9),
        st.integers(1, 99),
        st.dictionaries(st.text(max_size=5), st.integers() | st.text()),
    ),
    min_size=1,
    max_size=8,
)


@given(DOCS, DOCS)
def test_each_document_is_found_as_it_was_written_last(
    tmp_path_factory: pytest.TempPathFactory, first: list[Doc], second: list[Doc]
) -> None:
    folder = tmp_path_factory.mktemp("archive")
    add(place_of(folder, "rollout", NOW), first, NOW)
    add(place_of(folder, "rollout", NOW + 366 * 86_400), second, NOW)
    assert sorted(path.name for path in folder.iterdir()) == ["rollouts-2027.jsonl", "rollouts-2028.jsonl"]
    for id, doc in {doc.id: doc for doc in [*first, *second]}.items():
        found = find(folder, "rollout", id)
        assert found is not None
        assert found.doc == doc
    assert find(folder, "rollout", "x" * 10) is None
    assert find(folder, "run", first[0].id) is None


def test_a_line_that_a_crash_cut_is_passed_over(tmp_path: Path) -> None:
    place = place_of(tmp_path, "run", NOW)
    one, two = Doc("run", "one", 3, {"n": 1}), Doc("run", "two", 4, {"n": 2})
    add(place, [one], NOW)
    add(place, [two], NOW)
    place.write_bytes(place.read_bytes()[:-9])
    assert find(tmp_path, "run", "two") is None
    add(place, [two], NOW)
    for doc in (one, two):
        found = find(tmp_path, "run", doc.id)
        assert found is not None
        assert found.doc == doc


def test_a_full_disk_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NoSpace, match="archive: "):
        add(place_of(tmp_path, "run", NOW), [Doc("run", "one", 1, {})], NOW)
