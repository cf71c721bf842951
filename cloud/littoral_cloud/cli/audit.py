"""littoral-cloud audit: reads and verifies the audit trail."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from littoral.errors import BadInput, Untrusted
from littoral_cloud.cli.command import command
from littoral_cloud.cli.noun import noun
from littoral_cloud.cli.token import seconds
from littoral_cloud.client.fleet_client import PAGE, FleetClient
from littoral_cloud.terminal.output import Format, FormatOption, emit, emit_line, notice
from littoral_cloud.terminal.text import all_beside, beside, printable, when

app = noun("Read and verify the audit trail.", "littoral-cloud audit show --follow")


@command(app, example="audit show --since 24h --action 'rollout.*' --follow")
async def show(
    fleet: FleetClient,
    since: Annotated[str, typer.Option(help="Lines of the last 24h, 7d, or since a day or time in UTC: 2026-01-31T12:00.")] = "",
    last: Annotated[int | None, typer.Option(min=1, max=1_000_000, help="Only this many lines, the newest.")] = None,
    subject: Annotated[str, typer.Option(help="Only lines about this id, or the node of this name.")] = "",
    action: Annotated[str, typer.Option(help="Only these actions: rollout.started, 'rollout.*'.")] = "",
    follow: Annotated[bool, typer.Option("--follow", help="Print new lines until Ctrl-C.")] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Print the audit trail, oldest line first. JSON has one object on each line."""
    which = {"since": _since(since) if since else 0.0, "subject": subject, "action": action}
    async with fleet.events("audit") if follow else nullcontext() as changes:
        after = await (_print_from("", fleet, which, format) if last is None else _print_newest(last, fleet, which, format))
        if changes is not None:
            async for _ in changes:
                after = await _print_from(after, fleet, which, format)


async def _print_from(after: str, fleet: FleetClient, which: Mapping[str, Any], format: Format) -> str:
    """Prints the lines behind a place, and gives the place behind those."""
    begins, printed = not after, 0
    while True:
        page = await fleet.get("/audit", **which, after=after, limit=PAGE)
        if not after:
            _tell_archived(page)
        for line in page["items"]:
            _print(line, format)
        printed += len(page["items"])
        after = page["here"] or after
        if not page["next"]:
            if begins and not printed:
                _tell_empty(page, which)
            return after


async def _print_newest(last: int, fleet: FleetClient, which: Mapping[str, Any], format: Format) -> str:
    """Prints this many lines, oldest first, and gives the place behind those."""
    lines: list[Any] = []
    here = after = ""
    while len(lines) < last:
        page = await fleet.get("/audit", **which, order="newest", after=after, limit=min(PAGE, last - len(lines)))
        lines += page["items"]
        here = here or page["here"]
        if not (after := page["next"]):
            break
    for line in reversed(lines):
        _print(line, format)
    if not lines:
        _tell_empty(page, which)
    return here


def _tell_empty(page: Mapping[str, Any], which: Mapping[str, Any]) -> None:
    """On stderr, why nothing was printed, where something was asked for."""
    if page["warning"]:
        notice(f"warning: --action: {page['warning']}")
    elif which["subject"]:
        notice(f"warning: --subject: no line is about {which['subject'][:80]!r}, an id or the name of a node")
    elif which["action"] or which["since"]:
        notice("no line matches")


def _tell_archived(page: Mapping[str, Any]) -> None:
    if (archived := page["archived"]) is not None:
        old = f"{archived['lines']:,} older lines are in files, the last ones in {archived['file']}"
        notice(f"{old} (littoral-cloud audit verify --archived)")


def _print(line: Mapping[str, Any], format: Format) -> None:
    if format == Format.JSON:
        emit_line(line)
        return
    emit(printable(row_of(line)))


def row_of(line: Mapping[str, Any]) -> str:
    names = line["names"]
    details = " ".join(f"{name}={all_beside(value, names)}" for name, value in line["details"].items())
    about = f"{line['action']:<28}  {beside(line['subject'], names)}  by {beside(line['actor'], names)}"
    return f"{when(line['at'])}  {about}  {details}".rstrip()


@command(app, example="audit export --since 30d > audit.jsonl")
async def export(
    fleet: FleetClient,
    since: Annotated[str, typer.Option(help="Lines of the last 24h, 7d, or since a day or time in UTC: 2026-01-31T12:00.")] = "",
    archived: Annotated[bool, typer.Option("--archived", help="Also the lines that are in files, in front.")] = False,
    format: FormatOption = Format.JSON,
) -> None:
    """Print every line as it is in the chain, oldest first: one JSON object on each line, for other systems."""
    async with fleet.lines("/audit/export", since=_since(since) if since else 0.0, archived=archived) as lines:
        async for line in lines:
            if format == Format.JSON:
                print(line)
            else:
                _print(json.loads(line) | {"names": {}}, format)


@command(app, "verify", example="audit verify --head 9f2c...")
async def verify_(
    fleet: FleetClient,
    head: Annotated[str, typer.Option(help="A head that an earlier verify printed; it must be in the trail.")] = "",
    archived: Annotated[bool, typer.Option("--archived", help="Read and verify the archived files, too.")] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Verify the hash chain of all lines and print its head. Keep the head elsewhere, for --head.

    It starts from the newest signed checkpoint, if lines were archived. DATA/audit-head.json holds a recent line outside of
    Redis: the trail was cut off where it lacks that line.
    """
    found = await fleet.get_slowly("/audit/verify", head=head, archived=archived)
    problem, hint = found.pop("problem"), found.pop("hint")
    if not found["whole"]:
        raise Untrusted(problem, hint=hint)
    emit(found, format)


@command(app, example="audit archive --older-than 90d")
async def archive(
    fleet: FleetClient,
    before: Annotated[str, typer.Option(help="Lines from before this day, or this time in UTC: 2026-01-31T12:00.")] = "",
    older_than: Annotated[str, typer.Option(help="Lines older than this: 24h, 90d.")] = "",
    to: Annotated[Path | None, typer.Option(help="A folder for the files. Default: DATA/audit.", show_default=False)] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Move old lines of the audit trail from Redis into files.

    A signed checkpoint says what is in each file, so that `audit verify` goes on from it. Safe while the coordinator runs, and
    safe to stop: the same command continues.
    """
    if bool(before) == bool(older_than):
        raise BadInput("audit archive: give --before or --older-than", hint="like --older-than 90d")
    body = {
        "before": _time_of(before, "--before") if before else None,
        "older_than_s": seconds(older_than, "--older-than") if older_than else None,
        "to": str(to.resolve()) if to is not None else "",
    }
    emit(await fleet.post("/audit/archive", body, long=True), format)


def _since(text: str) -> float:
    """Seconds since 1970-01-01 UTC."""
    if re.fullmatch(r"\d+[smhd]", text, re.ASCII):
        now = time.time()  # noqa: TID251 - the command line is where the clock comes in
        return max(0.0, now - seconds(text, "--since"))
    return _time_of(text, "--since")


def _time_of(text: str, option: str) -> float:
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as error:
        raise BadInput(f"{option}: {text[:80]!r} is no day or time", hint="like 2026-01-31 or 2026-01-31T12:00") from error
