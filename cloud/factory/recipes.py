"""What is made: frozen values, each chosen on training images that were held out, never on the test split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cloud.factory.lesson import Schedule


@dataclass(frozen=True, slots=True)
class TeacherRecipe:
    architecture: Mapping[str, Any]
    epochs: int
    schedule: Schedule
    seed: int
    threads: int = 1

    def resolved(self) -> dict[str, Any]:
        """As JSON values, for a manifest."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class StudentRecipe:
    name: str
    architecture: Mapping[str, Any]
    epochs: int
    schedule: Schedule
    seed: int
    variants: tuple[str, ...]  # of cloud.factory.package.EXPORTERS
    alpha: float = 0.1  # of the labels
    beta: float = 0.9  # of the teacher
    temperature: float = 4.0
    threads: int = 1

    def resolved(self) -> dict[str, Any]:
        """As JSON values, for a manifest; without what does not change the weights."""
        body = asdict(self)
        for key in ("name", "architecture", "variants"):  # they stand elsewhere in the manifest
            del body[key]
        return body


@dataclass(frozen=True, slots=True)
class Production:
    """One teacher, its students, and how many students are trained at once."""

    model: str  # the name under which nodes serve them
    teacher: TeacherRecipe
    students: tuple[StudentRecipe, ...]
    at_once: int = 2


_FAST = Schedule(batch=64, shift=1)

DEMO = Production(
    "digits",
    TeacherRecipe({"name": "compact_cnn", "widths": [16, 32, 48, 64]}, epochs=4, schedule=_FAST, seed=1),
    (
        # Fits 100 KB as int8, and keeps what federated rounds teach it, where smaller ones collapsed.
        StudentRecipe(
            "cnn", {"name": "compact_cnn", "widths": [16, 32, 48, 48]}, 2, _FAST, 2, ("onnx", "onnx-int8", "ncnn-fp16")
        ),
        # Fits 20 KB as int8.
        StudentRecipe(
            "cnn-s", {"name": "compact_cnn", "widths": [8, 16, 24, 24], "stem": 5, "head": "map"}, 2, _FAST, 2, ("onnx-int8",)
        ),
        StudentRecipe(
            "mobile",
            {"name": "mobilenet_v1", "stem": 16, "stem_kernel": 5, "widths": [32, 64, 64], "strides": [2, 2, 1]},
            2,
            _FAST,
            2,
            ("onnx-int8", "ncnn-fp16"),
        ),
    ),
)

_TINY = Schedule(batch=16, learning_rate=1e-2)

TINY = Production(
    "digits",
    TeacherRecipe({"name": "compact_cnn", "widths": [8, 16, 32], "head": "map"}, epochs=1, schedule=_TINY, seed=1),
    (StudentRecipe("tiny", {"name": "compact_cnn", "widths": [8, 16], "head": "map"}, 1, _TINY, 2, ("onnx-int8", "ncnn-fp16")),),
)
"""For tests: on 2,000 images it trains in about a second and is right nine times in ten."""
