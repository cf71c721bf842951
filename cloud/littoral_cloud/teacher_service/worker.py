"""The process in which teachers answer: the coordinator imports no torch, and waits for nothing.

    python -m littoral_cloud.teacher_service.worker --parent PID --data DIR

Says {"ready"} once torch is there. Then it reads one line of JSON a question, {"teacher", "kept", "inputs"}, where inputs are a
littoral.signature.Packed, and answers each with one line, {"logits"} or {"code", "message"}. DIR is the data folder of the
coordinator, whose blobs hold the weights.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from littoral.child import die_with_parent

_HELD = 4
"""Teachers that stay loaded; the one that was asked longest ago goes first."""


class _Teachers:
    def __init__(self, data_dir: Path) -> None:
        from littoral_cloud.store.blobs import BlobFolder

        self._blobs = BlobFolder(data_dir / "blobs")
        self._held: dict[str, Any] = {}

    def logits(self, question: Mapping[str, Any]) -> list[list[float]]:
        """Raises FleetError."""
        from littoral.signature import Packed

        teacher = self._teacher(str(question["teacher"]), question["kept"])
        given = Packed(**question["inputs"])
        rows: list[list[float]] = teacher.logits(given.values().reshape(given.shape)).tolist()
        return rows

    def _teacher(self, digest: str, kept: Mapping[str, Any]) -> Any:
        from littoral_cloud.fleet.ledger import Doc
        from littoral_cloud.fleet.records import load
        from littoral_cloud.releases.teacher_records import KIND, KeptTeacher
        from littoral_cloud.releases.teacher_store import teacher_from

        teacher = self._held.pop(digest, None) or teacher_from(load(KeptTeacher, Doc(KIND, digest, 1, kept)), self._blobs.path)
        self._held[digest] = teacher
        while len(self._held) > _HELD:
            del self._held[next(iter(self._held))]
        return teacher


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m littoral_cloud.teacher_service.worker")
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()
    die_with_parent(arguments.parent)
    give = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not stand between the answers
    import littoral_cloud.releases.teacher_store  # noqa: F401 - brings torch, before anybody waits for it
    from littoral.errors import FleetError

    def say(word: Mapping[str, Any]) -> None:
        give.write(json.dumps(word) + "\n")
        give.flush()

    teachers = _Teachers(arguments.data)
    say({"ready": True})
    for line in sys.stdin:
        try:
            say({"logits": teachers.logits(json.loads(line))})
        except FleetError as error:
            say({"code": error.code, "message": str(error)})


if __name__ == "__main__":
    main()
