"""What a user may get wrong with train, release and demo: one line that names the thing and its value, one with the way out, the
exit code of its kind, and nothing written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from littoral.architectures import build
from littoral_cloud.cli import execute
from littoral_cloud.training.weights import save_weights

SPEC = {"name": "compact_cnn", "widths": [4, 8]}
STUDENT = '[[student]]\nname = "s"\narchitecture = { name = "compact_cnn", widths = [4, 8] }\nepochs = 1\nvariants = ["onnx"]\n'
X, Y = np.random.default_rng(0).integers(0, 255, (40, 8, 8), dtype=np.uint8), np.arange(40) % 4
BAD_INPUT, NOT_FOUND, NO_FIT = 2, 4, 6


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a good data set and a good network, which is also the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LITTORAL_DATA_DIR", str(tmp_path / "cloud"))
    np.savez(tmp_path / "good.npz", x=X, y=Y)
    save_weights(tmp_path / "good.safetensors", build(SPEC, channels=1, height=8, width=8, classes=4), SPEC)
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], code: int, *words: str) -> str:
    """What a command that must end with this code said on standard error."""
    assert execute(words) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert "Traceback" not in said.err
    assert said.err.startswith("error: ")
    assert "\n  hint: " in said.err
    return said.err


def written(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def npz(**arrays: object) -> None:
    np.savez("bad.npz", **arrays)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"x": X, "y": Y[:-1]}, "x has shape (40, 8, 8), y (39,)"),
        ({"x": X[..., None].repeat(3, -1), "y": Y}, "channels last"),
        ({"x": X[:, None].astype(np.float32), "y": Y}, "values are float32"),
        ({"x_train": X, "y_train": Y, "x_test": X[:, :7], "y_test": Y}, "training images are 1x8x8, test images 1x7x8"),
        ({"x_train": X, "y_train": Y, "x_test": X, "y_test": Y % 3}, "no example of '3' in the test split"),
        ({"x": X, "y": Y, "labels": np.array(["a", "b", "c"])}, "whole numbers from 0 to 2"),
        ({"x": X, "y": Y, "labels": np.array(["a", "b", "a", "c"])}, "two classes are called 'a'"),
        ({"x": X[:0], "y": Y[:0]}, "the training split is empty"),
        ({"x": X, "y": Y * 0}, "has one class only, '0'"),
        ({"x": X}, "holds x"),
        ({"pictures": X, "digits": Y}, "holds pictures, digits"),
        ({"x": np.array([{}] * 40), "y": Y}, "holds pickled objects, which are never read"),
    ],
)
def test_data_that_does_not_fit_together(
    here: Path, capsys: pytest.CaptureFixture[str], arrays: dict[str, object], complaint: str
) -> None:
    npz(**arrays)
    before = written(here)
    said = told(capsys, BAD_INPUT, "train", "--data", "bad.npz", "--model", "m", "--recipe", "tiny")
    assert complaint in said
    assert said.startswith("error: bad")
    assert written(here) == before


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"x": X[:, 0], "y": Y}, "compact_cnn takes images, the data are a table of shape [8]"),
        ({"x": X.astype(np.float32), "y": Y}, "compact_cnn takes images, the data are series of shape [8, 8]"),
    ],
)
def test_data_that_a_recipe_is_not_for(
    here: Path, capsys: pytest.CaptureFixture[str], arrays: dict[str, object], complaint: str
) -> None:
    npz(**arrays)
    assert complaint in told(capsys, BAD_INPUT, "train", "--data", "bad.npz", "--model", "m", "--recipe", "tiny")


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"\x80\x04.", b"\x80\x04\x95\x00."])
def test_a_data_file_that_is_damaged_or_a_pickle(here: Path, capsys: pytest.CaptureFixture[str], data: bytes) -> None:
    (here / "bad.npz").write_bytes(data)
    before = written(here)
    assert "bad.npz" in told(capsys, BAD_INPUT, "train", "--data", "bad.npz", "--model", "m")
    assert written(here) == before


def test_a_truncated_data_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "bad.npz").write_bytes((here / "good.npz").read_bytes()[:-30])
    assert "bad.npz: is damaged" in told(capsys, BAD_INPUT, "train", "--data", "bad.npz", "--model", "m")
    assert not (here / "cloud").exists()


@pytest.mark.parametrize(
    ("teacher", "code", "complaint"),
    [
        ('weights = "pickled.pt"', BAD_INPUT, "pickled.pt is a pickled torch file, which is never loaded"),
        ('weights = "cut.safetensors"', BAD_INPUT, "cut.safetensors is damaged or not safetensors"),
        ('weights = "gone.safetensors"', NOT_FOUND, "gone.safetensors does not exist"),
        ('weights = "folder"', BAD_INPUT, "folder cannot be read: Is a directory"),
        ('weights = "of-five.safetensors"', BAD_INPUT, "weights.classify.weight: shape is (5, 8), compact_cnn has (4, 8)"),
        ('onnx = "pickled.pt"', BAD_INPUT, "pickled.pt is damaged or not ONNX"),
    ],
)
def test_a_teacher_that_cannot_be_one(
    here: Path, capsys: pytest.CaptureFixture[str], teacher: str, code: int, complaint: str
) -> None:
    torch.save(build(SPEC, channels=1, height=8, width=8, classes=4).state_dict(), here / "pickled.pt")
    (here / "cut.safetensors").write_bytes((here / "good.safetensors").read_bytes()[:-9])
    (here / "folder").mkdir()
    save_weights(here / "of-five.safetensors", build(SPEC, channels=1, height=8, width=8, classes=5), SPEC)
    (here / "mine.toml").write_text(f"[teacher]\n{teacher}\n{STUDENT}")
    said = told(capsys, code, "train", "--data", "good.npz", "--model", "m", "--recipe", "mine.toml")
    assert complaint in said
    assert not list(here.rglob("*.part"))
    assert not (here / "cloud" / "blobs").exists()


@pytest.mark.parametrize(
    ("weights", "more", "code", "complaint"),
    [
        ("pickled.pt", (), BAD_INPUT, "pickled.pt is a pickled torch file"),
        ("cut.safetensors", (), BAD_INPUT, "cut.safetensors is damaged"),
        ("gone.safetensors", (), NOT_FOUND, "gone.safetensors does not exist"),
        ("gone.safetensors", ("--architecture", '{"name": "compact_cnn"}'), NOT_FOUND, "gone.safetensors does not exist"),
        (".", ("--architecture", '{"name": "compact_cnn"}'), BAD_INPUT, "weights: . cannot be read: Is a directory"),
    ],
)
def test_a_release_of_weights_that_cannot_be_read(
    here: Path, capsys: pytest.CaptureFixture[str], weights: str, more: tuple[str, ...], code: int, complaint: str
) -> None:
    torch.save({}, here / "pickled.pt")
    (here / "cut.safetensors").write_bytes((here / "good.safetensors").read_bytes()[:-9])
    before = written(here)
    command = ("release", "create", "--weights", weights, "--data", "good.npz", "--model", "m", *more)
    assert complaint in told(capsys, code, *command)
    assert written(here) == before


def test_a_release_of_weights_for_other_classes_or_another_size(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("three.npz", x=X, y=np.arange(40) % 3)
    np.savez("colour.npz", x=X[:, None].repeat(3, 1), y=Y)
    command = ("release", "create", "--weights", "good.safetensors", "--model", "m", "--data")
    assert "weights.classify.weight: shape is (4, 8), compact_cnn has (3, 8)" in told(capsys, BAD_INPUT, *command, "three.npz")
    assert "weights.features.conv1.weight: shape is (4, 1, 3, 3)" in told(capsys, BAD_INPUT, *command, "colour.npz")
    assert execute(["release", "list", "--format", "json"]) == 0
    assert capsys.readouterr().out == "[]\n"


# Folders below a file, below a device and in /proc cannot be written by root either.
@pytest.mark.parametrize("folder", ["good.npz/below", "/dev/null/below", "/proc/below"])
@pytest.mark.parametrize(
    "command",
    [("train", "--data", "good.npz", "--model", "m", "--recipe", "tiny"), ("token", "create")],
    ids=["train", "token"],
)
def test_a_data_folder_that_cannot_be_written(
    here: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...], folder: str
) -> None:
    before = written(here)
    said = told(capsys, BAD_INPUT, "--data-dir", folder, *command)
    assert f" {folder}" in said
    assert "cannot be written" in said
    assert "name another --data-dir" in said
    assert written(here) == before


@pytest.mark.parametrize("blocked", ["training", "answers"])
def test_a_checkpoint_or_answer_folder_that_cannot_be_written(
    here: Path, capsys: pytest.CaptureFixture[str], blocked: str
) -> None:
    (here / "cloud").mkdir()
    (here / "cloud" / blocked).write_text("a file where a folder is wanted")
    said = told(capsys, BAD_INPUT, "train", "--data", "good.npz", "--model", "m", "--recipe", "tiny")
    assert str(here / "cloud" / blocked) in said
    assert (here / "cloud" / blocked).read_text() == "a file where a folder is wanted"
    assert not list(here.rglob("*.part"))
    assert not (here / "cloud" / "blobs").exists()


@pytest.mark.parametrize("folder", ["good.npz/below", "/dev/null/below", "/proc/below"])
def test_a_demo_folder_that_cannot_be_written(here: Path, capsys: pytest.CaptureFixture[str], folder: str) -> None:
    before = written(here)
    said = told(capsys, BAD_INPUT, "demo", "--out", folder)
    assert said.startswith(f"error: out: {folder} cannot be written: ")
    assert written(here) == before


@pytest.mark.parametrize(
    ("teacher", "methods", "code", "complaint"),
    [
        ('onnx = "gone.onnx"', "", NOT_FOUND, "gone.onnx does not exist"),
        ('weights = "of-five.safetensors"', "", BAD_INPUT, "weights.classify.weight: shape is (5, 8)"),
        ('function = "nowhere_at_all:answer"', "", NOT_FOUND, "there is no module 'nowhere_at_all'"),
        ('function = "tests.kit.teachers:that_ends_the_process"', "", BAD_INPUT, "raised SystemExit: 0"),
        ('function = "tests.kit.teachers:by_rows"', "", BAD_INPUT, "gave shape (32, 3) for 32 images"),
        (
            'weights = "good.safetensors"',
            '[[student.method]]\nkind = "channels"\nepochs = 1\nskip = ["features.conv9"]',
            BAD_INPUT,
            "student s: channels: there is no layer 'features.conv9'",
        ),
    ],
)
def test_a_dry_run_tries_the_teacher_and_the_layer_names(
    here: Path, capsys: pytest.CaptureFixture[str], teacher: str, methods: str, code: int, complaint: str
) -> None:
    save_weights(here / "of-five.safetensors", build(SPEC, channels=1, height=8, width=8, classes=5), SPEC)
    (here / "mine.toml").write_text(f"[teacher]\n{teacher}\n{STUDENT}\n{methods}")
    before = written(here)
    said = told(capsys, code, "train", "--data", "good.npz", "--model", "m", "--recipe", "mine.toml", "--dry-run")
    assert complaint in said
    assert written(here) == before


def test_a_dry_run_of_what_is_well_says_what_would_be_made(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "mine.toml").write_text(f'[teacher]\nweights = "good.safetensors"\n{STUDENT}')
    before = written(here)
    assert execute(["train", "--data", "good.npz", "--model", "m", "--recipe", "mine.toml", "--dry-run"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-1].split() == ["s", "compact_cnn", "1", "-", "onnx"]
    assert execute(["train", "--data", "good.npz", "--model", "m", "--recipe", "mine.toml", "--dry-run", "--format", "json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    read = plan["read"]
    assert (read["kind"], sum(counts["train"] for counts in read["classes"].values())) == ("images", read["train"])
    assert plan["seconds"] > 0
    assert plan["disk_bytes"] > 0
    assert [student["student"] for student in plan["students"]] == ["s"]
    assert written(here) == before


def test_a_model_name_that_is_none(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = written(here)
    for command in (("train", "--recipe", "tiny"), ("release", "create", "--weights", "good.safetensors")):
        said = told(capsys, BAD_INPUT, *command, "--data", "good.npz", "--model", "My Model")
        assert "model: 'My Model' is no name" in said
    assert written(here) == before


@pytest.mark.slow
def test_a_student_that_learnt_nothing_is_released_with_a_warning(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All images of good.npz are black."""
    remark = "learnt nothing: right on 25.0% of the examples of a class in the mean, and guessing is on 25.0%"
    lost = "a class below chance: right on 0.0% of '1', and guessing is on 25.0%"
    command = ["train", "--data", "good.npz", "--model", "m", "--recipe", "tiny", "--yes"]
    assert execute(command[:-1]) == NO_FIT
    said = capsys.readouterr().err
    assert "no student is worth a release" in said
    assert "--yes" in said
    assert execute(["release", "show", "m-1"]) == NOT_FOUND
    capsys.readouterr()
    assert execute([*command, "--format", "json"]) == 0
    said = capsys.readouterr()
    assert f"warning: tiny-onnx-int8: {remark}\n" in said.err
    assert [row["remarks"] for row in json.loads(said.out)["students"]] == [[remark, lost], [remark, lost]]
    for words, table in ((command, True), (["release", "show", "m-1"], True), (["artifact", "list"], False)):
        assert execute(words) == 0
        said = capsys.readouterr()
        assert "REMARKS" in said.out
        assert said.out.count(remark) == 2
        assert (f"warning: tiny-ncnn-fp16: {remark}\n" in said.err) == table
    assert execute(["artifact", "show", "tiny-ncnn-fp16", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["remarks"] == [remark, lost]


@pytest.mark.parametrize(
    ("code", "command", "complaint", "hint"),
    [
        (NOT_FOUND, "artifact import gone.onnx --model m", "import: gone.onnx is not a file", "name an .onnx file"),
        (NOT_FOUND, "compress gone.toml --data good.npz", "gone.toml does not exist", "give a .toml file, or one of small"),
        (
            BAD_INPUT,
            "compress small --data good.npz --report good.npz/r",
            "--report: good.npz/r cannot be written",
            "name another",
        ),
        (BAD_INPUT, "up --http nonsense", "--http: 'nonsense' is not HOST:PORT", "for example 127.0.0.1:8080"),
    ],
)
def test_what_is_wrong_is_named_with_a_way_out_of_this_very_command(
    here: Path, capsys: pytest.CaptureFixture[str], code: int, command: str, complaint: str, hint: str
) -> None:
    before = written(here)
    said = told(capsys, code, *command.split())
    assert complaint in said
    assert f"hint: {hint}" in said
    assert written(here) == before


def test_programs_are_told_of_errors_in_json(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["artifact", "import", "gone.onnx", "--model", "m", "--format", "json"]) == NOT_FOUND
    error = json.loads(capsys.readouterr().err)["error"]
    assert error == {"code": "not-found", "message": "import: gone.onnx is not a file", "hint": "name an .onnx file"}
