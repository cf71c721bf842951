"""A process that makes the same small artifacts, plain and with one thing changed at a time.

python -m tests.kit.maker OUT [CHANGE ...] writes OUT/CHANGE/NAME.json, each a manifest as it would be signed.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from littoral_cloud.factory.production import make_students
from littoral_cloud.recipes.recipe import Production, StudentRecipe, TeacherRecipe
from littoral_cloud.training.schedule import Schedule
from tests.kit.images import bars

QUICK = Schedule(batch=32, learning_rate=1e-2)
NET = {"name": "compact_cnn", "widths": [4, 8]}


def with_version(stack: ExitStack, name: str, version: str) -> None:
    """As if another version of a distribution were installed: what the import system finds first counts."""
    folder = Path(stack.enter_context(TemporaryDirectory()))
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    sys.path.insert(0, str(folder))
    stack.callback(sys.path.remove, str(folder))


def main(out: Path, changes: list[str]) -> None:
    for change in changes:
        student = StudentRecipe("tiny", NET, 1, QUICK, 2, ("onnx-int8", "ncnn"))
        with ExitStack() as stack:
            match change.split("="):
                case ["seed", seed]:
                    student = replace(student, seed=int(seed))
                case ["threads", threads]:
                    student = replace(student, threads=int(threads))
                case ["none"]:
                    pass
                case [library, version]:
                    with_version(stack, library, version)
            made = make_students(bars(), Production("bars", TeacherRecipe(NET, 1, QUICK), (student,)))
        (out / change).mkdir(parents=True)
        for packaged in made.packaged:
            (out / change / f"{packaged.manifest.name}.json").write_bytes(packaged.manifest.encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
