"""IDX, the format of MNIST and its relatives (http://yann.lecun.com/exdb/mnist): two zero bytes, a type, a rank, the rank's
sizes as big-endian 32-bit numbers, then the values. Plain or gzipped."""

from __future__ import annotations

import gzip
import zlib
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from cloud.data.dataset import Dataset, assemble
from littoral.digest import digest_of_file, hex_of
from littoral.errors import BadData, DigestMismatch, NotFound

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_WAY_OUT = "download it again, or copy it again from where it is whole"
MAX_BYTES = 8 * 1024**3
SUMS = "SHA256SUMS"


def read_idx(path: Path) -> npt.NDArray[Any]:
    """The array in one IDX file, gzipped or not (told by its first bytes, not its name).

    Raises:
        BadData: not IDX, truncated, longer than its header says, or damaged gzip; names the file and the bytes wanted and held.
        NotFound: no such file.
    """
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            if not zipped:
                return _parse(path, raw)
            with gzip.open(raw) as unzipped:
                return _parse(path, unzipped)
    except FileNotFoundError as error:
        raise NotFound(f"{path}: no such file", hint="an IDX set is four files: train and t10k, images and labels") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BadData(
            f"{path}: the gzip data is damaged or ends early after {path.stat().st_size} bytes: {error}", hint=_WAY_OUT
        ) from error


def _parse(path: Path, file: IO[bytes] | gzip.GzipFile) -> npt.NDArray[Any]:
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _TYPES or not 1 <= head[3] <= 4:
        raise BadData(f"{path}: begins with {head.hex() or 'nothing'}, which is not an IDX header", hint=_WAY_OUT)
    dtype, rank = np.dtype(_TYPES[head[2]]), head[3]
    sizes = file.read(4 * rank)
    if len(sizes) < 4 * rank:
        raise BadData(f"{path}: header wants {4 + 4 * rank} bytes, holds {4 + len(sizes)}", hint=_WAY_OUT)
    shape = tuple(int(n) for n in np.frombuffer(sizes, ">u4"))
    wanted = prod(shape) * dtype.itemsize
    if wanted > MAX_BYTES:
        raise BadData(
            f"{path}: header says {'x'.join(map(str, shape))}, {wanted} bytes; at most {MAX_BYTES} are read", hint=_WAY_OUT
        )
    body = file.read(wanted + 1)
    if len(body) != wanted:
        held = f"{len(body)}" if len(body) < wanted else f"more than {wanted}"
        raise BadData(f"{path}: wants {wanted} bytes of values ({'x'.join(map(str, shape))}), holds {held}", hint=_WAY_OUT)
    return np.frombuffer(body, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def load_idx(folder: Path, *, name: str | None = None) -> Dataset:
    """The four files of an IDX set, under MNIST's names with or without ".gz": `train-images-idx3-ubyte`,
    `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte`, `t10k-labels-idx1-ubyte` (idx4 for images with channels). Where the
    folder holds SHA256SUMS, every file that it names is checked first.

    Raises:
        NotFound: one of the four is missing. BadData: see read_idx and assemble. DigestMismatch: a file is not what
            SHA256SUMS says.
    """
    if (folder / SUMS).exists():
        check_sums(folder)
    train_x, test_x = (read_idx(_one(folder, split, ("images-idx3-ubyte", "images-idx4-ubyte"))) for split in ("train", "t10k"))
    train_y, test_y = (read_idx(_one(folder, split, ("labels-idx1-ubyte",))) for split in ("train", "t10k"))
    return assemble(name or folder.name, train_x, train_y, test_x, test_y)


def is_idx_folder(folder: Path) -> bool:
    return any(folder.glob("train-images-idx[34]-ubyte*"))


def check_sums(folder: Path) -> None:
    """Checks each file that SHA256SUMS names. Raises DigestMismatch, NotFound or BadData, naming the file."""
    for number, line in enumerate((folder / SUMS).read_text().splitlines(), 1):
        wanted, _, file_name = line.strip().partition(" ")
        file_name = file_name.strip().removeprefix("*")
        if not line.strip():
            continue
        if len(wanted) != 64 or not file_name:
            raise BadData(f"{folder / SUMS}: line {number} is not a SHA-256 and a file name", hint=_WAY_OUT)
        path = folder / file_name
        if not path.is_file():
            raise NotFound(f"{path}: no such file, but {SUMS} names it", hint=_WAY_OUT)
        if (held := hex_of(digest_of_file(path))) != wanted:
            raise DigestMismatch(f"{path}: SHA-256 is {held[:16]}..., {SUMS} says {wanted[:16]}...", hint=_WAY_OUT)


def _one(folder: Path, split: str, stems: tuple[str, ...]) -> Path:
    for stem in stems:
        for suffix in ("", ".gz"):
            if (path := folder / f"{split}-{stem}{suffix}").is_file():
                return path
    raise NotFound(
        f"{folder}: has no {split}-{stems[0]} (.gz)", hint="an IDX set is four files: train and t10k, images and labels"
    )
