"""What was asked and answered, on this node's disk: DIR/hints.jsonl and hints.jsonl.old, together under a bound."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edge_node.joint.spending import DAY_S


class HintFile:
    """One JSON object a line. Not synced: a power cut may take the last ones, and wears out no flash.

    Args:
        most_bytes: of both files.
    """

    def __init__(self, place: Path, most_bytes: int) -> None:
        self._place = place
        self._old = place.with_name(f"{place.name}.old")
        self._most = most_bytes // 2

    def add(self, hint: Mapping[str, Any]) -> None:
        """Raises OSError. One that alone is over the bound is left out."""
        data = json.dumps(hint, sort_keys=True).encode() + b"\n"
        if len(data) > self._most:
            return
        if self._place.exists() and self._place.stat().st_size + len(data) > self._most:
            self._place.replace(self._old)
        with self._place.open("ab") as file:
            file.write(data)

    def read(self) -> Iterator[dict[str, Any]]:
        """Oldest first; a line that a power cut left half is passed over."""
        for place in (self._old, self._place):
            if not place.exists():
                continue
            with place.open("rb") as file:
                for line in file:
                    try:
                        yield dict(json.loads(line))
                    except ValueError:
                        continue

    def bytes_of_day(self, now: float) -> int:
        """That were sent and received today, as far as the file tells: a restart must not give the day's bytes anew."""
        today = now // DAY_S
        found = (hint for hint in self.read() if isinstance(hint.get("at"), int | float) and hint["at"] // DAY_S == today)
        return sum(size for hint in found if isinstance(size := hint.get("bytes"), int))
