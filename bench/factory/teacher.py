"""The teacher of the other tables: how right it is, and what it takes. Its weights and its answers are kept for them.

Rotation by up to 12 degrees, scale and shear by little, moves of up to 2 pixels: fresh in each epoch (cloud/factory/views.py).
"""

from __future__ import annotations

from dataclasses import asdict
from functools import cache

from bench.factory.kept import Kept, Row
from bench.factory.tables import Part, data
from bench.report import Figure, Table
from cloud.factory.answers import CachedAnswers
from cloud.factory.lesson import Lesson, Schedule
from cloud.factory.preparation import input_of
from cloud.factory.teachers import NetworkTeacher
from cloud.factory.training import Trained, accuracy_of, logits_of, taught
from cloud.factory.views import Augment
from cloud.factory.weights import load_weights, module_of, save_weights

SPEC = {"name": "compact_cnn", "widths": [32, 64, 96, 128], "strides": [2, 2, 1, 2], "stem": 5, "head": "map"}
EPOCHS, SEED = 12, 1
SCHEDULE = Schedule(batch=128, learning_rate=4e-3, weight_decay=1e-2, augment=Augment(copies=EPOCHS))
STUDENTS_SEE = Augment()
CODE = ("bench.factory.teacher", "cloud.factory.lesson", "cloud.factory.views", "littoral.architectures.compact_cnn")


def made(*, full: bool) -> Part:
    row = kept_row(kept := Kept("teacher"))
    table = Table(
        "The teacher",
        ("parameters", "epochs", "accuracy %", "worst class", "accuracy of it %", "training s"),
        [[row["parameters"], EPOCHS, 100 * row["accuracy"], row["worst"], 100 * row["worst_accuracy"], row["training_seconds"]]],
        ("60,000 training images, no other data; the test images are read once, at the end.",),
    )
    note = f"{row['parameters']:,} parameters, one seed, {row['training_seconds']:.0f} s on one thread"
    return Part(table, {"teacher_accuracy": Figure.of(row["accuracy"], "fraction", "higher", note)}, kept.seconds)


def kept_row(kept: Kept) -> Row:
    """Trains it if it is not there."""
    settings = {"spec": SPEC, "epochs": EPOCHS, "seed": SEED, "schedule": asdict(SCHEDULE), "data": data().digest}
    return kept.row("teacher", settings, CODE, lambda: _train(kept), trainings=["teacher"])


def _train(kept: Kept) -> Row:
    dataset = data()
    lesson = Lesson(dataset, checkpoints=kept.checkpoints, progress=kept.watch)
    trained = taught(lesson, SPEC, name="teacher", epochs=EPOCHS, schedule=SCHEDULE, seed=SEED)
    save_weights(kept.folder / "teacher.safetensors", trained.module, SPEC)
    logits = logits_of(trained.module, trained.input, dataset.test_x)
    right = logits.argmax(axis=1) == dataset.test_y
    classes = [float(right[dataset.test_y == c].mean()) for c in range(dataset.classes)]
    worst = min(range(dataset.classes), key=classes.__getitem__)
    return {
        "parameters": trained.parameters,
        "accuracy": accuracy_of(logits, dataset.test_y),
        "worst": dataset.labels[worst],
        "worst_accuracy": classes[worst],
        "training_seconds": round(kept.watch.of("teacher"), 1),
    }


def teacher() -> Trained:
    """The teacher as it was kept; trained first if it is not there."""
    kept = Kept("teacher")
    kept_row(kept)
    arrays, spec = load_weights(kept.folder / "teacher.safetensors")
    channels, height, width = data().shape
    module = module_of(spec, arrays, channels=channels, height=height, width=width, classes=data().classes)
    return Trained.of("teacher", module, spec, input_of(data()), kept.watch.of("teacher"))


@cache
def answers() -> CachedAnswers:
    """What it answers to the training images as they are and to their moved copies, kept on disk."""
    return CachedAnswers(NetworkTeacher.of(teacher()), data(), STUDENTS_SEE, Kept("teacher").folder / "answers")
