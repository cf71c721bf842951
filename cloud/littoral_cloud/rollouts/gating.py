"""What the gates say of a running rollout, and what follows. Pure.

Rules, in order:

1. A gate that fails stops the rollout, in any wave, at once. Single nodes may fail as far as the gate `probation` allows it. One
   node of many alone fails no other gate.
2. A gate that was named has to pass before the running wave ends, also the last one. Where it needs more the rollout waits, until
   the wave's time is over; then the policy's `unsure` decides: it is stopped, or goes on with a remark.
3. Some gates are asked in every rollout (`limits_of`). One that was not named only stops: there may be no evidence for it.
4. Somebody who promotes the running wave does not wait for a gate. A gate that fails stops the rollout all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from littoral.errors import BadInput
from littoral_cloud.rollouts.answers import NodeAnswer
from littoral_cloud.rollouts.assignments import AssignmentState
from littoral_cloud.rollouts.events import RolloutStopped, Waits
from littoral_cloud.rollouts.gates import GATES, Evidence, GateAnswer, GateVerdict, judge
from littoral_cloud.rollouts.gates.chosen import parse_gates
from littoral_cloud.rollouts.seen import RolloutView
from littoral_cloud.rollouts.state import RolloutPolicy, Unsure

PROBATION = "probation"
MANY_NODES = 20
"""Of this number of nodes that have given evidence, one alone is not believed."""
COMPARED = 2_000
"""Live requests of one node that both models are asked."""
SHADOW_S = 300.0
"""For how long the candidate runs beside the served model, by default."""


def with_gates(policy: RolloutPolicy, texts: Sequence[str], shadow_s: float | None, unsure: Unsure) -> RolloutPolicy:
    """The policy with these gates, and with what their evidence asks of the nodes. Raises BadInput."""
    gates = parse_gates(texts)
    if shadow_s is not None and "shadow" not in gates:
        raise BadInput("shadow-s: there is no shadow without its gate", hint="name the gate shadow, too")
    asks = replace(
        policy.probation,
        shadow_s=0.0 if "shadow" not in gates else SHADOW_S if shadow_s is None else shadow_s,
        compare=COMPARED if {"agreement", "shadow"} & set(gates) else 0,
        evidence_s=policy.probation.duration_s + policy.wave_s,
    )
    return replace(policy, gates=gates, unsure=unsure, probation=asks)


def limits_of(policy: RolloutPolicy) -> dict[str, float]:
    """Of each gate that is asked, by name. The default ones take the limits that the policy has for single nodes."""
    defaults = {
        PROBATION: GATES[PROBATION].limit,
        "failure-rate": policy.probation.max_failure_rate,
        "labelled": policy.max_accuracy_loss,
    }
    return defaults | dict(policy.gates)


def evidence_of(seen: RolloutView, failure: str = "") -> Evidence:
    """What the nodes of the rollout have shown so far. `failure`: how the first of those that failed did, in words."""
    book = seen.assignments
    failed = book.in_state(AssignmentState.FAILED)
    first = next(iter(failed.values()), None)
    return book.evidence.evidence(
        passed=len(book.in_state(AssignmentState.COMMITTED)) + len(book.answered(NodeAnswer.PASSED)),
        awaited=len(book.answered(NodeAnswer.AWAITED)),
        failed=len(failed) + len(book.answered(NodeAnswer.BAD)),
        failure=f"{_name(first.node_id, seen)}: {first.why}" if first is not None else failure,
    )


def too_many_failed(seen: RolloutView, failure: str) -> str | None:
    """In an operator's words, where more nodes have failed than the gate `probation` allows. `failure`: how the first of those
    did that are not recorded yet."""
    limits = limits_of(seen.rollout.policy)
    verdict = judge({PROBATION: limits[PROBATION]}, evidence_of(seen, failure))[PROBATION]
    return verdict.why if verdict.answer is GateAnswer.FAIL else None


def verdicts_of(seen: RolloutView) -> dict[str, GateVerdict]:
    """Of each gate that is asked, by name. Where many nodes have given evidence, one of them alone fails no gate."""
    limits, whole, pool = limits_of(seen.rollout.policy), evidence_of(seen), seen.assignments.evidence
    verdicts = judge(limits, whole)
    for name, verdict in verdicts.items():
        if verdict.answer is not GateAnswer.FAIL or name == PROBATION or len(pool.nodes) < MANY_NODES:
            continue
        suspect = max(pool.nodes, key=lambda node_id: GATES[name].against(pool.nodes[node_id]))
        rest = GATES[name].judge(pool.without(suspect, whole), limits[name])
        if rest.answer is not GateAnswer.FAIL:
            verdicts[name] = replace(rest, why=f"{rest.why}; left out is {_name(suspect, seen)}, which alone would fail it")
    return verdicts


def stops(verdicts: Mapping[str, GateVerdict]) -> RolloutStopped | None:
    failing = [f"gate {name}: {each.why}" for name, each in verdicts.items() if each.answer is GateAnswer.FAIL]
    return RolloutStopped("; ".join(failing)) if failing else None


def undecided(policy: RolloutPolicy, verdicts: Mapping[str, GateVerdict]) -> tuple[str, ...]:
    """Gates that were named and need more, in an operator's words."""
    return tuple(
        f"gate {name} {each}" for name, each in verdicts.items() if name in policy.gates and each.answer is GateAnswer.NEEDS_MORE
    )


def holds(seen: RolloutView, verdicts: Mapping[str, GateVerdict], now: float, *, behind: bool) -> Waits | RolloutStopped | None:
    """What a wave waits for whose nodes have all answered; None: nothing.

    Args:
        behind: whether reports of nodes may lie in the coordinator's own queue.
    """
    rollout = seen.rollout
    words = undecided(rollout.policy, verdicts)
    if not words or (rollout.running_wave is not None and rollout.running_wave.promoted_by):
        return None
    late = rollout.running_wave is not None and rollout.running_wave.number in seen.assignments.put_off
    deadline = rollout.deadline + (rollout.policy.defer_s if late else 0.0)  # who put the update off shows something later
    if now < deadline or rollout.paused_by or behind:
        return Waits(words, max(deadline, now + AGAIN_S))
    if rollout.policy.unsure is Unsure.CONTINUE:
        return None
    return RolloutStopped(f"the wave's time is over: {'; '.join(words)}")


AGAIN_S = 5.0
"""Evidence that came is looked at within this time."""


def remarks_of(policy: RolloutPolicy, verdicts: Mapping[str, GateVerdict]) -> tuple[str, ...]:
    """What the gates found that were named."""
    return tuple(f"gate {name}: {verdict}" for name, verdict in verdicts.items() if name in policy.gates)


def _name(node_id: str, seen: RolloutView) -> str:
    return seen.nodes[node_id].name if node_id in seen.nodes else node_id
