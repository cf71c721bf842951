"""What a simulation answers: of each rollout its waves, whom it exposed to a bad model and for how long, and how fast it went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from littoral_cloud.fleet.ledger import Audit
from littoral_cloud.rollouts.state import Rollout, RolloutState
from littoral_cloud.simulate.books import Books
from littoral_cloud.simulate.traffic import message_bytes

STOPPED = (RolloutState.ROLLED_BACK, RolloutState.FAILED, RolloutState.ROLLING_BACK)


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveOutcome:
    """Times count from the start of the rollout; seconds. `lasted_s` None: it had not ended when the simulation did."""

    wave: int
    nodes: int
    started_s: float
    lasted_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutOutcome:
    """Nodes are counted of the whole fleet. Times count from the start of the rollout, in seconds; None: it did not come to
    that."""

    rollout: str
    artifacts: tuple[str, ...]
    bad: bool
    state: str
    reason: str
    waves: tuple[WaveOutcome, ...]
    lasted_s: float | None
    reached: int  # nodes that committed to an artifact of it
    half_s: float | None  # until half of the fleet had
    most_s: float | None  # until 95 % had
    exposed: int  # nodes on which a bad artifact of it ever answered, in probation too
    exposed_share: float
    exposed_hours: float  # of all these nodes together
    false_stop: bool  # it was stopped, and none of its artifacts is bad
    missed: bool  # one is, and it was not stopped


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetOutcome:
    seed: int
    nodes: int
    hours: float  # that were simulated
    rollouts: tuple[RolloutOutcome, ...]
    artifact_bytes: int  # down
    messages_up_bytes: int
    messages_down_bytes: int
    sessions: int
    sent_away: int  # times that a busy coordinator sent a node away
    unanswered: int  # times that a node called a coordinator that was down


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """One rollout, as it went. `artifacts`: names by manifest digest."""

    id: str
    record: Rollout
    artifacts: dict[str, str]
    nodes: int  # of the fleet
    lines: Sequence[tuple[float, Audit]]  # of the audit trail that are about it


def rollout_outcome(course: Course, books: Books) -> RolloutOutcome:
    record, began = course.record, course.record.created_at
    digests = list(course.artifacts)
    bad = any(digest in books.bad for digest in digests)
    reached = sorted(at for digest in digests for at in books.committed[digest])
    exposed = len(set().union(*(books.exposed[digest] for digest in digests)))
    return RolloutOutcome(
        rollout=course.id,
        artifacts=tuple(course.artifacts.values()),
        bad=bad,
        state=record.state.value,
        reason=record.reason,
        waves=_waves(course.lines, began, record.ended_at),
        lasted_s=None if record.ended_at is None else record.ended_at - began,
        reached=len(reached),
        half_s=_reached(reached, course.nodes, 0.5, began),
        most_s=_reached(reached, course.nodes, 0.95, began),
        exposed=exposed,
        exposed_share=exposed / course.nodes,
        exposed_hours=sum(books.exposed_s[digest] for digest in digests) / 3_600.0,
        false_stop=record.state in STOPPED and not bad,
        missed=bad and record.state not in STOPPED,
    )


def fleet_outcome(
    seed: int, nodes: int, seconds: float, courses: Sequence[Course], books: Books, heartbeat_s: float
) -> FleetOutcome:
    """`seconds`: that were simulated."""
    up, down = message_bytes({**books.messages, "heartbeat": 2 * books.session_s / heartbeat_s})  # both sides send them
    return FleetOutcome(
        seed=seed,
        nodes=nodes,
        hours=seconds / 3_600.0,
        rollouts=tuple(rollout_outcome(course, books) for course in courses),
        artifact_bytes=books.blob_bytes,
        messages_up_bytes=up,
        messages_down_bytes=down,
        sessions=books.sessions,
        sent_away=books.sent_away,
        unanswered=books.unanswered,
    )


def _reached(times: Sequence[float], nodes: int, share: float, began: float) -> float | None:
    """`times`: in order."""
    needed = -int(-nodes * share // 1)
    return times[needed - 1] - began if 0 < needed <= len(times) else None


def _waves(lines: Sequence[tuple[float, Audit]], began: float, ended: float | None) -> tuple[WaveOutcome, ...]:
    """From the trail: a wave ends when the next one starts, or when the rollout is stopped or ends."""
    starts = [(at, line.details) for at, line in lines if line.action == "rollout.wave-started"]
    stopped = next((at for at, line in lines if line.action in ("rollout.stopped", "rollout.promoted")), ended)
    ends = [*(at for at, _ in starts[1:]), stopped]
    return tuple(
        WaveOutcome(
            wave=number,
            nodes=int(details.get("nodes_count", len(details["nodes"]))),
            started_s=at - began,
            lasted_s=None if end is None else end - at,
        )
        for number, ((at, details), end) in enumerate(zip(starts, ends, strict=False), 1)
    )
