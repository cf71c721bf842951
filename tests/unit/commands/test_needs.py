"""What the overview says needs somebody: what waits for a person, and what failed and nobody has mended since."""

from __future__ import annotations

from dataclasses import replace

from littoral_cloud.commands.needs import LATELY_S, approvals, needs_of_rollouts, needs_of_runs
from littoral_cloud.federation.run import STOPPED, RunState
from littoral_cloud.rollouts.state import Rollout, RolloutPolicy, RolloutState
from tests.kit.federation import small_run

NOW = 2_000_000.0


def rollout(state: RolloutState, ended: float | None = NOW - 60.0, **more: object) -> Rollout:
    made = Rollout(
        release_id="cells-1",
        model="cells",
        kind="students",
        policy=RolloutPolicy(),
        state=state,
        created_at=NOW - 600.0,
        entered_at=NOW - 600.0,
        deadline=NOW + 600.0,
        ended_at=ended,
    )
    return replace(made, **more)  # type: ignore[arg-type]


def needing(*rollouts: Rollout, now: float = NOW) -> list[str]:
    return [need.id for need in needs_of_rollouts([(f"r{n}", each) for n, each in enumerate(rollouts)], now)]


def test_a_failed_rollout_needs_somebody_until_a_later_one_of_its_model_succeeded() -> None:
    failed, again = rollout(RolloutState.ROLLED_BACK), rollout(RolloutState.SUCCEEDED, NOW - 10.0)
    assert needing(failed) == needing(rollout(RolloutState.FAILED)) == ["r0"]
    assert needing(failed, again) == []
    assert needing(failed, replace(again, model="other")) == ["r0"]
    assert needing(failed, replace(again, ended_at=NOW - 70.0)) == ["r0"]
    assert needing(failed, now=NOW + LATELY_S) == []


def test_what_a_person_ended_needs_nobody() -> None:
    assert needing(rollout(RolloutState.ROLLED_BACK, aborted_by="ana", reason="aborted by ana")) == []
    stopped = small_run("r1", "w", state=RunState.FAILED, reason=STOPPED, finished_at=NOW)
    assert list(needs_of_runs([stopped], NOW)) == []


def test_a_failed_run_needs_somebody_until_a_later_one_of_its_model_succeeded() -> None:
    failed = small_run("r1", "w", state=RunState.FAILED, reason="too-few", finished_at=NOW - 60.0)
    again = small_run("r2", "w", state=RunState.SUCCEEDED, finished_at=NOW)
    assert [need.id for need in needs_of_runs([failed], NOW)] == ["r1"]
    assert list(needs_of_runs([failed, again], NOW)) == list(needs_of_runs([failed], NOW + LATELY_S)) == []


def test_an_approval_is_asked_of_everybody_but_who_started_it() -> None:
    waits = rollout(RolloutState.PENDING, None, started_by="ana", policy=RolloutPolicy(approval=True))
    assert [need.id for need in approvals([("r0", waits)], "bo")] == ["r0"]
    assert list(approvals([("r0", waits)], "ana")) == []
    assert needing(waits) == []
    assert list(approvals([("r0", replace(waits, approved_by="bo"))], "cy")) == []
