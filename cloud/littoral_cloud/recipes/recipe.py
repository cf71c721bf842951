"""What is made: frozen values, each chosen on training images that were held out, never on the test split.

Written by hand here, or read from a TOML file (recipe_file.py, docs/recipes.md); both are the same values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from littoral.errors import BadInput
from littoral_cloud.compression.method import Method, refuse_undoing
from littoral_cloud.export.exported import DEFAULTS, Options
from littoral_cloud.fleet.names import checked_name
from littoral_cloud.training.schedule import Schedule
from littoral_cloud.training.seeding import checked_seed
from littoral_cloud.training.train import PLAIN

Prepare = Literal["standard", "unit", "raw"]
Gives = Literal["logits", "probabilities"]
MOST_THREADS = 256


@dataclass(frozen=True, slots=True)
class TeacherRecipe:
    """A teacher that is trained here, on the labels alone."""

    architecture: Mapping[str, Any]  # {"name": ..., and its parameters}, see littoral.architectures
    epochs: int
    schedule: Schedule = PLAIN
    seed: int = 1
    threads: int = 1  # of torch; another number gives other weights

    def __post_init__(self) -> None:
        _positive(self, "epochs", "threads")
        checked_seed("seed", self.seed)

    def resolved(self) -> dict[str, Any]:
        """As JSON values, for a manifest."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class OnnxRecipe:
    """A teacher in an ONNX file, run by onnxruntime."""

    onnx: str  # its path; in a recipe file beside that file
    prepare: Prepare = "standard"  # what it wants to see: as our own networks, pixels over 255 ("unit"), or 0..255 ("raw")
    mean: tuple[float, ...] = ()  # of pixels over 255, one value or one a channel, with std, in place of prepare
    std: tuple[float, ...] = ()
    output: str = ""  # which of its outputs; empty: it has one
    gives: Gives = "logits"
    threads: int = 1

    def __post_init__(self) -> None:
        _positive(self, "threads")
        _check_moments(self.mean, self.std)

    def resolved(self) -> dict[str, Any]:
        return {**asdict(self), "onnx": Path(self.onnx).name}


@dataclass(frozen=True, slots=True)
class WeightsRecipe:
    """A teacher in a safetensors file that littoral_cloud.training.weights.save_weights wrote."""

    weights: str  # its path; in a recipe file beside that file
    prepare: Prepare = "standard"  # as it was trained: see OnnxRecipe
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    threads: int = 1

    def __post_init__(self) -> None:
        _positive(self, "threads")
        _check_moments(self.mean, self.std)

    def resolved(self) -> dict[str, Any]:
        return {**asdict(self), "weights": Path(self.weights).name}


@dataclass(frozen=True, slots=True)
class FunctionRecipe:
    """A teacher that is a Python function of raw images."""

    function: str  # "package.module:function", found from the working folder or PYTHONPATH
    gives: Gives = "logits"
    threads: int = 1  # of torch, while it is called

    def __post_init__(self) -> None:
        _positive(self, "threads")

    def resolved(self) -> dict[str, Any]:
        return asdict(self)


SoloRecipe = TeacherRecipe | OnnxRecipe | WeightsRecipe | FunctionRecipe


@dataclass(frozen=True, slots=True)
class Member:
    """One voice in an ensemble."""

    teacher: SoloRecipe
    weight: float = 1.0  # beside the others' weights

    def __post_init__(self) -> None:
        if self.weight <= 0:
            raise BadInput(f"weight: {self.weight}", hint="over 0; leave out who has no voice")


@dataclass(frozen=True, slots=True)
class EnsembleRecipe:
    """Several teachers that answer as one: their geometric mean ("logits") or their arithmetic one ("probabilities")."""

    members: tuple[Member, ...]
    combine: Gives = "logits"
    temperature: float = 4.0  # at which probabilities are averaged: that of the students

    def __post_init__(self) -> None:
        if len(self.members) < 2:
            raise BadInput(f"members: {len(self.members)}", hint="an ensemble has two or more")
        if self.temperature <= 0:
            raise BadInput(f"temperature: {self.temperature}", hint="over 0")

    def resolved(self) -> dict[str, Any]:
        members = [{"weight": member.weight, **member.teacher.resolved()} for member in self.members]
        return {"members": members, "combine": self.combine, "temperature": self.temperature}


AnyTeacherRecipe = SoloRecipe | EnsembleRecipe


