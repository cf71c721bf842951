"""IDX, the format of MNIST and its relatives (http://yann.lecun.com/exdb/mnist): two zero bytes, a type, a rank, the rank's
sizes as big-endian 32-bit numbers, then the values. Plain or gzipped."""

from __future__ import annotations

import gzip
import re
import zlib
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from littoral.digest import digest_of_file, hex_of
from littoral.errors import BadData, DigestMismatch, NotFound
from littoral_cloud.data.dataset import Dataset, assemble
from littoral_cloud.data.room import check_claim

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_WAY_OUT = "download it again, or copy it again from where it is whole"
SUMS = "SHA256SUMS"
_NAME = re.compile(r"(?:(?P<set>.+?)-)?(?P<split>train|t10k|test)-(?P<what>images|labels)[-.]idx[134]-ubyte(?:\.gz)?")


def read_idx(path: Path) -> npt.NDArray[Any]:
    """The array in one IDX file, gzipped or not (its first bytes decide, not its name).

    Raises:
        BadData: not IDX, truncated, longer than its header says, or damaged gzip; names the file and both sizes in bytes.
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
    check_claim(f"{path} ({'x'.join(map(str, shape))})", wanted, hint=_WAY_OUT)
    body = file.read(wanted + 1)
    if len(body) != wanted:
        found = f"{len(body)}" if len(body) < wanted else f"more than {wanted}"
        raise BadData(f"{path}: wants {wanted} bytes of values ({'x'.join(map(str, shape))}), holds {found}", hint=_WAY_OUT)
    return np.frombuffer(body, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def load_idx(folder: Path, *, name: str | None = None) -> Dataset:
    """The four files of an IDX set, under MNIST's names with or without ".gz": `train-images-idx3-ubyte`,
    `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte`, `t10k-labels-idx1-ubyte` (idx4 for images with channels); also with a
    dot in place of the dash (`train-images.idx3-ubyte`), `test` in place of `t10k`, and the set's name in front, as EMNIST has
    them (`emnist-letters-train-images-idx3-ubyte.gz`). Where the folder holds SHA256SUMS, every file that it names is checked
    first.

    Raises:
        NotFound: one of the four is missing. BadData: the folder holds several sets; see read_idx and assemble. DigestMismatch: a
            file is not what SHA256SUMS says.
    """
    if (folder / SUMS).exists():
        check_sums(folder)
    files = _files(folder)
    sets = sorted({called for called, _, _ in files})
    if len(sets) > 1:
        raise BadData(
            f"{folder}: holds {len(sets)} sets: {', '.join(called or 'one without a name' for called in sets)}",
            hint="put the four files of one of them into a folder of their own",
        )
    read = {}
    for split in ("train", "test"):
        for what in ("images", "labels"):
            if (path := files.get((sets[0], split, what)) if sets else None) is None:
                usual = f"{'train' if split == 'train' else 't10k'}-{what}-idx{3 if what == 'images' else 1}-ubyte"
                raise NotFound(
                    f"{folder}: has no {usual} (.gz)", hint="an IDX set is four files: train and t10k, images and labels"
                )
            read[split, what] = read_idx(path)
    made = assemble(
        name or folder.name, read["train", "images"], read["train", "labels"], read["test", "images"], read["test", "labels"]
    )
    lying = "EMNIST stores its images transposed: nodes must be sent images that lie in the same way"
    return replace(made, reading=(lying,)) if sets[0].startswith("emnist") else made


def is_idx_folder(folder: Path) -> bool:
    return any((split, what) == ("train", "images") for _, split, what in _files(folder))


def _files(folder: Path) -> dict[tuple[str, str, str], Path]:
    """By the set's name ("": none), the split and what is in them. One that lies plain goes before its .gz."""
    found: dict[tuple[str, str, str], Path] = {}
    for path in sorted(folder.iterdir()):
        if (match := _NAME.fullmatch(path.name)) is not None and path.is_file():
            split = "train" if match["split"] == "train" else "test"
            found.setdefault((match["set"] or "", split, match["what"]), path)
    return found


def check_sums(folder: Path) -> None:
    """Checks each file that SHA256SUMS names. Raises DigestMismatch, NotFound or BadData, naming the file."""
    for number, line in enumerate((folder / SUMS).read_text(encoding="utf-8").splitlines(), 1):
        wanted, _, file_name = line.strip().partition(" ")
        file_name = file_name.strip().removeprefix("*")
        if not line.strip():
            continue
        if len(wanted) != 64 or not file_name:
            raise BadData(f"{folder / SUMS}: line {number} is not a SHA-256 and a file name", hint=_WAY_OUT)
        path = folder / file_name
        if not path.is_file():
            raise NotFound(f"{path}: no such file, but {SUMS} names it", hint=_WAY_OUT)
        if (found := hex_of(digest_of_file(path))) != wanted:
            raise DigestMismatch(f"{path}: SHA-256 is {found[:16]}..., {SUMS} says {wanted[:16]}...", hint=_WAY_OUT)
