from __future__ import annotations

import contextlib
import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from littoral.errors import BadData, NotFound
from littoral.preparation import Resize
from littoral_cloud.data import load_dataset
from tests.kit.measured import rows


def test_an_npz_with_its_own_splits(tmp_path: Path) -> None:
    x, y = np.zeros((6, 5, 5), np.uint8), np.array([0, 1, 2] * 2)
    np.savez(tmp_path / "d.npz", x_train=x, y_train=y, x_test=x[:3], y_test=y[:3], labels=np.array(["a", "b", "c"]))
    data = load_dataset(tmp_path / "d.npz")
    assert (data.name, data.labels, len(data.train_y), len(data.test_y)) == ("d", ("a", "b", "c"), 6, 3)


def test_an_npz_without_splits_keeps_every_fifth_example_of_a_class_for_testing(tmp_path: Path) -> None:
    x = np.arange(20, dtype=np.uint8).reshape(20, 1, 1, 1).repeat(4, 2)
    np.savez(tmp_path / "d.npz", x=x, y=np.array([0, 1] * 10))
    data = load_dataset(tmp_path / "d.npz")
    assert sorted(data.test_x[:, 0, 0, 0].tolist()) == [8, 9, 18, 19]
    assert len(data.train_y) == 16


def test_a_pickle_in_an_npz_is_never_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.array([{"a": 1}], dtype=object), y=np.array([1]), allow_pickle=True)
    with pytest.raises(BadData, match=r"d\.npz: holds pickled objects, which are never read"):
        load_dataset(tmp_path / "d.npz")


def test_a_truncated_npz_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    np.savez(path, x=np.zeros((9, 4, 4), np.uint8), y=np.arange(9) % 2)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(BadData, match=r"d\.npz: is damaged"):
        load_dataset(path)
    path.write_bytes(b"")
    with pytest.raises(BadData, match=r"d\.npz"):
        load_dataset(path)
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(BadData, match="a single array"):
        load_dataset(path)


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_bytes_an_npz_holds_it_is_a_data_set_or_refused_by_name(tmp_path: Path, data: st.DataObject) -> None:
    held = io.BytesIO()
    np.savez(held, x=np.zeros((9, 4, 4), np.uint8), y=np.arange(9) % 2)
    changed = bytearray(held.getvalue())
    for place in data.draw(st.lists(st.integers(0, len(changed) - 1), min_size=1, max_size=4)):
        changed[place] = data.draw(st.integers(0, 255))
    path = tmp_path / "d.npz"
    path.write_bytes(bytes(changed)[: data.draw(st.integers(0, len(changed)))] if data.draw(st.booleans()) else bytes(changed))
    with contextlib.suppress(BadData):
        assert load_dataset(path).classes == 2


def test_an_npz_that_claims_more_than_there_is_memory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    with zipfile.ZipFile(path, "w") as whole:
        for name in ("x", "y"):
            header = io.BytesIO()
            np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (10**15, 4, 4)})
            whole.writestr(f"{name}.npy", header.getvalue())
    with pytest.raises(BadData, match=r"d\.npz: holds more than the memory can take"):
        load_dataset(path)


def test_an_npz_without_the_wanted_arrays_says_what_it_holds(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x_train=np.zeros(1), pictures=np.zeros(1))
    with pytest.raises(BadData, match="holds x_train") as refused:
        load_dataset(tmp_path / "d.npz")
    assert "y_train" in refused.value.hint


