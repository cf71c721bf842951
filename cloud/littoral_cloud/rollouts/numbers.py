"""The numbers of a release's rollouts: RELEASE-r1, RELEASE-r2. One that was archived is not used again.

kind "rollout-number", id RELEASE: the highest number of its rollouts that were archived.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from littoral_cloud.fleet.ledger import Ledger, Write
from littoral_cloud.fleet.records import dump, load

KIND = "rollout-number"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedNumber:
    highest: int
    schema: int = 1


def rollout_id(release_id: str, number: int) -> str:
    return f"{release_id}-r{number}"


def number_of(rollout_id: str) -> int:
    """0 where the id has none."""
    found = re.search(r"-r(\d{1,9})$", rollout_id)
    return int(found[1]) if found else 0


async def highest_archived(ledger: Ledger, release_id: str) -> int:
    """0: no rollout of the release was archived."""
    doc = await ledger.get(KIND, release_id)
    return load(ArchivedNumber, doc).highest if doc else 0


async def numbers_with(ledger: Ledger, archived: Mapping[str, Iterable[str]]) -> tuple[Write, ...]:
    """What remembers the numbers of these rollouts; ids by release."""
    docs = await ledger.get_many([(KIND, release_id) for release_id in archived])
    writes = []
    for (release_id, ids), doc in zip(archived.items(), docs, strict=True):
        before = load(ArchivedNumber, doc).highest if doc else 0
        highest = max(before, *map(number_of, ids))
        if highest > before:
            record = dump(ArchivedNumber(highest=highest))
            writes.append(Write(KIND, release_id, record, doc.generation if doc else 0, quiet=True))
    return tuple(writes)
