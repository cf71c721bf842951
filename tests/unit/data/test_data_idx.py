from __future__ import annotations

import gzip
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from littoral.errors import BadData, DigestMismatch, FleetError, NotFound
from littoral_cloud.data import load_dataset, load_mnist
from littoral_cloud.data.idx import read_idx


def idx(array: np.ndarray, kind: int = 0x08) -> bytes:
    return bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_set(folder: Path, *, zipped: bool = False, count: int = 8) -> Path:
    folder.mkdir(exist_ok=True)
    x, y = np.arange(count * 9, dtype=np.uint8).reshape(count, 3, 3), (np.arange(count) % 2).astype(np.uint8)
    for split in ("train", "t10k"):
        for name, array in (("images-idx3", x), ("labels-idx1", y)):
            data = idx(array)
            (folder / f"{split}-{name}-ubyte{'.gz' if zipped else ''}").write_bytes(gzip.compress(data) if zipped else data)
    return folder


@pytest.mark.parametrize("zipped", [False, True])
def test_four_files_are_a_data_set(tmp_path: Path, zipped: bool) -> None:
    data = load_dataset(write_set(tmp_path / "toys", zipped=zipped))
    assert (data.name, data.shape, data.classes, len(data.train_y)) == ("toys", (1, 3, 3), 2, 8)


def test_numbers_wider_than_a_byte_are_read_in_big_endian(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(idx(np.array([[1, -2], [3, 70000]], ">i4"), 0x0C))
    assert read_idx(tmp_path / "a").tolist() == [[1, -2], [3, 70000]]


def test_a_truncated_file_is_refused_with_the_bytes_wanted_and_held(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "toys")
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(BadData, match=r"train-images-idx3-ubyte: wants 72 bytes of values \(8x3x3\), holds 67") as refused:
        load_dataset(folder)
    assert "download it again" in refused.value.hint


def test_a_truncated_gzip_is_refused_by_name(tmp_path: Path) -> None:
    path = write_set(tmp_path / "toys", zipped=True) / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(BadData, match=r"t10k-labels-idx1-ubyte\.gz.*ends early"):
        load_dataset(path.parent)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "begins with nothing"),
        (b"\x89PNG\r\n", "not an IDX header"),
        (b"\0\0\x08\x03\0\0", "header wants 16 bytes, holds 6"),
        (idx(np.zeros(4, np.uint8)) + b"x", "holds more than 4"),
        (b"\0\0\x08\x04" + b"\xff" * 16, "more than there is memory"),
    ],
)
def test_what_is_not_idx_is_refused(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(BadData, match=words):
        read_idx(tmp_path / "file")


@settings(max_examples=150, deadline=None)
@given(
    data=st.one_of(
        st.binary(max_size=40),
        st.binary(max_size=30).map(lambda tail: b"\0\0\x08\x01" + tail),
        st.binary(max_size=30).map(lambda tail: b"\x1f\x8b" + tail),
    )
)
def test_whatever_the_bytes_are_the_answer_is_an_array_or_one_of_our_errors(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.idx"
    path.write_bytes(data)
    try:
        held = read_idx(path).nbytes
    except FleetError as error:
        said = error.message
    else:
        assert held <= len(data)
        return
    assert "any.idx" in said


def test_a_missing_file_of_the_four_is_named(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "toys")
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(NotFound, match="t10k-labels-idx1-ubyte"):
        load_dataset(folder)


def test_mnist_is_what_its_sums_say() -> None:
    data = load_mnist()
    assert (len(data.train_y), len(data.test_y), data.shape, data.labels) == (60_000, 10_000, (1, 28, 28), tuple("0123456789"))
    assert data.digest == "sha256:6de57c393938388b14c9b09cb2f0075f2759afe76d825a44e33c6df0122d1ca9"


def test_a_changed_byte_in_mnist_is_found(tmp_path: Path) -> None:
    source = Path(__file__).parents[3] / "data" / "mnist"
    folder = tmp_path / "mnist"
    shutil.copytree(source, folder)
    path = folder / "t10k-labels-idx1-ubyte.gz"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    with pytest.raises(DigestMismatch, match="t10k-labels"):
        load_mnist(folder)
    path.unlink()
    with pytest.raises(NotFound, match="SHA256SUMS names it"):
        load_mnist(folder)
    with pytest.raises(NotFound, match="MNIST"):
        load_mnist(tmp_path)
    with pytest.raises(DigestMismatch, match="toys"):
        load_mnist(write_set(tmp_path / "toys"))


@pytest.mark.parametrize(
    "names",
    [
        ("train-images.idx3-ubyte", "train-labels.idx1-ubyte", "t10k-images.idx3-ubyte", "t10k-labels.idx1-ubyte"),
        *(
            tuple(f"emnist-{split}-{what}-idx{rank}-ubyte" for split in splits for what, rank in (("images", 3), ("labels", 1)))
            for splits in (("letters-train", "letters-test"), ("balanced-train", "balanced-test"))
        ),
    ],
)
def test_other_names_of_the_four_files(tmp_path: Path, names: tuple[str, ...]) -> None:
    x, y = np.arange(72, dtype=np.uint8).reshape(8, 3, 3), (np.arange(8) % 2).astype(np.uint8)
    for name, array in zip(names, (x[:6], y[:6], x[6:], y[6:]), strict=True):
        (tmp_path / name).write_bytes(idx(array))
    data = load_dataset(tmp_path)
    assert (len(data.train_y), len(data.test_y)) == (6, 2)
    assert any("transposed" in said for said in data.reading) == names[0].startswith("emnist")


def test_several_sets_in_one_folder_are_named(tmp_path: Path) -> None:
    for called in ("letters", "digits"):
        (tmp_path / f"emnist-{called}-train-images-idx3-ubyte").write_bytes(idx(np.zeros((2, 3, 3), np.uint8)))
    with pytest.raises(BadData, match="holds 2 sets: emnist-digits, emnist-letters"):
        load_dataset(tmp_path)
