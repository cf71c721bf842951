from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.errors import BadInput
from littoral_cloud.fleet.ledger import Audit, AuditEntry
from littoral_cloud.trust.audit_chain import GENESIS, canonical, link, verify

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
LINES = st.lists(
    st.builds(
        Audit,
        st.text(max_size=8),
        st.text(max_size=8),
        st.text(max_size=8),
        st.dictionaries(st.text(max_size=4), JSON, max_size=3),
    ),
    min_size=1,
    max_size=6,
)


def trail(lines: list[Audit], at: float = 5.25) -> list[AuditEntry]:
    entries: list[AuditEntry] = []
    chain = GENESIS
    for n, line in enumerate(lines):
        chain = link(chain, canonical(at + n, line))
        entries.append(AuditEntry(f"{n}-0", at + n, line.action, line.subject, line.actor, line.details, chain))
    return entries


@given(LINES)
def test_a_trail_that_nobody_touched_is_whole_also_page_by_page(lines: list[Audit]) -> None:
    entries = trail(lines)
    assert verify(entries) is None
    half = len(entries) // 2
    before = entries[half - 1].chain if half else GENESIS
    assert verify(entries[half:], before) is None


@given(lines=LINES, data=st.data())
def test_a_line_that_was_changed_dropped_or_moved_is_found(lines: list[Audit], data: st.DataObject) -> None:
    entries = trail([replace(line, subject=f"{n}") for n, line in enumerate(lines)])
    at = data.draw(st.integers(0, len(entries) - 1))
    changed = replace(entries[at], actor=entries[at].actor + "!")
    broken = verify([*entries[:at], changed, *entries[at + 1 :]])
    assert broken is not None
    assert broken.entry == changed
    without = [*entries[:at], *entries[at + 1 :]]
    assert (verify(without) is None) == (at == len(entries) - 1), "only the last can go unseen: its chain is the head"
    if at > 0:
        moved = [*entries[: at - 1], entries[at], entries[at - 1], *entries[at + 1 :]]
        found = verify(moved)
        assert found is not None
        assert found.entry == entries[at]


def test_keys_that_are_numbers_chain_as_they_are_read_back() -> None:
    line = Audit("a.b", "c", "d", {"by": {10: 1, 9: 2}})
    read = Audit("a.b", "c", "d", {"by": {"10": 1, "9": 2}})
    assert canonical(1.0, line) == canonical(1.0, read)


@pytest.mark.parametrize("details", [{"x": float("nan")}, {"x": object()}, {"x": {1, 2}}])
def test_details_that_are_not_json_are_refused(details: dict[str, object]) -> None:
    with pytest.raises(BadInput, match=r"a\.b c"):
        canonical(1.0, Audit("a.b", "c", "d", details))
