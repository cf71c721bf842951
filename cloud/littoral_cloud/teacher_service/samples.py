"""Samples of escalations, for the next training: DATA/samples/MODEL.jsonl, one JSON object a line, bounded.

Each has the node, the model, the artifact, both answers and the confidence of the node. It has the input only with the setting
`keep_sample_inputs`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from littoral.json_lines import JsonLines, line_of

_NEW, _OLD = ".jsonl", ".jsonl.old"
MOST_BYTES = 32_000_000
"""Of one file; a full one becomes MODEL.jsonl.old, in the place of the one before."""


class SampleFiles:
    """For one process at a time; readers see whole lines."""

    def __init__(self, folder: Path, most_bytes: int = MOST_BYTES) -> None:
        self._folder = folder
        self._most = most_bytes

    def add(self, model: str, samples: Sequence[Mapping[str, Any]]) -> None:
        """Args:
        model: a name that was checked: it names the file.

        Raises OSError.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._of(model).add(b"".join(map(line_of, samples)))

    def models(self) -> list[str]:
        return sorted({file.name.removesuffix(_OLD).removesuffix(_NEW) for file in self._folder.glob(f"*{_NEW}*")})

    def read(self, model: str) -> Iterator[dict[str, Any]]:
        """Oldest first. A line that a crash cut is passed over."""
        return self._of(model).read()

    def _of(self, model: str) -> JsonLines:
        return JsonLines(self._folder / f"{model}{_NEW}", self._folder / f"{model}{_OLD}", self._most)
