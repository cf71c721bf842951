"""What a simulation answers, printed."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from littoral_cloud.simulate.draws import FleetDraws, ObservedRate
from littoral_cloud.simulate.outcome import FleetOutcome, RolloutOutcome
from littoral_cloud.terminal.output import Format, emit

_BYTES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_MOST_REASON = 200


def print_outcome(outcome: FleetOutcome, format: Format) -> None:
    if format is Format.JSON:
        emit(asdict(outcome), format)
        return
    for rollout in outcome.rollouts:
        emit(_of_rollout(rollout, outcome.nodes))
        waves = [
            {"wave": each.wave, "nodes": each.nodes, "started": duration(each.started_s), "lasted": duration(each.lasted_s)}
            for each in rollout.waves
        ]
        if waves:
            print()
            emit(waves)
        print()
    if not outcome.rollouts:
        emit("no rollout was started within the scenario's hours")
    emit(
        {
            "simulated": f"{outcome.nodes:,} nodes for {duration(outcome.hours * 3_600)}, seed {outcome.seed}",
            "down": f"{size(outcome.artifact_bytes)} of artifacts, {size(outcome.messages_down_bytes)} of messages",
            "up": f"{size(outcome.messages_up_bytes)} of messages",
            "sessions": f"{outcome.sessions:,}; sent away {outcome.sent_away:,}, unanswered {outcome.unanswered:,}",
        }
    )


def _of_rollout(rollout: RolloutOutcome, nodes: int) -> dict[str, str]:
    verdict = " (a false stop)" if rollout.false_stop else " (a bad release that was missed)" if rollout.missed else ""
    found = {
        "rollout": f"{rollout.rollout}: {', '.join(rollout.artifacts)}",
        "state": f"{rollout.state} after {duration(rollout.lasted_s)}{verdict}",
        "reason": rollout.reason[:_MOST_REASON] or "-",
        "reached": f"{rollout.reached:,} of {nodes:,} nodes; 50% after {duration(rollout.half_s)}, "
        f"95% after {duration(rollout.most_s)}",
    }
    if rollout.bad:
        found["exposed"] = f"{rollout.exposed:,} nodes ({rollout.exposed_share:.2%}), {rollout.exposed_hours:.2f} node-hours"
    return found


def print_draws(draws: FleetDraws, format: Format) -> None:
    if format is Format.JSON:
        emit(asdict(draws), format)
        return
    for rollout in draws.rollouts:
        head = {"rollout": f"{rollout.rollout}: {', '.join(rollout.artifacts)}", "stopped": rate(rollout.stopped)}
        emit(head | ({"missed": rate(rollout.missed)} if rollout.bad else {"false stops": rate(rollout.false_stops)}))
        print()
        emit([{"of_draws": f"{float(q):.0%}", **_at(q, rollout.bad, rollout)} for q in rollout.exposed])
        print()
    emit({"simulated": f"{draws.draws:,} draws of {draws.nodes:,} nodes, seeds {draws.seeds[0]} to {draws.seeds[1]}",
          "down, median": size(draws.artifact_bytes["0.5"] or 0.0)})  # fmt: skip


def _at(quantile: str, bad: bool, rollout: Any) -> dict[str, str]:
    exposed = {
        "exposed_at_most": f"{rollout.exposed[quantile]:,.0f} ({rollout.exposed_share[quantile]:.2%})",
        "node_hours": f"{rollout.exposed_hours[quantile]:.2f}",
    }
    times = {"half_s": "half_the_fleet", "most_s": "95%_of_the_fleet", "lasted_s": "lasted"}
    return (exposed if bad else {}) | {words: duration(getattr(rollout, name)[quantile]) for name, words in times.items()}


def rate(found: ObservedRate) -> str:
    return f"{found.count} of {found.of} draws; {found.low:.1%} to {found.high:.1%} (95% interval)"


def duration(seconds: float | None) -> str:
    """None: it did not come to that."""
    if seconds is None:
        return "never"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * 3_600 else f"{seconds / 3_600:.1f} h"


def size(count: float) -> str:
    """In bytes, of powers of 1,000."""
    return next((f"{count / unit:.1f} {name}" for unit, name in _BYTES if count >= unit), f"{count:.0f} B")
