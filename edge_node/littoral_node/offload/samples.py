"""What was asked and answered, on this node's disk: DIR/samples.jsonl and samples.jsonl.old, together under a bound."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from littoral.json_lines import JsonLines, line_of
from littoral_node.offload.spending import DAY_S


class SampleFile:
    """One JSON object a line. Not synced: a power cut may take the last ones, and wears out no flash.

    Args:
        most_bytes: of both files.
    """

    def __init__(self, place: Path, most_bytes: int) -> None:
        self._most = most_bytes // 2
        self._lines = JsonLines(place, place.with_name(f"{place.name}.old"), self._most)

    def add(self, sample: Mapping[str, Any]) -> None:
        """Raises OSError. One that alone is over the bound is left out."""
        if len(line := line_of(sample)) <= self._most:
            self._lines.add(line)

    def read(self) -> Iterator[dict[str, Any]]:
        """Oldest first; a line that a power cut left half is passed over."""
        return self._lines.read()

    def bytes_of_day(self, now: float) -> int:
        """That were sent and received today, as far as the file tells: a restart must not give the day's bytes anew."""
        today = now // DAY_S
        found = (sample for sample in self.read() if isinstance(sample.get("at"), int | float) and sample["at"] // DAY_S == today)
        return sum(size for sample in found if isinstance(size := sample.get("bytes"), int))
