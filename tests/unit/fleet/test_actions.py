"""The list of audit actions against the source that writes them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import littoral_cloud
from littoral_cloud.fleet.actions import ACTIONS, UPDATES, no_such_action
from littoral_cloud.trust import audit_archive, witness

SOURCE = Path(littoral_cloud.__file__).parent
COMPUTED = {
    "ACTION": {audit_archive.ACTION, witness.ACTION},
    "UPDATES[model.state]": set(UPDATES.values()),
    "f'schema.{field}'": {"schema.written", "schema.migrated"},
    "f'{kind}.archived'": {"rollout.archived", "run.archived"},
}
"""What an expression in the place of an action may give."""


def written() -> Iterator[str]:
    """What is given as the action to `Audit`, or to a function of the same module that has a parameter of this name."""
    for path in SOURCE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        places = {"Audit": 0}
        for each in ast.walk(tree):
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and each.name.startswith("_"):
                names = [given.arg for given in (*each.args.posonlyargs, *each.args.args) if given.arg != "self"]
                if "action" in names:
                    places[each.name] = names.index("action")
        for call in ast.walk(tree):
            if not isinstance(call, ast.Call):
                continue
            name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
            if name not in places or name == "_is_of":
                continue
            given = call.args[places[name]]
            for value in (given.body, given.orelse) if isinstance(given, ast.IfExp) else (given,):
                if isinstance(value, ast.Constant):
                    yield str(value.value)
                elif ast.unparse(value) != "action":
                    yield from COMPUTED[ast.unparse(value)]


def test_the_list_has_every_action_that_the_source_writes_and_no_other() -> None:
    assert set(written()) == ACTIONS


@pytest.mark.parametrize("pattern", ["*", "rollout.*", "node.enrolled", "*.archived", "update.rolled-back"])
def test_a_pattern_of_an_action_is_taken(pattern: str) -> None:
    assert no_such_action(pattern) is None


@pytest.mark.parametrize(
    ("pattern", "near"), [("rolout.*", "rollout.*"), ("node.enroled", "node.enrolled"), ("rollout", "rollout.*"), ("zzz", "")]
)
def test_another_is_refused_with_the_nearest(pattern: str, near: str) -> None:
    refused = no_such_action(pattern)
    assert refused is not None
    assert refused.message == f"{pattern!r}: there is no such action"
    assert refused.hint.startswith(f"did you mean {near}? " if near else "a pattern of actions")
