"""Machines that an operator expects, by a hardware id: when one enrols, it gets its name and labels, and does not wait.

Rules, in order:

1. The list is CSV with a header: `hardware_id`, `name` (may be empty), and every other column is a label. It is taken whole or
   not at all.
2. A hardware id is what the agent reads of its machine: "serial:10000000abcd", "mac:dc:a6:32:01:02:03". It is no secret, so a
   machine needs a join token as well. With a token that asks (`token create --ask`), those that are not expected wait for an
   operator.
3. An id is used once: the node that had it first. Another key with the same id is not expected.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from littoral.errors import BadInput
from littoral_cloud.fleet.ledger import Audit, Change, Doc, Ledger, Write
from littoral_cloud.fleet.records import dump, load, nothing

KIND = "expected"
MOST_ROWS = 10_000
MOST_IDS = 16
"""Of one machine."""
_ID = re.compile(r"(serial:[a-z0-9._-]{1,64}|mac:[0-9a-f]{2}(:[0-9a-f]{2}){5})")
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,62}")
_AT_ONCE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedNode:
    """`node_id`: that enrolled with it; "": none has."""

    name: str = ""
    labels: Mapping[str, str] = field(default_factory=nothing)
    node_id: str = ""
    schema: int = 1


def fleet_from(text: str) -> dict[str, ExpectedNode]:
    """By hardware id. Raises BadInput, naming line, column and value."""
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    hint = "a header like hardware_id,name,site and a line for each machine"
    try:
        rows = [row for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise BadInput(f"line {reader.line_num}: is no CSV: {error}", hint=hint) from error
    header = [cell.strip() for cell in rows[0]] if rows else []
    if "hardware_id" not in header or len(set(header)) < len(header):
        raise BadInput(f"line 1: {','.join(header)[:80]!r} must name each column once, and hardware_id", hint=hint)
    if len(rows) - 1 > MOST_ROWS:
        raise BadInput(f"{len(rows) - 1} machines, at most {MOST_ROWS} are taken at one time", hint="import it in parts")
    for key in header:
        if not _LABEL.fullmatch(key):
            raise BadInput(f"line 1: column {key[:80]!r} is no name of a label", hint=hint)
    found: dict[str, ExpectedNode] = {}
    names = set[str]()
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(header):
            raise BadInput(f"line {number}: {len(row)} cells, the header has {len(header)}", hint=hint)
        cells = {key: cell.strip() for key, cell in zip(header, row, strict=True)}
        id, name = cells.pop("hardware_id").lower(), cells.pop("name", "")
        if not _ID.fullmatch(id):
            raise BadInput(f"line {number}, hardware_id: {id[:80]!r}", hint="like serial:10000000abcd or mac:dc:a6:32:01:02:03")
        if id in found or (name and name in names):
            raise BadInput(f"line {number}: {(id if id in found else name)!r} is there twice")
        if name and not _NAME.fullmatch(name):
            raise BadInput(f"line {number}, name: {name[:80]!r} is no name", hint="use a-z, 0-9 and -, at most 63")
        labels = {key: value for key, value in cells.items() if value}
        for key, value in labels.items():
            if len(value) > 200 or not value.isprintable():
                raise BadInput(f"line {number}, {key}: {value[:40]!r} must be at most 200 printable characters")
        found[id] = ExpectedNode(name=name, labels=labels)
        names.add(name)
    return found


async def import_fleet(ledger: Ledger, text: str, *, actor: str) -> int:
    """Expects these machines; gives how many. One that has enrolled already stays as it is. Raises BadInput."""
    found = fleet_from(text)
    ids = list(found)
    for start in range(0, len(ids), _AT_ONCE):
        some = ids[start : start + _AT_ONCE]
        docs = await ledger.get_many([(KIND, id) for id in some])
        known = {doc.id: load(ExpectedNode, doc) for doc in docs if doc is not None}
        writes = [Write(KIND, id, dump(found[id]), None) for id in some if id not in known or not known[id].node_id]
        lines = (Audit("node.expected", some[0], actor, {"machines": len(writes), "first": some[:5]}),)
        if writes:
            await ledger.commit(Change(tuple(writes), lines))
    return len(found)


async def expected_of(ledger: Ledger, hardware_ids: Sequence[str], node_id: str) -> tuple[Doc, ExpectedNode] | None:
    """What is expected of a machine with these ids, which no other node has used; None: nothing."""
    ids = [id for id in (each.lower() for each in hardware_ids[:MOST_IDS]) if _ID.fullmatch(id)]
    for doc in await ledger.get_many([(KIND, id) for id in ids]) if ids else ():
        if doc is not None and (found := load(ExpectedNode, doc)).node_id in ("", node_id):
            return doc, found
    return None
