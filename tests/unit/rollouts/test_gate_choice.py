"""Gates as an operator names them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from littoral.errors import BadInput
from littoral_cloud.rollouts.gates import GATES
from littoral_cloud.rollouts.gates.chosen import parse_gates

DOCS = Path(__file__).parents[3] / "docs/gates.md"


def test_a_limit_may_follow_the_name() -> None:
    assert parse_gates(["p95=1.2", "labelled", "probation=0.01"]) == {"p95": 1.2, "labelled": 0.02, "probation": 0.01}
    assert parse_gates([]) == {}


@pytest.mark.parametrize(
    ("texts", "message", "hint"),
    [
        (["p59"], "'p59' is not known", "did you mean p95"),
        (["p95=0.5"], "p95: '0.5' is no number from 1 to 100", "p95=1.5"),
        (["p95="], "p95: '' is no number", "p95=1.5"),
        (["labelled=2%"], "labelled: '2%' is no number from 0 to 1", "falls by at most 0.02"),
        (["labelled=nan"], "labelled: 'nan' is no number", "labelled=0.02"),
        (["labelled", "labelled=0.1"], "labelled is named twice", "once"),
    ],
)
def test_what_is_wrong_is_refused_with_a_way_out(texts: list[str], message: str, hint: str) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        parse_gates(texts)
    assert hint in caught.value.hint


def test_every_gate_is_in_the_table_of_the_docs_with_its_limit() -> None:
    rows = [line for line in DOCS.read_text().splitlines() if line.startswith("| `")]
    for gate, row in zip(GATES.values(), rows, strict=True):
        assert gate.least <= gate.limit <= gate.most
        assert row.startswith(f"| `{gate.name}` |")
        limit = re.match(r"[0-9.]+", row.split("|")[-2].strip())
        assert limit is not None
        assert float(limit[0]) == gate.limit
