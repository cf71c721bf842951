"""What a hello reads and writes: one reading of all that is known of the node, and one commit.

The session part of a presence is written with each hello, the profile where it differs from what is stored
(littoral_cloud/fleet/profile).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from littoral_cloud.fleet.allowance import NodeAllowance, commit
from littoral_cloud.fleet.clones import TWINS_MOST, repeated
from littoral_cloud.fleet.edit import repeat_on_conflict
from littoral_cloud.fleet.handed import KIND as HANDED
from littoral_cloud.fleet.handed import Handed
from littoral_cloud.fleet.ledger import Audit, Body, Doc, Ledger, Write
from littoral_cloud.fleet.profile import PRESENCE, PROFILE, joined_docs, stored
from littoral_cloud.fleet.records import Desired, Node, Presence, load
from littoral_cloud.fleet.sessions import MAX_JUMP, budget_lines, parsed_desired


@dataclass(frozen=True, slots=True)
class Known:
    """Of one node, as it stood at one moment. Generations are 0 where there is no document."""

    node: Node | None
    presence: Presence | None
    presence_generation: int
    profile: Body | None  # as it is stored
    profile_generation: int
    desired: Desired
    desired_generation: int
    handed: Handed = field(default_factory=Handed)


Parse = Callable[[Doc | None], tuple[int, Desired]]
"""A document of kind "desired" as (generation, record)."""


async def known_of(ledger: Ledger, node_id: str, parse: Parse = parsed_desired) -> Known:
    node, presence, profile, desired, handed = await ledger.get_many(
        [("node", node_id), (PRESENCE, node_id), (PROFILE, node_id), ("desired", node_id), (HANDED, node_id)]
    )
    generation, wanted = parse(desired)
    return Known(
        load(Node, node) if node else None,
        joined_docs(presence, profile),
        _generation(presence),
        profile.body if profile else None,
        _generation(profile),
        wanted,
        generation,
        load(Handed, handed) if handed else Handed(),
    )


async def note_hello(
    ledger: Ledger, node_id: str, said: Presence, allowance: NodeAllowance | None = None, known: Known | None = None
) -> int:
    """Writes what a node says of itself. Gives the generation of its presence.

    Args:
        known: what was read before; None, or where it is not so any more: it is read here.
    """

    async def attempt() -> int:
        nonlocal known
        before, known = known or await known_of(ledger, node_id), None
        presence = _with_twins(before.presence, said)
        session, profile = stored(presence)
        writes = [Write(PRESENCE, node_id, session, before.presence_generation)]
        if before.profile != profile:
            writes.append(Write(PROFILE, node_id, profile, before.profile_generation))
        committed = await commit(ledger, tuple(writes), _lines(node_id, before.presence, presence), allowance)
        return committed[PRESENCE, node_id]

    return await repeat_on_conflict(attempt)


def _with_twins(before: Presence | None, said: Presence) -> Presence:
    """Twins that were seen a while ago, also by another coordinator, stay; those that the node's count gives away are added."""
    # Bounded, so that one wrong count is not the largest for ever.
    said = replace(said, connection=min(said.connection, (before.connection if before else 0) + MAX_JUMP))
    if before is None or said.twins:
        return said
    known = before.twins if before.runs_twice(said.since) else ()
    if repeated(before, said):
        both = dict.fromkeys((*known, before.address or "an unknown address", said.address))
        return replace(said, twins=tuple(both)[-TWINS_MOST:], twins_at=said.since, connection=before.connection)
    return replace(said, twins=known, twins_at=before.twins_at) if known else said


def _lines(node_id: str, before: Presence | None, after: Presence) -> tuple[Audit, ...]:
    lines = budget_lines(node_id, before, after) if before else ()
    if after.twins and (before is None or not before.runs_twice(after.since)):
        return (Audit("node.twice", node_id, node_id, {"from": list(after.twins)}), *lines)
    return lines


def _generation(doc: Doc | None) -> int:
    return doc.generation if doc else 0
