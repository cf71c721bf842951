"""Equal values of many documents as one object: nodes of one kind say the same of their hardware, and serve the same manifests.

10,000 nodes of four hardware classes have 10,000 profiles of some kilobytes each, of which four differ.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

import orjson

from littoral_cloud.fleet.ledger import Doc
from littoral_cloud.fleet.records import load

R = TypeVar("R")

MOST = 4096
LEAST_CHARACTERS = 16
"""Of a text that is worth sharing, such as a digest or the id of a node."""
OF_ONE = frozenset({"public_key_sha256", "certificate_sha256"})
"""Fields whose texts no two documents have in common."""


class Interner:
    """Parses documents into records that share what is equal.

    Args:
        whole: kinds of which many documents are equal as a whole; of the others, texts are shared.
        parts: a field of a kind of which many documents have the same.
        most: different records of a kind, or of its part, that are remembered.
    """

    def __init__(self, whole: frozenset[str], parts: Mapping[str, str], *, most: int = MOST) -> None:
        self._most = most
        self._whole = whole
        self._parts = parts
        self._known: dict[str, dict[bytes, Any]] = {kind: {} for kind in (*whole, *parts)}

    def record(self, kind: type[R], doc: Doc) -> R:
        """Raises FleetError where the document is no such record."""
        if doc.kind in self._whole:
            known, key = self._known[doc.kind], _key(doc.body)
            return known[key] if key in known else self._remembered(known, key, load(kind, doc))
        body = _shared(doc.body)
        if (field := self._parts.get(doc.kind)) is None or field not in body:
            return load(kind, replace(doc, body=body))
        known, key = self._known[doc.kind], _key(body[field])
        if (part := known.get(key)) is None:
            record = load(kind, replace(doc, body=body))
            self._remembered(known, key, getattr(record, field))
            return record
        rest = load(kind, replace(doc, body={name: value for name, value in body.items() if name != field}))
        made: R = replace(rest, **{field: part})  # type: ignore[type-var]
        return made

    def _remembered(self, known: dict[bytes, Any], key: bytes, value: R) -> R:
        if len(known) >= self._most:
            del known[next(iter(known))]
        known[key] = value
        return value


def _key(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _shared(value: Any) -> Any:
    """The same JSON; Python forgets a text that nothing holds any more."""
    if isinstance(value, str):
        return sys.intern(value) if len(value) >= LEAST_CHARACTERS else value
    if isinstance(value, Mapping):
        return {name: part if name in OF_ONE else _shared(part) for name, part in value.items()}
    return [_shared(part) for part in value] if isinstance(value, list) else value
