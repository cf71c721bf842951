"""Many nodes in few words: what a rollout says of its nodes stays short, however many there are. Pure.

Example: a wave of 1,989 nodes is 69 kB of ids. Its audit line holds five of them, their number, and a SHA-256 that anyone can
compute again from the rollout's own list.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from hashlib import sha256
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

_TOLD = 5
"""Nodes that are named one by one."""
_AUDITED = 20
"""The most nodes that an audit line lists one by one."""


def first_of(items: Collection[T], say: Callable[[T], str] = str) -> tuple[str, ...]:
    """Words for each of a few items; else for the first five, and how many more there are."""
    told = tuple(say(item) for item in islice(items, _TOLD))
    return (*told, f"and {len(items) - _TOLD} more") if len(items) > _TOLD else told


def nodes_in_audit(name: str, node_ids: Sequence[str]) -> dict[str, object]:
    """Details of an audit line under this name: every id of a few nodes. Of many, the first five, NAME_count, and NAME_sha256
    over all ids, sorted and one a line."""
    if len(node_ids) <= _AUDITED:
        return {name: list(node_ids)}
    digest = sha256("".join(f"{node_id}\n" for node_id in sorted(node_ids)).encode()).hexdigest()
    return {name: list(node_ids[:_TOLD]), f"{name}_count": len(node_ids), f"{name}_sha256": digest}


def unproved_remark(names: Sequence[str]) -> tuple[str, ...]:
    """Of nodes that keep what no request and no labelled example has tried there."""
    who = ", ".join(first_of(sorted(names)))
    return (f"{who}: saw no request in probation, so its probe alone speaks for it",) if who else ()
