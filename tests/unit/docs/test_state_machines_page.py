"""docs/state-machines.md has the tables of the code; test_reference_pages.py compares all of them."""

from __future__ import annotations

from pathlib import Path

from littoral_cloud.rollouts.assignments import MOVES, OWNER
from littoral_cloud.rollouts.state import ENDED, RolloutState

DOCS = Path(__file__).parents[3] / "docs"


def test_the_page_has_the_moves() -> None:
    page = (DOCS / "state-machines.md").read_text()
    assert "| WAVE | LastWavePassed | SUCCEEDED |" in page
    assert "| TOLD | Passed | COMMITTED |" in page
    assert "| PROBATION | ProbationFailed | ROLLED_BACK |" in page


def test_every_state_of_a_rollout_and_of_what_a_node_gets_has_a_deadline_and_an_owner_there() -> None:
    page = (DOCS / "state-machines.md").read_text()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("| ")]
    with_deadline = {row[0] for row in rows if len(row) == 3 and "_s)" in row[1]}
    assert set(RolloutState) - ENDED <= with_deadline
    assert "The owner of every state is the controller with the lease `rollouts`." in page
    owned = {row[0]: row[1:] for row in rows if len(row) == 4 and row[1] == OWNER}
    assert owned.keys() == {state for state, _ in MOVES}
    assert all(all(cells) for cells in owned.values())
