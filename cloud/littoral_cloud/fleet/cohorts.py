"""Cohorts: filters over nodes, and their names.

    site=harbour,class=x86_64-4,version=0.1.0,name=cam-*

Rules, in order:

1. A filter is KEY=VALUE parts (KEY:VALUE is the same) with commas between them; a node matches where every part does. No key
   comes twice.
2. `class` is the hardware class, `version` the agent's, `name` a pattern with *, ? and [...] for the node's name. Every other key
   is a label; `label.class` is the label called "class".
3. A node that never connected has no class and no version, so it matches no such part.
4. A filter is asked again whenever a node is looked at: a node that joins later belongs to it from then on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache

from littoral.errors import BadInput, NotFound
from littoral_cloud.fleet.edit import edit
from littoral_cloud.fleet.labels import split_label
from littoral_cloud.fleet.ledger import Audit, Change, Ledger, Write
from littoral_cloud.fleet.names import checked_name
from littoral_cloud.fleet.records import Node, Presence, load

KIND = "cohort"
HINT = "like site=harbour,class=CLASS,version=0.1.0,name=cam-*"
_LABEL = "label."
_OWN_KEYS = frozenset({"class", "version", "name"})
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,68}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohort:
    """A saved filter."""

    name: str
    where: str
    schema: int = 1


@lru_cache(maxsize=256)
def parse_filter(where: str, at: str = "--where") -> tuple[tuple[str, str], ...]:
    """(key, value) of each part. Raises BadInput, with the part that is wrong."""
    parts: dict[str, str] = {}
    for part in where.split(","):
        key, separator, value = (piece.strip() for piece in split_label(part))
        if not separator or not value:
            raise BadInput(f"{at}: {part!r} is not KEY=VALUE", hint=HINT)
        if not _KEY.fullmatch(key):
            raise BadInput(f"{at}: {key!r} is neither class, version, name nor a label", hint=HINT)
        if key in parts:
            raise BadInput(f"{at}: {key!r} comes twice", hint="a node has one value of it")
        parts[key] = value
    return tuple(parts.items())


def written(where: str) -> str:
    """The filter in its one form, with = between key and value. Raises BadInput."""
    return ",".join(f"{key}={value}" for key, value in parse_filter(where)) if where else ""


def label_filter(labels: Mapping[str, str]) -> str:
    """The filter of nodes with all these labels. Raises BadInput where a filter cannot say one of them."""
    for key, value in labels.items():
        if not _KEY.fullmatch(key) or not value or value != value.strip() or "," in value:
            raise BadInput(
                f"label: no filter can say {f'{key}={value}'[:80]!r}", hint="a value has no comma, and no space around it"
            )
    return ",".join(
        f"{_LABEL if key in _OWN_KEYS or key.startswith(_LABEL) else ''}{key}={value}" for key, value in labels.items()
    )


def matches(where: str, node: Node, presence: Presence | None) -> bool:
    """Whether the node belongs to a filter; to an empty one each does. Pure."""
    return not where or all(_has(key, value, node, presence) for key, value in parse_filter(where))


def _has(key: str, value: str, node: Node, presence: Presence | None) -> bool:
    if key == "name":
        return fnmatchcase(node.name, value)
    if key == "class":
        return presence is not None and presence.hardware_class == value
    if key == "version":
        return presence is not None and presence.agent_version == value
    return node.labels.get(key.removeprefix(_LABEL)) == value


async def matching(ledger: Ledger, where: str) -> list[Node]:
    """Every node that a filter has now, accepted or not."""
    presences = {doc.id: load(Presence, doc) for doc in await ledger.all("presence")}
    nodes = [load(Node, doc) for doc in await ledger.all("node")]
    return [node for node in nodes if matches(where, node, presences.get(node.node_id))]


async def save_cohort(ledger: Ledger, name: str, where: str, actor: str) -> Cohort:
    """Under a new name, or in place of the filter of that name. Rollouts keep the filter that they were started with."""
    checked_name("cohort", name)
    parse_filter(where, "where")
    cohort = Cohort(name=name, where=written(where))
    line = Audit("cohort.saved", name, actor, {"where": cohort.where})
    await edit(ledger, Cohort, KIND, name, lambda before: cohort, lambda before, after: (line,))
    return cohort


async def read_cohort(ledger: Ledger, name: str) -> Cohort:
    """Raises NotFound."""
    if (doc := await ledger.get(KIND, name)) is None:
        raise NotFound(f"cohort {name!r}: there is none", hint="littoral-cloud cohort list")
    return load(Cohort, doc)


async def all_cohorts(ledger: Ledger) -> list[Cohort]:
    """By name."""
    return [load(Cohort, doc) for doc in await ledger.all(KIND)]


async def delete_cohort(ledger: Ledger, name: str, actor: str) -> None:
    """Raises NotFound."""
    await read_cohort(ledger, name)
    await ledger.commit(Change((Write(KIND, name, None, None),), (Audit("cohort.deleted", name, actor),)))
