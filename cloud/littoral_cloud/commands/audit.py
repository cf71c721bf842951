"""Use cases of the audit trail. It has lines about everything, so it is for callers whose scope is everything."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from littoral.errors import BadInput, NotFound, Untrusted
from littoral_cloud.app import audit_archive
from littoral_cloud.commands.paging import behind, cursor
from littoral_cloud.commands.use_case import Office, use_case
from littoral_cloud.fleet.actions import warning_of
from littoral_cloud.fleet.enrolment import NODE_ID_DIGITS
from littoral_cloud.fleet.ledger import AuditEntry, Ledger, trail
from littoral_cloud.fleet.nodes import names_of
from littoral_cloud.fleet.records import Artifact, load
from littoral_cloud.trust.audit_archive import FOLDER, LEASE
from littoral_cloud.trust.audit_check import check_trail, where_it_is
from littoral_cloud.trust.audit_checkpoint import AuditCheckpoint, id_key, read_checkpoints
from littoral_cloud.trust.audit_files import read_lines
from littoral_cloud.trust.people import Caller, Denied, Role
from littoral_cloud.trust.witness import words

_READ = 1_000
"""Lines that are read at one time."""
_MOST_LOOKED = 20_000
"""Lines that one page looks at: where few match, it is short, and `next` goes on."""
_CLOCKS_DIFFER_S = 3_600.0
"""The id of a line has the time of Redis, which may differ from that of the coordinator that wrote the line."""
_ID = re.compile(rf"[0-9a-f]{{{NODE_ID_DIGITS}}}|sha256:[0-9a-f]{{64}}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_MOST_NAMES = 100
"""Of one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Which lines. Empty: all.

    Args:
        since: seconds since 1970-01-01 UTC.
        subject: an id, or the name of a node.
        action: a pattern with *, like "rollout.*".
    """

    since: float = 0.0
    subject: str = ""
    action: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLine:
    """A line of the trail. `names`: what the nodes and artifacts are called whose ids it has."""

    id: str
    at: float  # seconds since 1970-01-01 UTC
    action: str
    subject: str
    actor: str
    details: Mapping[str, Any]
    chain: str
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedLines:
    """Older lines that are not in Redis any more; the last ones are in this file."""

    lines: int
    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPage:
    """`next`: `after` of the next page; empty: there is none now. `here`: `after` of the lines behind all of these, in the order
    "oldest first". `warning`: no line matches, and this release writes no such action."""

    items: tuple[AuditLine, ...]
    next: str
    here: str
    archived: ArchivedLines | None
    warning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditVerified:
    """`whole`: no line was changed or is missing; else `problem` says which, and `hint` what to do."""

    lines: int = 0
    archived: int = 0
    files: int = 0
    head: str = ""
    whole: bool = True
    problem: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedFile:
    """`first` and `last`: ids of lines. `bytes`: of the file."""

    file: str
    lines: int
    first: str
    last: str
    bytes: int


def _needs_everything(caller: Caller) -> None:
    if not caller.scope.everywhere:
        raise Denied(
            f"audit: the trail is about everything, and the scope of {caller.name} is {caller.scope}",
            hint="ask an admin for a token without a scope",
        )


@use_case("audit.list", Role.VIEWER)
async def page(office: Office, caller: Caller, *, which: AuditFilter, newest_first: bool, after: str, limit: int) -> AuditPage:
    """Lines of the trail, oldest or newest first."""
    _needs_everything(caller)
    ledger, of = office.core.ledger, "audit-newest" if newest_first else "audit"
    place, subjects = behind(of, after), await _subjects(ledger, which.subject)
    oldest = max(0, int((which.since - _CLOCKS_DIFFER_S) * 1_000))
    found: list[AuditEntry] = []
    looked, more, newest = 0, True, place
    while more and len(found) < limit and looked < _MOST_LOOKED:
        count = _READ if which != AuditFilter() else min(_READ, limit - len(found))
        if newest_first:
            read = await ledger.audit_before(before=place or "+", count=count)
            some: Sequence[AuditEntry] = [entry for entry in read if id_key(entry.id)[0] >= oldest]
        else:
            some = read = await ledger.audit(after=place or (f"{oldest}-0" if oldest else "-"), count=count)
        more = len(read) == count and len(some) == len(read)
        for entry in some:
            place, looked = entry.id, looked + 1
            newest = place if not newest_first else newest or place
            if entry.at >= which.since and (not subjects or entry.subject in subjects) and _is_of(entry.action, which.action):
                found.append(entry)
                if len(found) == limit:
                    more = more or entry is not some[-1]
                    break
    return AuditPage(
        items=tuple(await _with_names(ledger, found)),
        next=cursor(of, place) if more else "",
        here=cursor("audit", newest),
        archived=await _archived(office),
        warning=warning_of(which.action) if which.action and not found else "",
    )


def _is_of(action: str, pattern: str) -> bool:
    return not pattern or fnmatchcase(action, pattern)


async def _subjects(ledger: Ledger, wanted: str) -> frozenset[str]:
    """What a line's subject may be; empty: anything."""
    if not wanted:
        return frozenset()
    name = await ledger.get("node-name", wanted)
    return frozenset((wanted, str(name.body["node_id"]))) if name is not None else frozenset((wanted,))


