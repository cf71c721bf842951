"""The options of `rollout start` that name gates."""

from __future__ import annotations

from typing import Annotated

import typer

from littoral_cloud.rollouts.gates import GATES
from littoral_cloud.rollouts.gating import SHADOW_S
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