@dataclass(frozen=True, slots=True)
class StudentRecipe:
    """One network: taught, then made cheaper by its methods in their order, then exported in each of its variants."""

    name: str  # its artifacts are called NAME-VARIANT
    architecture: Mapping[str, Any]
    epochs: int
    schedule: Schedule = PLAIN
    seed: int = 1
    variants: tuple[str, ...] = ("onnx", "onnx-int8", "ncnn-fp16")  # of littoral_cloud.packaging.package.EXPORTERS
    alpha: float = 0.1  # of the labels
    beta: float = 0.9  # of the teacher
    temperature: float = 4.0
    threads: int = 1  # of torch; another number gives other weights
    methods: tuple[Method, ...] = ()  # see littoral_cloud.compression.methods
    export: Options = DEFAULTS  # how its artifacts are written: opset, IR, calibration

    def __post_init__(self) -> None:
        checked_name("name", self.name)
        _positive(self, "epochs", "threads")
        checked_seed("seed", self.seed)
        if self.alpha < 0 or self.beta < 0 or self.alpha + self.beta == 0 or self.temperature <= 0:
            raise BadInput(
                f"alpha {self.alpha}, beta {self.beta}, temperature {self.temperature}",
                hint="none negative, not both 0, temperature over 0",
            )
        if not self.variants or len(set(self.variants)) != len(self.variants):
            raise BadInput(f"variants: {list(self.variants)}", hint="at least one, and none twice")
        refuse_undoing(self.methods)

    def resolved(self) -> dict[str, Any]:
        """As JSON values, for a manifest; without what does not change the weights."""
        elsewhere = ("name", "architecture", "variants")  # they stand elsewhere in the manifest
        body = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in elsewhere}
        body |= {"export": asdict(self.export)}
        return body | {"schedule": asdict(self.schedule), "methods": [dict(method.resolved()) for method in self.methods]}


@dataclass(frozen=True, slots=True)
class Production:
    """One teacher, its students, and how many students are trained at once."""

    model: str  # the name under which nodes serve them
    teacher: AnyTeacherRecipe | None  # None: the students learn from the labels alone
    students: tuple[StudentRecipe, ...]
    at_once: int = 2

    def __post_init__(self) -> None:
        checked_name("model", self.model)
        if not 1 <= self.at_once <= 64:
            raise BadInput(f"at_once: {self.at_once}", hint="1 to 64 students trained side by side")
        if not self.students:
            raise BadInput("student: there is none", hint="add a [[student]]")
        names = list(self.trainings())
        for name in names:
            if names.count(name) > 1:
                raise BadInput(f"name: two trainings would be called {name!r}", hint="give each student a name of its own")

    def trainings(self) -> Iterator[str]:
        """The name of each training, as progress and checkpoints call it."""
        yield from (name for name, _ in trained_teachers(self.teacher))
        for student in self.students:
            yield from stages(student)

    def resolved(self) -> dict[str, Any]:
        """All that decides what comes out, as JSON values."""
        return {
            "teacher": self.teacher.resolved() if self.teacher else None,
            "students": [
                {"name": s.name, "architecture": dict(s.architecture), "variants": list(s.variants), **s.resolved()}
                for s in self.students
            ],
        }


def trained_teachers(plan: AnyTeacherRecipe | None) -> Sequence[tuple[str, TeacherRecipe]]:
    """The teachers that are trained here, with their names."""
    if isinstance(plan, TeacherRecipe):
        return [("teacher", plan)]
    if isinstance(plan, EnsembleRecipe):
        named = ((f"teacher-{i}", member.teacher) for i, member in enumerate(plan.members, 1))
        return [(name, teacher) for name, teacher in named if isinstance(teacher, TeacherRecipe)]
    return []


def stages(student: StudentRecipe) -> Sequence[str]:
    """What a student is called as it is taught, and after each of its methods."""
    names = [student.name]
    for method in student.methods:
        names.append(f"{names[-1]}-{method.kind}")
    return names


def _positive(recipe: Any, *names: str) -> None:
    for name in names:
        most = MOST_THREADS if name == "threads" else 1_000_000
        if not 1 <= getattr(recipe, name) <= most:
            raise BadInput(f"{name}: {getattr(recipe, name)}", hint=f"1 to {most}")


def _check_moments(mean: Sequence[float], std: Sequence[float]) -> None:
    if len(mean) != len(std) or any(value <= 0 for value in std):
        raise BadInput(f"mean {list(mean)}, std {list(std)}", hint="as many of each, and each std over 0")


_FAST = Schedule(batch=64, shift=1)

DEMO_TEACHER = TeacherRecipe({"name": "compact_cnn", "widths": [16, 32, 48, 64]}, epochs=4, schedule=_FAST, seed=1)
DEMO = Production(
    "digits",
    DEMO_TEACHER,
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
