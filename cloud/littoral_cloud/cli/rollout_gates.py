"""The options of `rollout start` that name gates, and what a rollout's gates say, as rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

import typer

from littoral.errors import BadInput
from littoral_cloud.rollouts.gates import GATES
from littoral_cloud.rollouts.gates.chosen import parse_gates
from littoral_cloud.rollouts.gating import limits_of, verdicts_of
from littoral_cloud.rollouts.seen import RolloutView
from littoral_cloud.rollouts.state import RolloutPolicy, Unsure

COMPARED = 2_000
"""Live requests of one node that both models are asked."""
SHADOW_S = 300.0

GateOption = Annotated[
    list[str] | None,
    typer.Option("--gate", help=f"A gate that each wave must pass: p95, or p95=1.2 (repeatable). One of {', '.join(GATES)}."),
]
ShadowOption = Annotated[
    float | None,
    typer.Option(
        "--shadow-s", min=0, help=f"With --gate shadow: how long it runs beside the served model, seconds. Default: {SHADOW_S:g}."
    ),
]
UnsureOption = Annotated[
    Unsure, typer.Option("--unsure", help="What follows where a named gate needs more when the wave's time is over.")
]


def with_gates(policy: RolloutPolicy, texts: Sequence[str], shadow_s: float | None, unsure: Unsure) -> RolloutPolicy:
    """The policy with these gates, and with what their evidence asks of the nodes. Raises BadInput."""
    gates = parse_gates(texts)
    if shadow_s is not None and "shadow" not in gates:
        raise BadInput("--shadow-s: there is no shadow without its gate", hint="add --gate shadow")
    asks = replace(
        policy.probation,
        shadow_s=0.0 if "shadow" not in gates else SHADOW_S if shadow_s is None else shadow_s,
        compare=COMPARED if {"agreement", "shadow"} & set(gates) else 0,
        evidence_s=policy.probation.duration_s + policy.wave_s,
    )
    return replace(policy, gates=gates, unsure=unsure, probation=asks)


def gate_rows(seen: RolloutView) -> list[dict[str, Any]]:
    """A row for each gate of a rollout that goes on."""
    policy = seen.rollout.policy
    limits = limits_of(policy)
    return [
        {
            "gate": name,
            "limit": limits[name],
            "named": name in policy.gates,
            "answer": verdict.answer.value,
            "more": verdict.more or None,
            "of": verdict.of or None,
            "why": verdict.why,
        }
        for name, verdict in verdicts_of(seen).items()
    ]


def known_gates() -> list[dict[str, Any]]:
    """A row for each gate there is."""
    return [
        {"gate": gate.name, "limit": gate.limit, "unit": gate.unit, "asks": gate.asks.format(limit=f"{gate.limit:g}")}
        for gate in GATES.values()
    ]
