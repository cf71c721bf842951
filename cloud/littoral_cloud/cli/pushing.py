"""The option of commands that make artifacts on this machine for a coordinator on another one."""

from __future__ import annotations

from typing import Annotated

import typer

PushOption = Annotated[
    bool,
    typer.Option(
        "--push",
        help="Release at the coordinator that you are logged in to: it tests each artifact, and signs it.",
    ),
]
