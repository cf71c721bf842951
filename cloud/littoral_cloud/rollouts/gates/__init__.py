"""Rules that the waves of a rollout must pass: one file, one gate, one line in GATES; docs/gates.md."""

from __future__ import annotations

from collections.abc import Mapping

from littoral.errors import BadInput
from littoral.type_words import nearest
from littoral_cloud.rollouts.gates import agreement, failure_rate, labelled, p95, probation, shadow, worst_class
from littoral_cloud.rollouts.gates.evidence import Evidence
from littoral_cloud.rollouts.gates.verdict import Gate, GateAnswer, GateVerdict

GATES: Mapping[str, Gate] = {
    gate.name: gate
    for gate in (
        probation.GATE,
        failure_rate.GATE,
        labelled.GATE,
        worst_class.GATE,
        p95.GATE,
        agreement.GATE,
        shadow.GATE,
    )
}

__all__ = ["GATES", "Evidence", "Gate", "GateAnswer", "GateVerdict", "gate_named", "judge"]


def gate_named(name: str) -> Gate:
    """Raises BadInput where there is none."""
    if name not in GATES:
        raise BadInput(f"gate: {name[:40]!r} is not known", hint=f"{nearest(name, GATES)}one of {', '.join(GATES)}")
    return GATES[name]


def judge(gates: Mapping[str, float], evidence: Evidence) -> dict[str, GateVerdict]:
    """The verdict of each gate, by name.

    Args:
        gates: limits by the gates' names.

    Raises BadInput where a name is not known.
    """
    return {name: gate_named(name).judge(evidence, limit) for name, limit in gates.items()}
