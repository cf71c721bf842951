"""How a presence is stored: in two documents, since half of it changes with each connection and half of it nearly never.

kind          id          what
presence      node id     whether it is connected, and the session: small, written at each hello and at each end
profile       node id     what the node says of itself: hardware, runtimes, budgets, conditions; written when it changed

A Presence is both, joined. Where there is no profile, the presence holds everything: earlier coordinators stored it so. The next
hello of that node writes both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from littoral.budget import Budget
from littoral.quota import NodeLimits
from littoral_cloud.fleet.ledger import Doc, Ledger
from littoral_cloud.fleet.records import UNLIMITED, Presence, dump, load, nothing

PRESENCE = "presence"
PROFILE = "profile"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The fields of Presence with these names."""

    agent_version: str
    protocol_version: int
    features: tuple[str, ...]
    hardware: Mapping[str, Any]
    hardware_class: str
    runtimes: tuple[str, ...]
    budgets: Mapping[str, Budget]
    labelled_examples: Mapping[str, int]
    conditions: Mapping[str, Any] = field(default_factory=nothing)
    limits: NodeLimits = UNLIMITED
    update_window: str = ""
    time_zone: str = ""
    schema: int = 1


_FIELDS = tuple(each.name for each in fields(Profile) if each.name != "schema")


def profile_of(presence: Presence) -> Profile:
    return Profile(**{name: getattr(presence, name) for name in _FIELDS})


def with_profile(
    presence: Presence | None, profile: Profile | None, budgets: Mapping[str, Budget] | None = None
) -> Presence | None:
    """None: it has enrolled and never came, or only the first half of its first hello was read so far.

    Args:
        budgets: in place of the profile's.
    """
    if presence is None or profile is None:
        return presence if presence is not None and presence.protocol_version else None
    values = {name: getattr(profile, name) for name in _FIELDS}
    return replace(presence, **(values if budgets is None else values | {"budgets": budgets}))


def stored(presence: Presence) -> tuple[dict[str, Any], dict[str, Any]]:
    """The bodies of both documents."""
    session = {name: value for name, value in dump(presence).items() if name not in _FIELDS}
    return session, dump(profile_of(presence))


def joined_docs(presence: Doc | None, profile: Doc | None) -> Presence | None:
    return with_profile(load(Presence, presence) if presence else None, load(Profile, profile) if profile else None)


async def presence_of(ledger: Ledger, node_id: str) -> Presence | None:
    """None: it has enrolled and never came."""
    presence, profile = await ledger.get_many([(PRESENCE, node_id), (PROFILE, node_id)])
    return joined_docs(presence, profile)


async def presences(ledger: Ledger, *only: str) -> dict[str, Presence]:
    """By node id; `only`: of these alone. Nodes that never came are not in it."""
    if only:
        docs = await ledger.get_many([(kind, id) for kind in (PRESENCE, PROFILE) for id in only])
    else:  # the presence first: one that was written with its profile has it then
        docs = [*await ledger.all(PRESENCE), *await ledger.all(PROFILE)]
    profiles = {doc.id: doc for doc in docs if doc is not None and doc.kind == PROFILE}
    found = ((doc.id, joined_docs(doc, profiles.get(doc.id))) for doc in docs if doc is not None and doc.kind == PRESENCE)
    return {id: presence for id, presence in found if presence is not None}
