"""littoral-cloud audit: reads and verifies the audit trail."""

from __future__ import annotations

import asyncio
import getpass
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from littoral.errors import BadInput, Untrusted
from littoral_cloud.app import audit_archive, open_existing
from littoral_cloud.cli.noun import noun
from littoral_cloud.cli.token import seconds
from littoral_cloud.fleet.ledger import AuditEntry, trail
from littoral_cloud.settings import CloudSettings, load_settings
from littoral_cloud.terminal.output import DataDirOption, Format, FormatOption, emit, emit_line
from littoral_cloud.terminal.text import printable, when
from littoral_cloud.trust.audit_archive import FOLDER, LEASE
from littoral_cloud.trust.audit_check import check_trail
from littoral_cloud.trust.audit_checkpoint import read_checkpoints
from littoral_cloud.trust.witness import words

app = noun("Read and verify the audit trail.", "littoral-cloud audit show --follow")


@app.command(epilog="Example: littoral-cloud audit show --follow")
def show(
    follow: Annotated[bool, typer.Option("--follow", help="Print new lines until Ctrl-C.")] = False,
    data_dir: DataDirOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Print the audit trail, oldest line first. JSON has one object on each line."""
    asyncio.run(_show(load_settings(data_dir=data_dir), follow, format))


async def _show(settings: CloudSettings, follow: bool, format: Format) -> None:
    async with open_existing(settings) as core, core.ledger.watch("audit") as announcements:
        last = "-"
        for checkpoint in (await read_checkpoints(core.ledger, core.trust.signing_keys()))[-1:]:
            old = f"{checkpoint.lines_until:,} older lines are in files, the last ones in {checkpoint.folder}/{checkpoint.file}"
            typer.echo(printable(f"{old} (littoral-cloud audit verify --archived)"), err=True)
        async for entry in trail(core.ledger, last):
            last = _print(entry, format)
        if not follow:
            return
        async for _ in announcements:
            async for entry in trail(core.ledger, last):
                last = _print(entry, format)


def _print(entry: AuditEntry, format: Format) -> str:
    if format == Format.JSON:
        emit_line(entry)
    else:
        details = " ".join(f"{name}={value}" for name, value in entry.details.items())
        emit(printable(f"{when(entry.at)}  {entry.action:<28}  {entry.subject}  by {entry.actor}  {details}".rstrip()))
    return entry.id


@app.command("verify", epilog="Example: littoral-cloud audit verify --head 9f2c...")
def verify_(
    head: Annotated[str, typer.Option(help="A head that an earlier verify printed; it must be in the trail.")] = "",
    archived: Annotated[bool, typer.Option("--archived", help="Read and verify the archived files, too.")] = False,
    data_dir: DataDirOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Verify the hash chain of all lines and print its head. Keep the head elsewhere, for --head.

    It starts from the newest signed checkpoint, if lines were archived. DATA/audit-head.json holds a recent line outside of
    Redis: the trail was cut off where it lacks that line.
    """
    asyncio.run(_verify(load_settings(data_dir=data_dir), head, archived, format))


async def _verify(settings: CloudSettings, wanted: str, archived: bool, format: Format) -> None:
    async with open_existing(settings) as core:
        folder = settings.data_dir / FOLDER if archived else None
        found = await check_trail(core.ledger, core.trust.signing_keys(), wanted=wanted, folder=folder)
        missing = await core.witness.missing(core.ledger)
    if missing:
        raise Untrusted(words(missing, core.witness.path), hint="compare with a backup of Redis")
    emit({**asdict(found), "whole": True}, format)


@app.command(epilog="Example: littoral-cloud audit archive --older-than 90d")
def archive(
    before: Annotated[str, typer.Option(help="Lines from before this day, or this time in UTC: 2026-01-31T12:00.")] = "",
    older_than: Annotated[str, typer.Option(help="Lines older than this: 24h, 90d.")] = "",
    to: Annotated[Path | None, typer.Option(help=f"A folder for the files. Default: DATA/{FOLDER}.", show_default=False)] = None,
    data_dir: DataDirOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Move old lines of the audit trail from Redis into files.

    A signed checkpoint says what is in each file, so that `audit verify` goes on from it. Safe while the coordinator runs, and
    safe to stop: the same command continues.
    """
    settings = load_settings(data_dir=data_dir)
    if bool(before) == bool(older_than):
        raise BadInput("audit archive: give --before or --older-than", hint="like --older-than 90d")
    age_s = seconds(older_than, "--older-than") if older_than else None
    asyncio.run(_archive(settings, age_s, _time_of(before) if before else 0.0, to, format))


async def _archive(settings: CloudSettings, age_s: float | None, before: float, to: Path | None, format: Format) -> None:
    async with open_existing(settings) as core:
        archive = audit_archive(core, to)
        async with core.ledger.lease(LEASE) as fence:
            until = before if age_s is None else core.clock() - age_s
            made = await archive.archive(until, fence, actor=getpass.getuser())
    rows = [
        {
            "file": str(Path(each.folder, each.file)),
            "lines": each.lines,
            "first": each.first,
            "last": each.last,
            "bytes": each.file_bytes,
        }
        for each in made
    ]
    emit(rows, format)


def _time_of(text: str) -> float:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadInput(f"--before: {text!r} is no day or time", hint="like 2026-01-31 or 2026-01-31T12:00") from error
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
