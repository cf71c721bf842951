"""littoral-cloud rollout start --dry-run: what a rollout would do, printed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from littoral_cloud.rollouts.permission import moment
from littoral_cloud.rollouts.wording import first_of
from littoral_cloud.terminal.output import Format, emit

_MOST_ROWS = 20


def print_preview(found: Mapping[str, Any], format: Format) -> None:
    if format == Format.JSON:
        emit(found, format)
        return
    if found["approval"]:
        emit("another person has to approve it first")
    _print(found)


def _print(found: Mapping[str, Any]) -> None:
    waves = [
        {
            "wave": number,
            "nodes": len(wave["nodes"]),
            "bytes": _range(wave["least_bytes"], wave["bytes"]),
            "first": ", ".join(first_of(wave["nodes"])),
        }
        for number, wave in enumerate(found["waves"], 1)
    ]
    shares = [
        {
            "class": share["hardware_class"],
            "student": share["student"] + (f": {', '.join(first_of(share['possible']))}" if share["possible"] else ""),
            "nodes": share["nodes"],
            "bytes_each": _range(share["least_bytes_each"], share["bytes_each"]),
            "bytes": _range(share["nodes"] * share["least_bytes_each"], share["nodes"] * share["bytes_each"]),
        }
        for share in found["shares"]
    ]
    out = [
        {
            "left_out_by": each["rule"],
            "nodes": len(each["nodes"]),
            "reason": each["reason"],
            "first": ", ".join(first_of(each["nodes"])),
        }
        for each in found["left_out"]
    ]
    for rows in filter(None, (waves, shares, out)):
        emit(rows[:_MOST_ROWS], Format.TABLE)
        if len(rows) > _MOST_ROWS:
            typer.echo(f"and {len(rows) - _MOST_ROWS} more rows: --format json has them all")
        typer.echo()
    for line in _lines(found):
        emit(line)


def _range(least: int, most: int) -> str:
    return str(most) if least == most else f"{least} to {most}"


def _lines(found: Mapping[str, Any]) -> list[str]:
    planned = sum(len(wave["nodes"]) for wave in found["waves"])
    lines = [f"{found['release']}: {planned} nodes in {len(found['waves'])} waves, at most {found['bytes']} bytes to download"]
    if found["already"]:
        lines.append(f"{found['already']} nodes serve their student already")
    if found["unmeasured"]:
        first = ", ".join(first_of(found["unmeasured"]))
        lines.append(f"get the student that fits best once their class has measured: {len(found['unmeasured'])} nodes: {first}")
    lines += [f"first: {who}" for who in found["to_measure"]]
    if found["closed"]:
        first = ", ".join(first_of(found["closed"]))
        lines.append(f"their window is closed, the first opens {moment(found['opens'])}: {len(found['closed'])} nodes: {first}")
    if found["waits_for"]:
        lines.append(f"after rollout {', '.join(first_of(found['waits_for']))}")
    return [*lines, "nothing was written"]
