"""docs/state-machines.md holds the tables as they are in the code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[3] / "docs"


def test_the_page_is_what_the_code_says() -> None:
    subprocess.run([sys.executable, str(DOCS / "write_state_machines.py"), "--check"], check=True)
    page = (DOCS / "state-machines.md").read_text()
    assert "| WAVE | LastWavePassed | SUCCEEDED |" in page
    assert "| PROBATION | Regressed | ROLLED_BACK |" in page
