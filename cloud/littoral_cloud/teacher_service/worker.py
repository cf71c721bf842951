"""The process in which teachers answer, child of process.py: the coordinator imports no torch, and waits for no teacher.

The worker sends READY once torch is imported. To a question, {"teacher", "stored"} with raw `inputs`, it answers `logits`. Its
settings name the coordinator's data folder, whose blobs hold the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from littoral.process.child import Answer, serve

_LOADED = 4
"""Teachers that stay loaded; the one that was asked longest ago goes first."""


class _Teachers:
    def __init__(self, data_dir: Path, blobs: str | None) -> None:
        from littoral_cloud.store.opened_blobs import open_blobs

        self._blobs = open_blobs(data_dir, blobs)
        self._loaded: dict[str, Any] = {}

    def teacher(self, digest: str, stored: Mapping[str, Any]) -> Any:
        """Raises FleetError."""
        from littoral_cloud.fleet.ledger import Doc
        from littoral_cloud.fleet.records import load
        from littoral_cloud.releases.teacher_records import KIND, StoredTeacher
        from littoral_cloud.releases.teacher_store import teacher_from

        teacher = self._loaded.pop(digest, None) or teacher_from(
            load(StoredTeacher, Doc(KIND, digest, 1, stored)), self._blobs.path
        )
        self._loaded[digest] = teacher
        while len(self._loaded) > _LOADED:
            del self._loaded[next(iter(self._loaded))]
        return teacher


def prepare(settings: dict[str, Any]) -> tuple[Answer, dict[str, Any]]:
    import numpy as np

    import littoral_cloud.releases.teacher_store  # noqa: F401 - brings torch, before a question waits for it

    teachers = _Teachers(Path(settings["data_dir"]), settings["blobs"])

    def answer(head: dict[str, Any], arrays: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        teacher = teachers.teacher(str(head["teacher"]), head["stored"])
        return {}, {"logits": np.asarray(teacher.logits(arrays["inputs"]), np.float32)}

    return answer, {}


if __name__ == "__main__":
    serve(prepare)
