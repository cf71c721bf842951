"""Recorded updates of real agents, replayed against today's table: each event leads to the same state and the same effects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from littoral.decoder import decode, plain
from littoral_node.update import events
from littoral_node.update.state import ENDS, MOVES, ModelUpdateState, Update, step

TRAILS = sorted((Path(__file__).parent / "updates").glob("*.jsonl"))


def lines_of(trail: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in trail.read_text().splitlines()]


@pytest.mark.parametrize("trail", TRAILS, ids=lambda trail: trail.stem)
def test_a_recorded_update_takes_the_same_moves_today(trail: Path) -> None:
    reached: dict[int, ModelUpdateState] = {}
    for line in lines_of(trail):
        update = decode(Update, line["before"], "before")
        event = decode(getattr(events, line["event"]), line["fields"], "event")
        assert update.state is reached.get(update.generation, update.state)  # the journal gave back what was written
        assert (update.state, type(event)) in MOVES or update.state in ENDS
        after, effects = step(update, event, 0.0)
        assert str(after.state) == line["state"]
        assert [[type(effect).__name__, plain(effect)] for effect in effects] == line["effects"]
        reached[update.generation] = after.state
    assert set(reached.values()) <= ENDS


def test_the_trails_hold_a_success_a_way_back_and_crashes() -> None:
    lines = [line for trail in TRAILS for line in lines_of(trail)]
    assert {"SUCCEEDED", "ROLLED_BACK"} <= {line["state"] for line in lines}
    assert {("DOWNLOADING", "AgentCrashed"), ("VERIFYING", "AgentCrashed"), ("PROBATION", "ProbationFailed")} <= {
        (line["before"]["state"], line["event"]) for line in lines
    }
