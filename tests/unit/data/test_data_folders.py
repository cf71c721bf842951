"""Folders of images as people have them: what is read, what is left out, and what is said of it."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from littoral.errors import BadData, BadInput
from littoral_cloud.data.dataset import Dataset
from littoral_cloud.data.image_folder import keep_rule, read_rule, sized, usual_side
from littoral_cloud.data.repeats import repeated
from littoral_cloud.data.sources import load_dataset
from tests.kit.images import bars


def picture(path: Path, shade: int = 7, size: tuple[int, int] = (6, 6)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, shade).save(path)
    return path


def two_classes(folder: Path, each: int = 3, ending: str = "png") -> Path:
    for label, shade in (("a", 7), ("b", 200)):
        for i in range(each):
            picture(folder / label / f"{i}.{ending}", shade + i)
    return folder


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "bmp", "tif", "avif"])
def test_what_pillow_reads_is_read(tmp_path: Path, ending: str) -> None:
    if ending == "avif" and not features.check("avif"):
        pytest.skip("this pillow reads no AVIF")
    data = load_dataset(two_classes(tmp_path, ending=ending))
    assert (data.shape, len(data.train_y), len(data.test_y), data.reading) == ((1, 6, 6), 4, 2, ())


def test_a_grey_image_in_a_format_without_grey_goes_with_grey_ones_and_with_coloured_ones(tmp_path: Path) -> None:
    for name in ("grey/a/0.png", "grey/a/1.webp", "grey/b/0.webp", "grey/b/1.png", "mixed/a/1.webp", "mixed/b/1.webp"):
        picture(tmp_path / name, 90)
    for name in ("a", "b"):
        Image.new("RGB", (6, 6), (200, 10, 10)).save(tmp_path / "mixed" / name / "0.png")
    assert load_dataset(tmp_path / "grey").shape == (1, 6, 6)
    assert (load_dataset(tmp_path / "grey").train_x == 90).all()
    assert load_dataset(tmp_path / "mixed").shape == (3, 6, 6)


@pytest.mark.parametrize(
    ("kind", "value"),
    [(2, b"6\0\0\0"), (7, b"\6\0\0\0"), (3, b"\7\xff\0\0"), (12, b"\0\0\0\0"), (4, b"\6\0\0\0"), (99, b"\6\0\0\0")],
)
def test_an_orientation_of_any_type_turns_the_image_or_does_not(tmp_path: Path, kind: int, value: bytes) -> None:
    exif = b"Exif\0\0II*\0" + struct.pack("<IHHHI", 8, 1, 0x0112, kind, 1) + value + struct.pack("<I", 0)
    folder = two_classes(tmp_path, ending="jpg")
    with Image.open(folder / "a" / "0.jpg") as image:
        image.save(folder / "a" / "0.jpg", exif=exif)
    assert load_dataset(folder).shape == (1, 6, 6)


def test_an_image_on_its_side_is_put_upright(tmp_path: Path) -> None:
    for label in "ab":
        for i in range(2):
            picture(tmp_path / label / f"{i}.jpg", size=(8, 4))
    lying = Image.new("L", (4, 8), 7)
    lying.save(tmp_path / "a" / "0.jpg", exif=b"Exif\0\0II*\0" + struct.pack("<IHHHII", 8, 1, 0x0112, 3, 1, 6) + bytes(4))
    assert load_dataset(tmp_path).shape == (1, 4, 8)


def test_what_is_left_out_is_counted_with_the_first_ones_name(tmp_path: Path) -> None:
    folder = two_classes(tmp_path / "photos")
    picture(folder / "b" / "more" / "x.png")
    picture(folder / "b" / "more" / "much" / "y.png")
    picture(folder / "loose.png")
    for name in ("a/notes.txt", "a/film.mov", "b/IMG.HEIC", "b/IMG2.heic"):
        (folder / name).write_bytes(b"?")
    picture(tmp_path / "elsewhere.png", 9)
    (folder / "a" / "9.png").symlink_to(tmp_path / "elsewhere.png")
    (folder / "a" / "8.png").symlink_to(folder / "a" / "0.png")
    (folder / "b" / "broken.png").symlink_to(tmp_path / "nothing.png")
    data = load_dataset(folder)
    assert len(data.train_y) + len(data.test_y) == 8
    assert data.reading == (
        "1 images in no class's folder are left out (first: loose.png)",
        "2 images in deeper folders are left out (first: b/more/much/y.png)",
        "1 are no regular files (pipes, sockets, broken links), and are left out (first: b/broken.png)",
        "4 files are left out: 2 .heic, 1 .mov, 1 .txt; read are .png, .jpg, .jpeg, .webp, .bmp, .tif, .tiff"
        f"{', .avif' if features.check('avif') else ''} (first: a/film.mov)",
        "1 images are links out of the folder, and are read from there (first: a/9.png)",
    )
    assert data.without(np.arange(len(data.train_y)) == 0).reading == data.reading


def test_pipes_and_sockets_are_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = two_classes(tmp_path)
    os.mkfifo(folder / "a" / "pipe.png")
    monkeypatch.chdir(folder / "b")  # the name of a socket is short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.png")
        assert "2 are no regular files" in load_dataset(folder).reading[0]


def test_a_class_whose_images_all_lie_deeper_says_so(tmp_path: Path) -> None:
    folder = two_classes(tmp_path)
    for i in range(4):
        picture(folder / "c" / "more" / f"{i}.png")
    with pytest.raises(BadData, match=r"c: has no image, and would be a class; 4 images lie deeper"):
        load_dataset(folder)


@pytest.mark.parametrize(("train", "test"), [("train", "test"), ("Train", "Test"), ("training", "TESTING")])
def test_splits_go_by_their_usual_names(tmp_path: Path, train: str, test: str) -> None:
    two_classes(tmp_path / train, 4)
    two_classes(tmp_path / test, 2)
    two_classes(tmp_path / "val", 1)
    data = load_dataset(tmp_path)
    assert (len(data.train_y), len(data.test_y)) == (8, 4)
    assert data.reading == (f"val/ beside {train}/ is left out, with 2 images",)


def test_a_validation_split_is_the_test_split_where_there_is_none(tmp_path: Path) -> None:
    two_classes(tmp_path / "train", 4)
    two_classes(tmp_path / "val", 2)
    data = load_dataset(tmp_path)
    assert (len(data.train_y), len(data.test_y), data.labels) == (8, 4, ("a", "b"))
    assert data.reading == ("val/ is the test split: there is no test/",)


def test_a_training_split_alone_gives_a_test_split_by_the_rule(tmp_path: Path) -> None:
    two_classes(tmp_path / "train", 5)
    data = load_dataset(tmp_path)
    assert (len(data.train_y), len(data.test_y), data.labels) == (8, 2, ("a", "b"))
    assert "every fifth image" in data.reading[0]


def test_classes_may_be_called_train_and_test(tmp_path: Path) -> None:
    for label, shade in (("train", 7), ("test", 200)):
        for i in range(3):
            picture(tmp_path / label / f"{i}.png", shade)
    assert load_dataset(tmp_path).labels == ("test", "train")


def test_images_of_as_many_sizes_are_said_to_be_with_a_size_that_suits_them(tmp_path: Path) -> None:
    for i in range(12):
        picture(tmp_path / "ab"[i % 2] / f"{i:02}.png", size=(60 + i, 70 + 2 * i))
    with pytest.raises(BadData, match="12 images have 12 sizes") as refused:
        load_dataset(tmp_path)
    assert "resize = [64, 64] (or --resize 64)" in refused.value.hint
    assert load_dataset(tmp_path, rule=sized(tmp_path, "64")).shape == (1, 64, 64)
    assert not (tmp_path / "data.toml").exists()
    (tmp_path / "data.toml").write_text('channels = "rgb"\n')
    assert keep_rule(tmp_path, sized(tmp_path, "48x64"))
    assert not keep_rule(tmp_path, sized(tmp_path, "48x64"))
    assert (read_rule(tmp_path).size, load_dataset(tmp_path).shape) == ((48, 64), (3, 48, 64))
    with pytest.raises(BadInput, match=r"is not what .* says: \[48, 64\]"):
        sized(tmp_path, "64")


@pytest.mark.parametrize("text", ["", "64x", "x64", "0", "64x0", "-3", "9999999", "64 x 64", "big"])
def test_what_is_no_size_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadInput, match="is no size"):
        sized(two_classes(tmp_path), text)


def test_the_proposed_side_is_never_larger_than_most_images() -> None:
    assert usual_side([(10, 90)]) == 16
    assert usual_side([(31, 31), (31, 40), (500, 500)]) == 28
    assert usual_side([(4_000, 3_000)] * 3) == 224


def with_x(data: Dataset, train_x: np.ndarray, test_x: np.ndarray) -> Dataset:
    from littoral_cloud.data.dataset import assemble

    return assemble("d", train_x, data.train_y, test_x, data.test_y, labels=data.labels)


def test_examples_that_lie_there_twice_are_counted() -> None:
    data = bars(60)
    assert repeated(data) == []
    train_x, test_x = data.train_x.copy(), data.test_x.copy()
    test_x[:3] = train_x[:3]  # the labels go round in threes, in both splits
    train_x[6] = train_x[3]
    train_x[10] = train_x[3]
    assert repeated(with_x(data, train_x, test_x)) == [
        "3 of 12 test examples are among the training examples too: the accuracy says too much",
        "2 of 48 training examples repeat another one",
        "1 examples lie there under more than one label",
    ]
