"""A recipe carried out: data set -> teacher -> its logits -> students -> measured artifacts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Lock

import numpy as np

from cloud.data.dataset import Dataset
from cloud.factory.lesson import Logits, Step
from cloud.factory.package import Bench, Packaged, candidates_from
from cloud.factory.recipes import Production, StudentRecipe
from cloud.factory.training import Trained, accuracy_of, cache_logits, distil, logits_of, train_teacher
from cloud.factory.weights import arrays_of, module_of, weights_digest

Share = Callable[[float], None]
"""Told how much of the whole is done, 0..1."""

# What steps cost relative to each other is not known beforehand; packaging is taken for this share of the whole.
_PACKAGING = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """All that came of one recipe. `packaged` is in the order of the recipe's students and their variants."""

    production: Production
    bench: Bench
    teacher: Trained
    teacher_accuracy: float  # of the network in torch, on the test split; a fraction
    students: tuple[Trained, ...]
    packaged: tuple[Packaged, ...]


def make_students(
    dataset: Dataset, recipe: Production, *, progress: Share = lambda _: None, clock: Callable[[], float] = time.perf_counter
) -> Made:
    """Carries out a recipe. The same recipe, data and machine give the same artifacts, byte for byte.

    Students are trained `recipe.at_once` at a time, each in a thread of one torch thread: on small batches torch leaves the
    interpreter free most of the time, and a second thread within a step costs more than it brings.

    Args:
        progress: called from several threads, one after another.

    Raises:
        BadInput: the recipe is wrong. TrainingDiverged, RuntimeFailure: see train_teacher, distil, candidates_from.
    """
    done = _Progress(recipe, len(dataset.train_y), progress)
    plan = recipe.teacher
    teacher = train_teacher(
        dataset,
        plan.architecture,
        epochs=plan.epochs,
        seed=plan.seed,
        schedule=plan.schedule,
        threads=plan.threads,
        progress=done.step,
        clock=clock,
    )
    logits = cache_logits(teacher, dataset.train_x, threads=plan.threads)

    def learn(student: StudentRecipe) -> Trained:
        return _learn(dataset, logits, student, done, clock)

    with ThreadPoolExecutor(recipe.at_once, "student") as pool:
        # The longest first, so that none is left alone at the end.
        ranked = sorted(recipe.students, key=lambda s: -s.epochs * len(dataset.train_y))
        futures = {student.name: pool.submit(learn, student) for student in ranked}
        students = tuple(futures[student.name].result() for student in recipe.students)
    bench = Bench.of(dataset)
    packaged = _package_all(recipe, bench, teacher, students, done)
    accuracy = accuracy_of(logits_of(teacher.module, teacher.input, dataset.test_x, threads=plan.threads), dataset.test_y)
    progress(1.0)
    return Made(recipe, bench, teacher, accuracy, students, packaged)


def ruin(made: Made, rng: np.random.Generator, variants: Sequence[str] = ("onnx-int8", "ncnn-fp16")) -> Made:
    """The same students with their weights shuffled after they were measured, and manifests that still claim what they were.

    What a fleet must survive: artifacts that are whole, signed, answer their own probe, and are wrong. For the demo and tests.
    """
    claimed = {packaged.manifest.name: packaged.manifest.accuracy for packaged in made.packaged}
    channels, height, width = made.bench.dataset.shape
    classes = made.bench.dataset.classes
    spoilt = []
    for student in made.students:
        arrays = {
            name: rng.permutation(array.reshape(-1)).reshape(array.shape) if array.ndim > 1 else array
            for name, array in arrays_of(student.module).items()
        }
        module = module_of(student.spec, arrays, channels=channels, height=height, width=width, classes=classes)
        spoilt.append(replace(student, module=module, digest=weights_digest(module)))
    production = replace(
        made.production,
        students=tuple(replace(s, variants=tuple(v for v in s.variants if v in variants)) for s in made.production.students),
    )
    packaged = tuple(
        replace(p, manifest=replace(p.manifest, accuracy=claimed[p.manifest.name]))
        for p in _package_all(production, made.bench, made.teacher, spoilt, _Progress(production, 1, lambda _: None))
    )
    return replace(made, production=production, students=tuple(spoilt), packaged=packaged)


def _learn(dataset: Dataset, logits: Logits, student: StudentRecipe, done: _Progress, clock: Callable[[], float]) -> Trained:
    return distil(
        dataset,
        logits,
        student.architecture,
        name=student.name,
        epochs=student.epochs,
        seed=student.seed,
        schedule=student.schedule,
        alpha=student.alpha,
        beta=student.beta,
        temperature=student.temperature,
        threads=student.threads,
        progress=done.step,
        clock=clock,
    )


def _package_all(
    recipe: Production, bench: Bench, teacher: Trained, students: Sequence[Trained], done: _Progress
) -> tuple[Packaged, ...]:
    packaged: list[Packaged] = []
    for plan, student in zip(recipe.students, students, strict=True):
        packaged += candidates_from(
            student.module,
            student.spec,
            bench.dataset,
            plan.variants,
            model=recipe.model,
            name=student.name,
            bench=bench,
            parents=(teacher.digest,),
            recipe={"student": plan.resolved(), "teacher": recipe.teacher.resolved()},
            progress=done.artifact,
        )
    return tuple(packaged)


class _Progress:
    """Adds up steps of several trainings, and artifacts, to one share."""

    def __init__(self, recipe: Production, examples: int, tell: Share) -> None:
        trainings: Mapping[str, int] = {
            "teacher": recipe.teacher.epochs * max(1, examples // recipe.teacher.schedule.batch),
            **{s.name: s.epochs * max(1, examples // s.schedule.batch) for s in recipe.students},
        }
        self._steps = sum(trainings.values())
        self._artifacts = max(1, sum(len(s.variants) for s in recipe.students))
        self._tell, self._lock = tell, Lock()
        self._stepped = self._packaged = 0

    def step(self, step: Step) -> None:
        with self._lock:
            self._stepped += 1
            if self._stepped % 50 == 0:
                self._say()

    def artifact(self, _: str) -> None:
        self._packaged += 1
        self._say()

    def _say(self) -> None:
        share = (1 - _PACKAGING) * self._stepped / self._steps + _PACKAGING * self._packaged / self._artifacts
        self._tell(min(share, 0.99))
