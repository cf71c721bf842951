"""How use cases that look at much read it: from the view of the fleet, which costs nothing; without one, from the ledger."""

from __future__ import annotations

from typing import TypeVar

from littoral_cloud.commands.use_case import Office
from littoral_cloud.fleet.records import load

R = TypeVar("R")


async def records_of(office: Office, kind: str, record: type[R]) -> dict[str, R]:
    """All records of a kind that the view follows, by id."""
    if office.view is not None:
        await office.view.ready()
        return {id: held.record for id, held in office.view.of(kind).items()}
    return {doc.id: load(record, doc) for doc in await office.core.ledger.all(kind)}
