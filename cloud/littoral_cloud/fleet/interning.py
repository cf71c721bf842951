"""Equal values of many documents as one object: nodes of one kind say the same of their hardware, and serve the same manifests.

10,000 nodes of four hardware classes have 10,000 profiles of some kilobytes each, of which four differ.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from littoral_cloud.fleet.ledger import Doc
from littoral_cloud.fleet.records import load

R = TypeVar("R")

RECORDS = 4096
"""Different records of a kind that are remembered, about."""
TEXTS = 65_536
LEAST_CHARACTERS = 24
"""Of a text that is worth remembering, such as a digest."""


class Interner:
    """Parses documents into records that share what is equal.

    Args:
        whole: kinds of which many documents are equal as a whole; of the others, texts are shared.
    """

    def __init__(self, whole: frozenset[str]) -> None:
        self._whole = whole
        self._records: dict[str, dict[str, Any]] = {kind: {} for kind in whole}
        self._texts: dict[str, str] = {}

    def record(self, kind: type[R], doc: Doc) -> R:
        """Raises FleetError where the document is no such record."""
        if doc.kind not in self._whole:
            return load(kind, Doc(doc.kind, doc.id, doc.generation, self._shared(doc.body)))
        known, key = self._records[doc.kind], json.dumps(doc.body, sort_keys=True, separators=(",", ":"))
        if (found := known.get(key)) is None:
            if len(known) >= RECORDS:
                del known[next(iter(known))]
            found = known[key] = load(kind, doc)
        record: R = found
        return record

    def _shared(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(value) if len(value) >= LEAST_CHARACTERS else value
        if isinstance(value, Mapping):
            return {name: self._shared(part) for name, part in value.items()}
        return [self._shared(part) for part in value] if isinstance(value, list) else value

    def _text(self, text: str) -> str:
        if len(self._texts) >= TEXTS:
            self._texts.clear()
        return self._texts.setdefault(text, text)