def picture(path: Path, colour: tuple[int, int, int] | int, size: tuple[int, int] = (8, 6)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB" if isinstance(colour, tuple) else "L", size, colour).save(path)


def test_folders_of_images_are_classes(tmp_path: Path) -> None:
    for i in range(5):
        picture(tmp_path / "birds" / "crow" / f"{i}.png", i)
        picture(tmp_path / "birds" / "gull" / f"{i}.PNG", 200 + i)
    (tmp_path / "birds" / "gull" / "notes.txt").write_text("not an image")
    data = load_dataset(tmp_path / "birds")
    assert (data.labels, data.shape, len(data.train_y), len(data.test_y)) == (("crow", "gull"), (1, 6, 8), 8, 2)
    assert data.test_x[:, 0, 0, 0].tolist() == [4, 204]


def grey_and_colour(folder: Path) -> Path:
    for split in ("train", "test"):
        for i in range(3):
            picture(folder / split / "a" / f"{i}.png", 7)
        picture(folder / split / "b" / "1.png", 250)
    picture(folder / "test" / "b" / "2.png", (255, 0, 0))
    return folder


def test_one_coloured_image_among_grey_ones_is_named_and_changes_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"test/b/2\.png is rgb, 8 of 9 images are grey") as refused:
        load_dataset(grey_and_colour(tmp_path))
    assert "data.toml" in refused.value.hint


def test_the_rule_says_what_colour_all_get(tmp_path: Path) -> None:
    folder = grey_and_colour(tmp_path)
    (folder / "data.toml").write_text('channels = "rgb"')
    data = load_dataset(folder)
    assert data.shape == (3, 6, 8)
    assert data.test_x[-1].mean(axis=(1, 2)).tolist() == [255, 0, 0]
    assert data.test_x[0].mean(axis=(1, 2)).tolist() == [7, 7, 7]
    (folder / "data.toml").write_text('channels = "grey"')
    grey = load_dataset(folder)
    assert grey.shape == (1, 6, 8)
    assert grey.test_x[-1, 0, 0, 0] == 76
    assert grey.resize == Resize("area", "pad")


def test_coloured_images_have_three_channels_without_a_rule(tmp_path: Path) -> None:
    for split in ("train", "test"):
        picture(tmp_path / split / "a" / "1.png", (0, 9, 0))
        picture(tmp_path / split / "b" / "1.jpg", (255, 0, 0))
    data = load_dataset(tmp_path)
    assert (data.shape, data.resize) == ((3, 6, 8), None)
    red, green, _ = data.test_x[1].mean(axis=(1, 2))
    assert red > 240
    assert green < 15


def sizes(folder: Path) -> Path:
    for name in ("a", "b"):
        for i in range(3):
            picture(folder / name / f"{i}.png", 100)
    picture(folder / "b" / "3.png", 100, size=(8, 8))
    return folder


def test_sizes_that_differ_want_a_rule(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"b/3\.png is 8 high and 8 wide, 6 of 7 images are 6 high and 8 wide") as refused:
        load_dataset(sizes(tmp_path))
    assert "resize = [16, 16] (or --resize 16)" in refused.value.hint


def test_by_the_rule_images_keep_their_proportions_on_black_or_are_stretched(tmp_path: Path) -> None:
    folder = sizes(tmp_path)
    (folder / "data.toml").write_text("resize = [6, 8]")
    data = load_dataset(folder)
    assert data.test_x[1, 0, 3].tolist() == [0, 100, 100, 100, 100, 100, 100, 0]
    (folder / "data.toml").write_text('resize = [4, 4]\nmethod = "bilinear"\nfit = "stretch"')
    data = load_dataset(folder)
    assert (data.shape, data.resize) == ((1, 4, 4), Resize("bilinear", "stretch"))
    assert (data.test_x == 100).all()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("resize = 28", "resize is 28"),
        ("resize = [28]", r"resize is \[28\]"),
        ("resize = [0, 28]", "resize is"),
        ("resize = [28.0, 28]", "resize is"),
        ("resize = [1000000, 28]", "resize is"),
        ('channels = "blue"', "channels is 'blue'"),
        ("method = 3", "method is 3"),
        ('fit = "crop"', "fit is 'crop'"),
        ("size = [1, 1]", "'size' is not known"),
        ("resize = [", "cannot be read"),
    ],
)
def test_a_rule_that_is_none_is_refused_by_its_key(tmp_path: Path, text: str, said: str) -> None:
    (sizes(tmp_path) / "data.toml").write_text(text)
    with pytest.raises(BadData, match=said):
        load_dataset(tmp_path)


