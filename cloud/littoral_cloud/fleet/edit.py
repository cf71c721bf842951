"""Read, change, write: how a document is changed while others may write it too.

Rules, in order:

1. Read the document, and change what was read: the change is pure, it may run several times.
2. Commit with the generation that was read, so that nothing that another writer wrote is lost.
3. On a Conflict pause with jitter, and start again at rule 1; after `TRIES` conflicts the last one is raised.
4. A lost lease and every other error is raised at once.

Example: two sessions of a node add 3 and 4 to a count of 10. The second commit conflicts, reads 13, and writes 17.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from littoral.backoff import Backoff
from littoral.errors import Changed, Conflict, FleetError, LostLease
from littoral_cloud.fleet.ledger import Audit, Change, Doc, Fence, Ledger, Write
from littoral_cloud.fleet.records import dump, load

R = TypeVar("R")
T = TypeVar("T")

TRIES = 40
BACKOFF = Backoff(0.002, 0.25)
_JITTER = random.Random()  # noqa: S311


@dataclass(frozen=True, slots=True)
class Edited(Generic[R]):
    """`record`: as it stands now; None: there is none. `written`: False where the change changed nothing."""

    record: R | None
    written: bool


async def edit(
    ledger: Ledger,
    record: type[R],
    kind: str,
    id: str,
    change: Callable[[R | None], R | None],
    audit: Callable[[R | None, R], Sequence[Audit]] = lambda before, after: (),
    *,
    fence: Fence | None = None,
    expected: int | None = None,
    commit: Callable[[Change], Awaitable[object]] | None = None,
) -> Edited[R]:
    """Changes one document.

    Args:
        change: gives the record as it shall be, from what is there (None: nothing); None or the same leaves it as it is.
        audit: gives the lines of the trail, from the record before and after.
        expected: the generation that the one who asks has read; None: any.
        commit: writes the Change, in place of `Ledger.commit` with the fence.

    Raises Changed where the document has not the expected generation; Conflict after `TRIES`, LostLease, Unavailable, and what
    `change` raises.
    """

    async def attempt() -> Edited[R]:
        doc = await ledger.get(kind, id)
        check_unchanged(doc, kind, id, expected)
        before = load(record, doc) if doc else None
        after = change(before)
        if after is None or after == before:
            return Edited(before, written=False)
        made = Change((Write(kind, id, dump(after), doc.generation if doc else 0),), tuple(audit(before, after)))
        await (commit(made) if commit else ledger.commit(made, fence=fence))
        return Edited(after, written=True)

    return await repeat_on_conflict(attempt)


async def revise(
    ledger: Ledger,
    record: type[R],
    kind: str,
    id: str,
    change: Callable[[R], R],
    *audit: Audit,
    missing: FleetError,
    fence: Fence | None = None,
    expected: int | None = None,
) -> R:
    """Changes a document that must be there, with these lines of the trail; gives the record as it is then. Raises `missing`, and
    what `edit` raises."""

    def present(before: R | None) -> R:
        if before is None:
            raise missing
        return change(before)

    edited = await edit(ledger, record, kind, id, present, lambda before, after: audit, fence=fence, expected=expected)
    assert edited.record is not None
    return edited.record


def check_unchanged(doc: Doc | None, kind: str, id: str, expected: int | None) -> None:
    """Raises Changed where the document has not the expected generation; None: any."""
    generation = doc.generation if doc else 0
    if expected is not None and generation != expected and doc is not None:
        raise Changed(
            f"{kind} {id}: has changed since it was read: it is at {generation} now, not at {expected}",
            hint="read it again, and decide again",
        )


async def repeat_on_conflict(
    attempt: Callable[[], Awaitable[T]],
    rng: random.Random = _JITTER,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> T:
    """For a change of several documents, or one that must read more: `attempt` reads, decides and commits."""
    for tried in range(TRIES - 1):
        try:
            return await attempt()
        except LostLease:
            raise
        except Conflict:
            await sleep(BACKOFF.pause_s(tried, rng))
    return await attempt()
