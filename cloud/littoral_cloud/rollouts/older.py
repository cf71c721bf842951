"""Rollouts as coordinators up to 0.1 wrote them (schema 1): one document with lists of all their nodes. Pure.

`numbers_of` gives the document of today, `assignments_in` what each node got. The controller writes both when it takes its lease
(`littoral_cloud/rollouts/convert.py`); until then, and for archived rollouts, they are read this way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from littoral import decoder
from littoral_cloud.rollouts.assignments import Assignment, AssignmentState

FITS_BUDGET = "fits-budget"
_FIRST = 5


def is_older(body: Mapping[str, Any]) -> bool:
    return body.get("schema") == 1


def numbers_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """The rollout's document of today."""
    started = [wave for wave in body.get("waves", ()) if wave["started_at"] is not None]
    gone = {"cohort", "assignments"}
    return {
        **{name: value for name, value in body.items() if name not in gone},
        "planned": len(body.get("assignments", ())),
        "waves": [
            {
                "number": number,
                "size": len(wave["nodes"]),
                "told": len(wave["nodes"]),
                "first": wave["nodes"][:_FIRST],
                "started_at": wave["started_at"],
                "told_at": wave["started_at"],
                "ended_at": wave["ended_at"],
                "promoted_by": wave.get("promoted_by", ""),
            }
            for number, wave in enumerate(started, 1)
        ],
        "given": Counter(old["manifest_digest"] for old in body.get("assignments", ()) if old.get("generation")),
        "waves_to_come": len(body.get("waves", ())) - len(started),
        "refused": [
            {"rule": rule, "nodes": len(nodes), "first": nodes[:_FIRST]} for rule, nodes in _by_rule(body.get("refused", ()))
        ],
        "schema": 2,
    }


def _by_rule(refused: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    for rule, nodes in groupby(sorted(refused, key=lambda no: str(no["rule"])), lambda no: str(no["rule"])):
        yield rule, list(nodes)


def assignments_in(rollout_id: str, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Bodies of the assignments' documents of today."""
    wave_of = {id: (n, w) for n, w in enumerate(body.get("waves", ()), 1) for id in w["nodes"] if w["started_at"] is not None}
    for order, old in enumerate(body.get("assignments", ())):
        number, wave = wave_of.get(old["node_id"], (0, {"started_at": 0.0}))
        yield {
            **{name: value for name, value in old.items() if name != "dropped"},
            "rollout_id": rollout_id,
            "state": _state_of(old, body).value,
            "order": order,
            "wave": number,
            "told_at": wave["started_at"],
            "at": wave["started_at"],
            "why": old.get("dropped", ""),
        }
    for no in body.get("refused", ()):
        if no["rule"] == FITS_BUDGET:
            yield {
                **{"rollout_id": rollout_id, "node_id": no["node_id"], "manifest_digest": "", "name": "", "previous": ""},
                **{"state": AssignmentState.REFUSED.value, "why": no["reason"]},
            }


def _state_of(old: Mapping[str, Any], body: Mapping[str, Any]) -> AssignmentState:
    if old.get("dropped"):
        return AssignmentState.DROPPED
    if not old.get("generation"):
        return AssignmentState.PLANNED
    match body["state"]:
        case "SUCCEEDED":
            return AssignmentState.COMMITTED
        case "ROLLING_BACK":
            return AssignmentState.RESTORING if old.get("restore_generation") else AssignmentState.RESTORED
        case "ROLLED_BACK" | "FAILED":
            return AssignmentState.RESTORED
        case _:
            return AssignmentState.TOLD


def older_assignments(rollout_id: str, body: Mapping[str, Any]) -> Sequence[Assignment]:
    """What each node got, of a document that may be of any schema; empty where it is of today's."""
    if not is_older(body):
        return ()
    return [decoder.decode(Assignment, each, f"rollout {rollout_id}") for each in assignments_in(rollout_id, body)]