async def _archived(office: Office) -> ArchivedLines | None:
    checkpoints = await read_checkpoints(office.core.ledger, office.core.trust.signing_keys())
    if not checkpoints:
        return None
    last = checkpoints[-1]
    return ArchivedLines(lines=last.lines_until, file=str(Path(last.folder, last.file)))


async def _with_names(ledger: Ledger, entries: Sequence[AuditEntry]) -> Iterator[AuditLine]:
    ids = [ids_in(entry) for entry in entries]
    every = {id for some in ids for id in some}
    artifacts = [id for id in every if _DIGEST.fullmatch(id)]
    names = dict(await names_of(ledger, (id for id in every if not _DIGEST.fullmatch(id))))
    for doc in await ledger.get_many([("artifact", id) for id in artifacts]):
        if doc is not None:
            names[doc.id] = load(Artifact, doc).name
    return (
        AuditLine(**asdict(entry), names={id: names[id] for id in some if id in names})
        for entry, some in zip(entries, ids, strict=True)
    )


def ids_in(entry: AuditEntry) -> list[str]:
    """Of nodes and artifacts, that a line has as whole values: a fingerprint that begins with one is something else."""
    found = dict.fromkeys((entry.subject, entry.actor))
    for text in _texts(entry.details):
        if _ID.fullmatch(text):
            found[text] = None
        if len(found) > _MOST_NAMES:
            break
    return list(found)[:_MOST_NAMES]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield str(key)
            yield from _texts(part)
    elif isinstance(value, Iterable):
        for part in value:
            yield from _texts(part)


@use_case("audit.export", Role.VIEWER)
async def export(office: Office, caller: Caller, *, since: float, archived: bool) -> AsyncIterator[AuditEntry]:
    """Every line of the trail, oldest first, as it is in the chain.

    Args:
        archived: also the lines that are in files; they must be where the coordinator finds them.
    """
    _needs_everything(caller)
    ledger, folder = office.core.ledger, office.core.settings.data_dir / FOLDER
    first = await ledger.audit(count=1)
    checkpoints = await read_checkpoints(ledger, office.core.trust.signing_keys()) if archived else ()
    files = [_place_of(each, folder) for each in checkpoints if not first or id_key(each.last) < id_key(first[0].id)]

    async def lines() -> AsyncIterator[AuditEntry]:
        for file in files:
            reading = read_lines(file)
            while some := await asyncio.to_thread(_some_of, reading):
                for entry in some:
                    if entry.at >= since:
                        yield entry
        async for entry in trail(ledger):
            if entry.at >= since:
                yield entry

    return lines()


def _place_of(checkpoint: AuditCheckpoint, folder: Path) -> Path:
    if (place := where_it_is(checkpoint, folder)) is None:
        raise NotFound(f"audit: {checkpoint.file} is not in {checkpoint.folder}, nor in {folder}", hint=f"put it into {folder}")
    return place


def _some_of(reading: Iterator[AuditEntry]) -> list[AuditEntry]:
    return [entry for _, entry in zip(range(_READ), reading, strict=False)]


@use_case("audit.verify", Role.VIEWER)
async def verify(office: Office, caller: Caller, *, head: str, archived: bool) -> AuditVerified:
    """Whether the chain of all lines is whole.

    Args:
        head: of a verification before, which must be in the trail; "": any.
        archived: read the files with older lines, too.
    """
    _needs_everything(caller)
    core = office.core
    folder = core.settings.data_dir / FOLDER if archived else None
    try:
        found = await check_trail(core.ledger, core.trust.signing_keys(), wanted=head, folder=folder)
    except Untrusted as error:
        return AuditVerified(whole=False, problem=error.message, hint=error.hint)
    if missing := await core.witness.missing(core.ledger):
        problem = words(missing, core.witness.path)
        return AuditVerified(**asdict(found), whole=False, problem=problem, hint="compare with a backup of Redis")
    return AuditVerified(**asdict(found))


@use_case("audit.archive", Role.ADMIN)
async def archive(
    office: Office, caller: Caller, *, before: float | None, older_than_s: float | None, to: str
) -> tuple[ArchivedFile, ...]:
    """Moves old lines from Redis into files.

    Args:
        before, older_than_s: seconds since 1970-01-01 UTC, or an age in seconds; one of both.
        to: a folder on the coordinator's machine, for its own user alone; "": the one in the data folder.
    """
    _needs_everything(caller)
    if (before is None) == (older_than_s is None):
        raise BadInput("before: give before or older_than_s, and not both", hint="like older_than_s 7776000")
    if to:
        caller.needs_own_machine("to")
    core = office.core
    made = audit_archive(core, Path(to) if to else None)
    until = before if before is not None else core.clock() - (older_than_s or 0.0)
    async with core.ledger.lease(LEASE) as fence:
        files = await made.archive(until, fence, actor=caller.name)
    return tuple(
        ArchivedFile(
            file=str(Path(each.folder, each.file)), lines=each.lines, first=each.first, last=each.last, bytes=each.file_bytes
        )
        for each in files
    )
