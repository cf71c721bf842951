"""The options of `rollout start` that name gates, and what a rollout's gates say, as rows."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from littoral_cloud.rollouts.gates import GATES
from littoral_cloud.rollouts.gating import SHADOW_S, limits_of, verdicts_of
from littoral_cloud.rollouts.seen import RolloutView
from littoral_cloud.rollouts.state import Unsure

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
