"""The teacher of the other tables: how right it is, and what it takes. Its weights and its answers are kept for them.

It is networks of one architecture, from other first weights and in another order, whose logits are averaged: L. K. Hansen,
P. Salamon: Neural Network Ensembles, 1990. Each alone is within a few images of the goal. Images are turned by up to 12 degrees,
scaled and sheared a little, and moved by up to 2 pixels, freshly in each epoch (cloud/littoral_cloud/training/augmentation.py).
"""

from __future__ import annotations

from dataclasses import asdict
from functools import cache

from bench.factory.kept import Kept, Row
from bench.factory.tables import Part, data
from bench.report import Cell, Figure, Table
from littoral.metric import worst_of
from littoral_cloud.packaging.metrics import class_accuracy
from littoral_cloud.teachers.logits import CachedLogits
from littoral_cloud.teachers.teacher import Ensemble, NetworkTeacher
from littoral_cloud.training.augmentation import Augment
from littoral_cloud.training.preparation import input_of
from littoral_cloud.training.schedule import Logits, Schedule
from littoral_cloud.training.train import Trained, accuracy_of, logits_of, taught
from littoral_cloud.training.trainer import Trainer
from littoral_cloud.training.weights import load_weights, module_of, save_weights

SPEC = {"name": "compact_cnn", "widths": [32, 64, 96, 128], "strides": [2, 2, 1, 2], "stem": 5, "head": "map"}
EPOCHS = 12
MEMBERS = {1: 0.0, 2: 0.0, 3: 0.05}
"""Seed to smoothing of the labels."""
SCHEDULE = Schedule(batch=128, learning_rate=4e-3, weight_decay=1e-2, augment=Augment(copies=EPOCHS))
STUDENTS_SEE = Augment()
CODE = (
    "bench.factory.teacher",
    "littoral_cloud.training.schedule",
    "littoral_cloud.training.trainer",
    "littoral_cloud.training.augmentation",
    "littoral.architectures.compact_cnn",
)


def made(*, full: bool) -> Part:
    kept = Kept("teacher")
    rows = {seed: member_row(kept, seed) for seed in MEMBERS}
    whole = kept.row(
        "ensemble", {"members": [row["digest"] for row in rows.values()]}, CODE, lambda: _judged(teacher().logits(data().test_x))
    )
    cells: list[list[Cell]] = [
        [f"seed {seed}", MEMBERS[seed], row["parameters"], EPOCHS, *_cells(row), row["training_seconds"]]
        for seed, row in rows.items()
    ]
    seconds = sum(row["training_seconds"] for row in rows.values())
    all_of_them = sum(row["parameters"] for row in rows.values())
    table = Table(
        "The teacher",
        ("network", "labels smoothed by", "parameters", "epochs", "accuracy %", "worst class", "accuracy of it %", "training s"),
        [*cells, ["the teacher: all", None, all_of_them, EPOCHS, *_cells(whole), round(seconds, 1)]],
        (
            "60,000 training images, no other data; the test images are read once, at the end.",
            "The students of the other tables are taught by the network of seed 1.",
        ),
    )
    note = f"{len(rows)} networks of {rows[1]['parameters']:,} parameters each, {seconds:.0f} s on one thread"
    return Part(table, {"teacher_accuracy": Figure.of(whole["accuracy"], "fraction", "higher", note)}, kept.seconds)


def _cells(row: Row) -> list[Cell]:
    return [round(100 * row["accuracy"], 2), row["worst"], round(100 * row["worst_accuracy"], 2)]


def member_row(kept: Kept, seed: int) -> Row:
    """Trains it if it is not there."""
    settings = {"spec": SPEC, "epochs": EPOCHS, "seed": seed, "schedule": asdict(SCHEDULE), "data": data().digest}
    settings |= {"smoothing": MEMBERS[seed]}
    return kept.row(f"member-{seed}", settings, CODE, lambda: _train(kept, seed), trainings=[f"teacher-{seed}"])


def _train(kept: Kept, seed: int) -> Row:
    name, dataset = f"teacher-{seed}", data()
    trainer = Trainer(dataset, smoothing=MEMBERS[seed], checkpoints=kept.checkpoints, progress=kept.watch)
    trained = taught(trainer, SPEC, name=name, epochs=EPOCHS, schedule=SCHEDULE, seed=seed)
    save_weights(kept.folder / f"{name}.safetensors", trained.module, SPEC)
    judged = _judged(logits_of(trained.module, trained.input, dataset.test_x))
    return judged | {
        "digest": trained.digest,
        "parameters": trained.parameters,
        "training_seconds": round(kept.watch.of(name), 1),
    }


def _judged(logits: Logits) -> Row:
    """On the test images."""
    dataset = data()
    classes = class_accuracy(logits, dataset.test_y, dataset.classes)
    name, accuracy = worst_of(dataset.labels, classes)
    return {"accuracy": accuracy_of(logits, dataset.test_y), "worst": name, "worst_accuracy": accuracy}


@cache
def teacher() -> Ensemble:
    """As it was kept; what is not there is trained first."""
    return Ensemble(tuple(NetworkTeacher.of(_member(seed)) for seed in MEMBERS), (1.0,) * len(MEMBERS))


def _member(seed: int) -> Trained:
    kept = Kept("teacher")
    member_row(kept, seed)
    arrays, spec = load_weights(kept.folder / f"teacher-{seed}.safetensors")
    channels, height, width = data().shape
    module = module_of(spec, arrays, channels=channels, height=height, width=width, classes=data().classes)
    return Trained.of(f"teacher-{seed}", module, spec, input_of(data()), kept.watch.of(f"teacher-{seed}"))


@cache
def answers(augment: Augment = STUDENTS_SEE) -> CachedLogits:
    """What its first network alone answers to the training images as they are and to their moved copies, kept on disk: half the
    time, and as right as makes a difference to a student."""
    return CachedLogits(NetworkTeacher.of(_member(1)), data(), augment, Kept("teacher").folder / "answers")