def test_sixteen_bits_of_grey_keep_the_upper_eight(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for i in range(2):
            (tmp_path / name).mkdir(exist_ok=True)
            Image.fromarray(np.full((4, 4), 0x8001, np.uint16)).save(tmp_path / name / f"{i}.png")
    assert (load_dataset(tmp_path).train_x == 0x80).all()


def test_a_class_without_a_test_image_is_named(tmp_path: Path) -> None:
    for name in ("train/a", "train/b", "test/a"):
        picture(tmp_path / name / "1.png", 7)
    with pytest.raises(BadData, match="no example of 'b' in the test split"):
        load_dataset(tmp_path)


def test_a_table_and_series_in_an_npz(tmp_path: Path) -> None:
    x, y = rows(30)
    np.savez(tmp_path / "t.npz", x=x, y=y)
    data = load_dataset(tmp_path / "t.npz")
    assert (data.kind, data.shape, len(data.train_y), len(data.test_y)) == ("table", (5,), 24, 6)
    np.savez(tmp_path / "s.npz", x=np.zeros((9, 2, 40), np.float32), y=np.arange(9) % 3)
    assert (load_dataset(tmp_path / "s.npz").kind, load_dataset(tmp_path / "s.npz").shape) == ("series", (2, 40))


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for i in range(2):
            picture(tmp_path / name / f"{i}.png", 100, size=(64, 64))
    path = tmp_path / "b" / "1.png"
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(BadData, match=r"1\.png"):
        load_dataset(tmp_path)
    path.write_bytes(b"hello")
    with pytest.raises(BadData, match=r"1\.png: cannot be read as an image \(5 bytes\)"):
        load_dataset(tmp_path)


def test_an_image_folder_with_one_class_is_refused(tmp_path: Path) -> None:
    for i in range(4):
        picture(tmp_path / "only" / f"{i}.png", 100)
    with pytest.raises(BadData, match="one class only"):
        load_dataset(tmp_path)


def test_what_is_none_of_the_known_sources_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        load_dataset(tmp_path / "nowhere")
    with pytest.raises(BadData, match="holds nothing that can be read"):
        load_dataset(tmp_path)
    (tmp_path / "d.csv").write_text("1,2")
    with pytest.raises(BadData, match=r"is a \.csv file") as refused:
        load_dataset(tmp_path / "d.csv")
    assert ".npz" in refused.value.hint


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (np.arange(100), "100 different values in 100 rows, from 0 to 99"),
        (np.arange(100) * 7 % 83, "83 different values in 100 rows"),
        (np.arange(9), "9 different values in 9 rows, from 0 to 8"),
        (np.array([f"row {i}" for i in range(9)]), "9 different values in 9 rows, from row 0 to row 8"),
    ],
)
def test_a_label_for_nearly_every_row_is_no_class(tmp_path: Path, y: np.ndarray, words: str) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((len(y), 3)), y=y)
    with pytest.raises(BadData, match=words) as refused:
        load_dataset(tmp_path / "d.npz")
    assert "regression" in refused.value.hint


def test_what_is_no_file_is_not_waited_for_and_a_text_is_no_npz(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p.npz")
    for path in (tmp_path / "p.npz", Path("/dev/zero")):
        with pytest.raises(BadData, match="is no regular file"):
            load_dataset(path)
    (tmp_path / "t.npz").write_bytes(b"hi")
    with pytest.raises(BadData, match=r"is no \.npz file \(2 bytes\)"):
        load_dataset(tmp_path / "t.npz")


def test_a_class_whose_name_utf8_cannot_say_is_refused_by_name(tmp_path: Path) -> None:
    for label in (b"caf\xe9", b"lait"):
        folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + label))
        for i in range(2):
            picture(folder / f"{i}.png", 7)
    with pytest.raises(BadData, match=r"class 'caf\\udce9' is not UTF-8"):
        load_dataset(tmp_path)
