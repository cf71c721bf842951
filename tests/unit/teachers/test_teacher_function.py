"""A user's own function as teacher: found by name, tried before anything is trained, refused in words that name what it gave."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from littoral.errors import BadInput, NotFound
from littoral_cloud.recipes.own_function import imported
from littoral_cloud.recipes.recipe import FunctionRecipe
from littoral_cloud.teachers.function_teacher import FunctionTeacher
from tests.kit import teachers
from tests.kit.images import bars

DATA = bars()
HERE = "tests.kit.teachers"


def load(name: str, **more: object) -> FunctionTeacher:
    return FunctionTeacher.load(FunctionRecipe(f"{HERE}:{name}", **more), DATA)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["by_rows", "as_tensor", "Holder.answer"])
def test_arrays_and_tensors_become_float_logits(name: str) -> None:
    answers = load(name).logits(DATA.test_x)
    assert answers.dtype == np.float32
    np.testing.assert_allclose(answers, teachers.by_rows(DATA.test_x), rtol=1e-6)


def test_probabilities_are_turned_into_logits_where_they_are_promised() -> None:
    answers = load("as_probabilities", gives="probabilities").logits(DATA.test_x)
    wanted = teachers.by_rows(DATA.test_x)
    np.testing.assert_allclose(answers - answers.mean(1, keepdims=True), wanted - wanted.mean(1, keepdims=True), atol=1e-3)


@pytest.mark.parametrize(
    ("name", "gives", "said"),
    [
        ("as_probabilities", "logits", "gave probabilities"),
        ("by_rows", "probabilities", "do not sum to 1"),
        ("too_few_classes", "logits", r"shape \(64, 2\) for 64 images .*\(64, 3\) is wanted"),
        ("as_network", "logits", r"gave a network \(Linear\)"),
        ("as_words", "logits", "gave <U5 values"),
        ("with_a_hole", "logits", "not finite"),
        ("that_raises", "logits", r"raised RuntimeError: no such weights .*uint8 of shape \(64, 1, 12, 12\)"),
        ("that_ends_the_process", "logits", "raised SystemExit: 0"),
        ("left_in_training_mode", "logits", r"differently when it is asked again.*module\.eval\(\)"),
        ("NOT_CALLABLE", "logits", "is a int and cannot be called"),
    ],
)
def test_what_is_wrong_is_named(name: str, gives: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        load(name, gives=gives)


@pytest.mark.parametrize(
    ("path", "error", "said"),
    [
        ("tests.kit.teachers", BadInput, "not of the form package.module:function"),
        ("tests kit:by_rows", BadInput, "not of the form"),
        ("tests.kit.nowhere:by_rows", NotFound, "no module 'tests.kit.nowhere'"),
        (f"{HERE}:by_row", NotFound, "has no 'by_row' .*did you mean by_rows"),
        (f"{HERE}:Holder.ask", NotFound, "has no 'ask'"),
    ],
)
def test_a_name_that_leads_nowhere_says_how_far_it_led(path: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        imported(path)


def test_a_module_in_the_working_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "teacher_of_mine.py").write_text("def answer(images):\n    return images.reshape(len(images), -1)[:, :3] / 9.0\n")
    (tmp_path / "teacher_of_ruins.py").write_text("import a_package_that_nobody_has\n")
    (tmp_path / "teacher_of_typos.py").write_text("def answer(images)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["", *__import__("sys").path])
    teacher = FunctionTeacher.load(FunctionRecipe("teacher_of_mine:answer"), DATA)
    assert teacher.logits(DATA.test_x[:5]).shape == (5, 3)
    with pytest.raises(BadInput, match="importing teacher_of_ruins failed: No module named 'a_package_that_nobody_has'"):
        imported("teacher_of_ruins:answer")
    (tmp_path / "teacher_that_leaves.py").write_text("raise SystemExit(0)")
    with pytest.raises(BadInput, match="importing teacher_that_leaves failed: SystemExit: 0"):
        imported("teacher_that_leaves:answer")
    with pytest.raises(BadInput, match="importing teacher_of_typos failed: SyntaxError"):
        imported("teacher_of_typos:answer")


def test_a_function_may_not_change_the_images_it_is_shown() -> None:
    before = DATA.test_x.copy()

    def scribbles(images: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        answers = teachers.by_rows(images)
        images[:] = 0
        return answers

    FunctionTeacher("scribbles", "", 3, scribbles).logits(DATA.test_x)
    assert (before == DATA.test_x).all()


def test_its_digest_is_that_of_its_answers() -> None:
    assert load("by_rows").digest == load("by_rows").digest
    assert load("by_rows").digest != load("as_probabilities", gives="probabilities").digest
    other = FunctionTeacher.load(FunctionRecipe(f"{HERE}:by_rows"), bars(seed=3))
    assert load("by_rows").digest != other.digest
