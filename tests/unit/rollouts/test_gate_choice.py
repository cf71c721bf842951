"""Gates as an operator names them."""

from __future__ import annotations

import pytest

from littoral.errors import BadInput
from littoral_cloud.rollouts.gates import GATES
from littoral_cloud.rollouts.gates.chosen import parse_gates


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
    for gate in GATES.values():
        assert gate.least <= gate.limit <= gate.most
        assert gate.asks.format(limit=gate.limit)
