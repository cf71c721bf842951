"""The form of the documents in the ledger, by a number: releases N and N + 1 run side by side, and a migration needs no stop.

Rules, in order:

1. A release reads the forms of its own number SCHEMA and of the one before. It writes the older form until `written` in the
   ledger is its own number.
2. A release that finds a greater `written` than its own SCHEMA does not start: it would lose what it does not know.
3. `written` is raised by one coordinator, under a lease, once every coordinator that is there knows the new number.
4. Then that one rewrites the old documents, some at a time, each against the generation that it read. What was written meanwhile
   is read again. `migrated` says that all are done; a migration that was killed starts from the beginning, and finds what has its
   new form.
5. What N + 1 may write before: kinds of its own, which N passes over; and fields of its own coordinator's document, of which
   others read what they need alone. A document of N's kinds with an unknown field stays as it is: N neither uses nor
   rewrites it.

Example: N + 1 adds a field to nodes. It runs beside N and writes nodes without it. The last N ends; N + 1 raises `written`, and
gives the field to each node.
"""

from __future__ import annotations

from dataclasses import dataclass

from littoral.errors import BadInput
from littoral_cloud.fleet.identity import KIND
from littoral_cloud.fleet.ledger import Doc, Ledger, Write
from littoral_cloud.fleet.records import dump, load

SCHEMA = 1
ID = "schema"


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerSchema:
    """Args:
    written: the form that coordinators write.
    migrated: every document has at least this form.
    """

    written: int = 1
    migrated: int = 1
    schema: int = 1


async def read_schema(ledger: Ledger) -> LedgerSchema:
    return schema_in(await ledger.get(KIND, ID))


def schema_in(doc: Doc | None) -> LedgerSchema:
    return load(LedgerSchema, doc) if doc else LedgerSchema()


async def refuse_newer(ledger: Ledger, known: int = SCHEMA) -> None:
    """Raises BadInput where a newer release has written to this ledger."""
    _refuse(await read_schema(ledger), known)


async def unraised(ledger: Ledger, known: int) -> Write:
    """For the Change by which a coordinator says that it is there: it conflicts with one that raises `written` at this moment.

    Raises BadInput as refuse_newer.
    """
    doc = await ledger.get(KIND, ID)
    _refuse(found := schema_in(doc), known)
    return Write(KIND, ID, dump(found), doc.generation if doc else 0)


def _refuse(found: LedgerSchema, known: int) -> None:
    if found.written > known:
        raise BadInput(
            f"ledger: its documents are of schema {found.written}, this release knows {known}",
            hint="upgrade littoral here to the release of the other coordinators",
        )
