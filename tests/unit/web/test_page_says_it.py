"""What the command line says, in the words of the page."""

from __future__ import annotations

import pytest

from littoral.errors import BadInput
from littoral_cloud.rollouts.eligibility import ABSENT, FITS_BUDGET, OWN_RULES, RULES_OF_ALIKE
from littoral_cloud.web.page_words import RULES, mover_on_page, on_page, problem_on_page, rule_on_page

LABELS = {"canary": "First node", "where": "Only nodes that match"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("--canary: there is no 'nosuch'", "First node: there is no 'nosuch'"),
        ("canary: n9 is not among the nodes", "First node: n9 is not among the nodes"),
        ("name more, or lower --min-nodes", "name more, or lower min nodes"),
        ("0.97 is under the served model's 0.98 (--max-drop-vs-served)", "0.97 is under the served model's 0.98"),
        ("somebody other than ana to approve it: littoral-cloud rollout approve r1", "somebody other than ana to approve it"),
        ("littoral-cloud node list", ""),
        ("rollout r1: is paused", "rollout r1: is paused"),
    ],
)
def test_options_are_fields_and_commands_are_left_out(text: str, words: str) -> None:
    assert on_page(text, LABELS) == words


def test_an_error_has_its_hint_unless_that_is_a_command() -> None:
    error = BadInput("--where: site=x matches no node of the fleet", hint="littoral-cloud node list")
    assert problem_on_page(error, LABELS) == "Only nodes that match: site=x matches no node of the fleet"
    assert problem_on_page(BadInput("waves: empty", hint="like 1, 25%")) == "waves: empty. like 1, 25%"


def test_who_moves_a_rollout_has_the_name_of_the_button() -> None:
    assert mover_on_page("an operator: littoral-cloud rollout abort digits-1-r1") == "an operator: Abort"
    assert mover_on_page("an operator: littoral-cloud rollout promote digits-1-r1") == "an operator: Next wave now"
    assert mover_on_page("a coordinator: littoral-cloud serve") == "a coordinator"
    assert mover_on_page("these nodes") == "these nodes"


def test_every_rule_says_of_the_nodes_that_it_leaves_out_what_they_are() -> None:
    rules = {rule.__name__.replace("_", "-") for rule in (*OWN_RULES, *RULES_OF_ALIKE)} | {FITS_BUDGET, ABSENT}
    assert set(RULES) == rules
    assert rule_on_page("left out: not-quarantined") == "left out: in quarantine"
    assert rule_on_page("not-quarantined: by ana (--force)") == "in quarantine: by ana"
    assert [rule_on_page(state) for state in ("has it", "ROLLED_BACK")] == ["has it", "ROLLED_BACK"]
