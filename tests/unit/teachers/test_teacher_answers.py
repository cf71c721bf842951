"""A teacher's answers on disk: asked once a copy, shared by threads and students, whole or computed again."""

from __future__ import annotations

import logging
import os
import resource
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from littoral.errors import BadInput, NoSpace, TooLarge
from littoral_cloud.data.dataset import Images
from littoral_cloud.teachers.function_teacher import FunctionTeacher
from littoral_cloud.teachers.logits import CachedLogits
from littoral_cloud.training.augmentation import Augment, Copy
from littoral_cloud.training.schedule import Logits, Schedule
from littoral_cloud.training.train import taught
from littoral_cloud.training.trainer import Trainer
from tests.kit.images import bars
from tests.kit.teachers import by_rows

DATA = bars()
MOVED = Augment(copies=3, shift=1.0)


class Counting:
    """by_rows, and how many images it was shown."""

    def __init__(self) -> None:
        self.shown = 0
        self._lock = threading.Lock()

    def __call__(self, images: Images) -> Logits:
        with self._lock:
            self.shown += len(images)
        return by_rows(images)


def cached(folder: Path, call: Callable[[Images], Logits] = by_rows, digest: str = "sha256:x", **more: object) -> CachedLogits:
    return CachedLogits(FunctionTeacher("rows", digest, 3, call), DATA, MOVED, folder, **more)  # type: ignore[arg-type]


def test_every_copy_has_the_answers_to_its_own_images(tmp_path: Path) -> None:
    answers = cached(tmp_path)
    everyone = np.arange(len(DATA.train_y))
    for copy in range(3):
        wanted = by_rows(Copy(DATA.train_x, MOVED, copy).take(everyone))
        assert (answers.of(copy) == wanted).all()  # computed
        assert (answers.of(copy) == wanted).all()  # read
        assert (cached(tmp_path).of(copy) == wanted).all()  # by another process, as it were
    assert (answers.of(1) != answers.of(0)).any()


def test_the_teacher_is_asked_once_whoever_asks_and_however_many_at_once(tmp_path: Path) -> None:
    teacher = Counting()
    answers = cached(tmp_path, teacher)
    together = threading.Barrier(6)

    def learn(place: int) -> float:
        together.wait()
        return float(answers.of(place % 2).sum())

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(learn, range(6)))
    assert teacher.shown == 2 * len(DATA.train_y)
    cached(tmp_path, teacher).make([0, 1])
    assert teacher.shown == 2 * len(DATA.train_y)


def test_another_teacher_data_set_or_way_of_moving_has_files_of_its_own(tmp_path: Path) -> None:
    teacher = FunctionTeacher("rows", "sha256:x", 3, by_rows)
    places = {
        cached(tmp_path).place(1),
        cached(tmp_path).place(2),
        cached(tmp_path, digest="sha256:y").place(1),
        CachedLogits(teacher, bars(seed=1), MOVED, tmp_path).place(1),
        CachedLogits(teacher, DATA, Augment(copies=3, shift=2.0), tmp_path).place(1),
        CachedLogits(teacher, DATA, Augment(copies=3, shift=1.0, seed=2), tmp_path).place(1),
    }
    assert len(places) == 6
    # Copy 0 is the images as they are, and how many copies there are changes none of them.
    assert CachedLogits(teacher, DATA, None, tmp_path).place(0) == cached(tmp_path).place(0)
    assert CachedLogits(teacher, DATA, Augment(copies=9, shift=1.0), tmp_path).place(1) == cached(tmp_path).place(1)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:100],
        lambda data: b"",
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: b"\x80\x04pickle",
        lambda data: save({"logits": np.zeros((2, 2), np.float32)}),
        lambda data: save({"other": np.zeros((2, 2), np.float32)}),
    ],
)
def test_a_damaged_file_is_computed_again_and_said(
    tmp_path: Path, damage: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    wanted = cached(tmp_path).of(0)
    place = cached(tmp_path).place(0)
    place.write_bytes(damage(place.read_bytes()))
    with caplog.at_level(logging.WARNING):
        assert (cached(tmp_path).of(0) == wanted).all()
    assert f"{place} is damaged and is computed again" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert (cached(tmp_path).of(0) == wanted).all()
    assert caplog.text == ""


def test_a_disk_that_is_full_is_said_before_the_teacher_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = Counting()
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 100})())
    with pytest.raises(NoSpace, match=r"3 copies need 6,912 bytes in .*, 100 are free"):
        cached(tmp_path / "not" / "there", teacher).make(range(3))
    assert teacher.shown == 0


def test_a_disk_that_becomes_full_leaves_nothing_half_written(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(NoSpace, match=r"2,304 bytes, cannot be written: File too large"):
            cached(tmp_path).of(0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []
    assert cached(tmp_path).of(0).shape == (192, 3)


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match=r"file/answers.* cannot be written"):
        cached(tmp_path / "file" / "answers").of(0)


def test_the_folder_stays_within_its_bound_and_keeps_what_was_used_last(tmp_path: Path) -> None:
    room = 3 * 2304 + 3000  # three files and their headers
    old = cached(tmp_path, digest="sha256:old", most_bytes=room)
    old.make([0, 1])
    for age, copy in enumerate((1, 0)):
        os.utime(old.place(copy), (100 + age, 100 + age))
    assert old.of(1).shape == (192, 3)  # used now
    cached(tmp_path, digest="sha256:new", most_bytes=room).make([0, 1])
    assert old.place(1).is_file()
    assert not old.place(0).exists()
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= room
    with pytest.raises(TooLarge, match="3 copies take 6,912 bytes"):
        cached(tmp_path, most_bytes=5000).make(range(3))


def test_a_teacher_that_answers_nonsense_is_refused(tmp_path: Path) -> None:
    class Nonsense(Counting):
        name, digest, parameters, seconds = "nonsense", "sha256:n", 0, 0.0

        def logits(self, x: Images) -> Logits:
            return np.full((len(x), 3), np.inf, np.float32)

    with pytest.raises(BadInput, match=r"nonsense gave .* not finite ones"):
        CachedLogits(Nonsense(), DATA, None, tmp_path).of(0)
    assert list(tmp_path.iterdir()) == []


def test_a_student_learns_from_them(tmp_path: Path) -> None:
    shown: list[int] = []
    answers = cached(tmp_path, asked=shown.append)
    trainer = Trainer(DATA, answers, alpha=0.0, beta=1.0, temperature=2.0)
    schedule = Schedule(batch=16, learning_rate=1e-2, augment=MOVED)
    student = taught(trainer, {"name": "compact_cnn", "widths": [4, 8]}, name="s", epochs=4, schedule=schedule, seed=1)
    assert sum(shown) == 3 * len(DATA.train_y)  # four epochs, three copies
    assert student.parameters > 0
