"""docs/state-machines.md has the tables of the code; test_reference_pages.py compares all of them."""

from __future__ import annotations

from pathlib import Path

DOCS = Path(__file__).parents[3] / "docs"


def test_the_page_has_the_moves() -> None:
    page = (DOCS / "state-machines.md").read_text()
    assert "| WAVE | LastWavePassed | SUCCEEDED |" in page
    assert "| PROBATION | ProbationFailed | ROLLED_BACK |" in page
