"""littoral-cloud audit: reads and verifies the audit trail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

import typer

from littoral.errors import Untrusted
from littoral_cloud.app import open_existing
from littoral_cloud.cli.noun import noun
from littoral_cloud.fleet.ledger import AuditEntry, Ledger
from littoral_cloud.settings import CloudSettings, load_settings
from littoral_cloud.terminal.output import DataDirOption, Format, FormatOption, emit, emit_line, when
from littoral_cloud.terminal.text import printable
from littoral_cloud.trust.audit_chain import GENESIS, verify
from littoral_cloud.trust.witness import words

app = noun("Read and verify the audit trail.", "littoral-cloud audit show --follow")

PAGE = 1000


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
        async for entry in lines(core.ledger, last):
            last = _print(entry, format)
        if not follow:
            return
        async for _ in announcements:
            async for entry in lines(core.ledger, last):
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
    data_dir: DataDirOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Verify the hash chain of all lines and print its head. Keep the head elsewhere, for --head.

    DATA/audit-head.json holds a recent line outside of Redis: the trail was cut off where it lacks that line.
    """
    asyncio.run(_verify(load_settings(data_dir=data_dir), head, format))


async def _verify(settings: CloudSettings, wanted: str, format: Format) -> None:
    chain, count, seen = GENESIS, 0, wanted in ("", GENESIS)
    async with open_existing(settings) as core:
        async for entry in lines(core.ledger, "-"):
            if (broken := verify([entry], chain)) is not None:
                raise Untrusted(
                    f"audit: line {count + 1} ({broken.entry.id}, {broken.entry.action} {broken.entry.subject}) was changed, "
                    "or lines before it are gone",
                    hint="compare with a backup of Redis; nothing before this line is affected",
                )
            chain, count = entry.chain, count + 1
            seen = seen or chain == wanted
        stored = await core.ledger.audit_head()
        missing = await core.witness.missing(core.ledger)
        if stored != chain and not [entry async for entry in lines(core.ledger, entry.id if count else "-")]:
            raise Untrusted("audit: lines at the end are gone", hint="compare with a backup of Redis")
    if missing:
        raise Untrusted(words(missing, core.witness.path), hint="compare with a backup of Redis")
    if not seen:
        raise Untrusted(f"audit: no line has the chain {wanted}: the trail was written anew", hint="compare with a backup")
    emit({"lines": count, "head": chain, "whole": True}, format)


async def lines(ledger: Ledger, after: str) -> AsyncIterator[AuditEntry]:
    """All lines after an id, page by page."""
    while page := await ledger.audit(after=after, count=PAGE):
        for entry in page:
            yield entry
        after = page[-1].id
