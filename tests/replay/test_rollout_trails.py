"""Recorded audit trails, replayed against the table of rollouts: what a coordinator once did is still a way through it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from littoral_cloud.rollouts.events import (
    LastWavePassed,
    MeasurersWanted,
    NobodyCan,
    NobodyNow,
    NodesAnswered,
    NodesDue,
    NodesGoBack,
    NodesNotReached,
    NothingToDo,
    Planned,
    Restored,
    RolloutAborted,
    RolloutEvent,
    RolloutExpired,
    RolloutStopped,
    TurnCame,
    WavePassed,
)
from littoral_cloud.rollouts.state import MOVES, RolloutState

TRAILS = sorted((Path(__file__).parent / "rollouts").glob("*.jsonl"))
AUDITED: Mapping[str, tuple[type[RolloutEvent], ...]] = {
    "rollout.wave-started": (NodesDue, RolloutStopped, Planned, WavePassed),
    "rollout.promoted": (LastWavePassed, NothingToDo),
    "rollout.stopped": (RolloutStopped,),
    "rollout.rolled-back": (Restored, RolloutAborted),
    "rollout.waiting": (NobodyNow,),
    "rollout.failed": (NobodyCan, RolloutExpired),
}
"""By action of the trail, the events that write it, or wrote it: before 0.2 the line of a wave came with its start."""
NO_MOVE = ("rollout.started", "rollout.abort-asked")
SILENT = (TurnCame, MeasurersWanted, Planned, WavePassed, NodesDue, NodesAnswered, NodesNotReached, NodesGoBack)
"""Events that move a rollout and write no line."""


def read(path: Path) -> tuple[RolloutState, list[str]]:
    """The state in which the rollout ended, and the actions of its lines."""
    head, *lines = (json.loads(line) for line in path.read_text().splitlines())
    return RolloutState(head["ended"]), [line["action"] for line in lines if about(line, head["rollout"])]


def about(line: Mapping[str, Any], rollout_id: str) -> bool:
    return line["subject"] == rollout_id and line["action"] not in NO_MOVE


def replayed(actions: Sequence[str]) -> set[RolloutState]:
    """The states in which a rollout with these lines may be; empty where the table has no such way."""
    states = {RolloutState.PENDING}
    for action in actions:
        while more := {MOVES[state, event] for state in states for event in SILENT if (state, event) in MOVES} - states:
            states |= more
        states = {MOVES[state, event] for state in states for event in AUDITED[action] if (state, event) in MOVES}
    return states


def test_there_is_a_trail_of_each_end() -> None:
    assert {path.stem for path in TRAILS} >= {"promoted", "rolled-back-by-probation", "aborted", "expired", "withdrawn"}


@pytest.mark.parametrize("path", TRAILS, ids=lambda path: path.stem)
def test_each_recorded_line_is_a_move_of_the_table(path: Path) -> None:
    ended, actions = read(path)
    assert actions
    for number, action in enumerate(actions):
        assert replayed(actions[: number + 1]), f"line {number}, {action}: no move of the table writes it there"
    assert ended in replayed(actions)


@pytest.mark.parametrize("path", TRAILS, ids=lambda path: path.stem)
def test_a_trail_with_its_end_in_front_is_no_way_through_the_table(path: Path) -> None:
    _, actions = read(path)
    assert not replayed([actions[-1], *actions])
