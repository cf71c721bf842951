"""The labelled examples that a node holds: a folder of .npz files with arrays x and y, read in the order of their names.

x is raw as the model's clients send it: of images uint8, (n, H, W) or (n, C, H, W); of a table numbers, (n, features); of series
floats, (n, channels, steps). y holds n class numbers. Every fifth example is
held out: it judges models (probation, federated evaluation) and is never trained on.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from littoral.errors import BadData

HOLDOUT_EVERY = 5
_MOST_CLASS = 2**31 - 1  # a uint64 beyond int64 would come out negative
_WRITE = "write it with numpy.savez(path, x=..., y=...)"

Images = npt.NDArray[Any]  # uint8 images, or float32 rows of a table or series
Labels = npt.NDArray[np.int64]


def read_labelled(folder: Path, shape: tuple[int, ...]) -> tuple[Images, Labels]:
    """All examples of a folder, (n, *shape) uint8 of images and else float32, and (n,) int64.

    Args:
        shape: of one example, channels first, for example (1, 28, 28); (features,) or (channels, steps).

    Raises BadData, naming the file, where there is none or one is not what it must be.
    """
    parts = [_read(path, shape) for path in _files(folder)]
    if not parts:
        raise BadData(f"labelled data: no .npz file in {folder}", hint="put files with arrays x (uint8) and y (int) there")
    return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])


def split(x: Images, y: Labels) -> tuple[tuple[Images, Labels], tuple[Images, Labels]]:
    """(training part, held-out part): examples 5, 10, 15... in the order of the files are held out."""
    held = np.arange(len(y)) % HOLDOUT_EVERY == HOLDOUT_EVERY - 1
    return (x[~held], y[~held]), (x[held], y[held])


def count(folder: Path) -> int:
    """How many examples a folder holds, from the arrays' headers alone. 0 where there is no such folder.

    Raises BadData, naming the file, where one cannot be read.
    """
    return sum(_length(path) for path in _files(folder))


class Count:
    """How many examples a folder holds now; files are looked into again where one came, went or changed.

    A folder that cannot be read counts as None, like none at all, and is logged once for each of its states.
    """

    def __init__(self, folder: Path | None, log: Callable[..., None]) -> None:
        self._folder, self._log = folder, log
        self._seen: tuple[object, ...] | None = None
        self._held: int | None = None

    def __call__(self) -> int | None:
        if self._folder is None:
            return None
        try:
            seen = tuple((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in _files(self._folder))
            if seen != self._seen:
                self._seen, self._held = seen, self._counted(self._folder)  # at once: two threads may ask
        except OSError as error:
            self._log("labelled-unreadable", detail=str(error))
            return None
        return self._held

    def _counted(self, folder: Path) -> int | None:
        try:
            return count(folder)
        except BadData as error:
            self._log("labelled-unreadable", detail=str(error))
            return None


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.npz") if path.is_file())


def _length(path: Path) -> int:
    try:
        with zipfile.ZipFile(path) as archive, archive.open("y.npy") as member:
            version = np.lib.format.read_magic(member)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, _ = read(member)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise BadData(f"labelled data: {path}: {error}", hint=_WRITE) from error
    return int(shape[0]) if shape else 0


def _read(path: Path, shape: tuple[int, ...]) -> tuple[Images, Labels]:
    try:
        with path.open("rb") as file:  # numpy forgets to close what it opened and cannot read
            archive = np.load(file, allow_pickle=False)
            x, y = archive["x"], archive["y"]
    except (OSError, KeyError, IndexError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise BadData(f"labelled data: {path}: {error}", hint=_WRITE) from error
    images = len(shape) == 3
    if (x.dtype != np.uint8) if images else x.dtype.kind not in "iubf":
        raise BadData(f"labelled data: {path}: x must be {'uint8' if images else 'numbers'}, is {x.dtype}", hint=_WRITE)
    if y.ndim != 1 or not np.issubdtype(y.dtype, np.integer):
        raise BadData(f"labelled data: {path}: y must be one row of integers, is {y.dtype} of shape {y.shape}", hint=_WRITE)
    if len(x) != len(y):
        raise BadData(f"labelled data: {path}: {len(x)} examples but {len(y)} labels", hint="each example has one label")
    if len(y) and int(y.min()) < 0:
        raise BadData(
            f"labelled data: {path}: y holds {int(y.min())}; classes count from 0", hint="by the order of the model's labels"
        )
    return _finite(_shaped(x, shape, path), x, path), _classes(y, path)


def _finite(used: Images, read: npt.NDArray[Any], path: Path) -> Images:
    """As it is used: what is finite in float64 need not be in float32."""
    if used.dtype.kind == "f" and not (fine := np.isfinite(used)).all():
        first = tuple(int(i) for i in np.argwhere(~fine)[0])
        value = read[first]
        why = f"which float32 cannot hold, is x{list(first)}" if np.isfinite(value) else f"is x{list(first)}"
        raise BadData(f"labelled data: {path}: x holds a value that is not finite: {value}, {why}", hint="leave those rows out")
    return used


def _classes(y: npt.NDArray[Any], path: Path) -> Labels:
    if len(y) and int(y.max()) > _MOST_CLASS:
        raise BadData(f"labelled data: {path}: y holds {int(y.max())}", hint="classes count from 0, by the order of the labels")
    return y.astype(np.int64)


def _shaped(x: npt.NDArray[Any], shape: tuple[int, ...], path: Path) -> Images:
    if x.shape[1:] == shape:
        with np.errstate(over="ignore"):  # what overflows is found by _finite
            return np.asarray(x, np.uint8 if len(shape) == 3 else np.float32)
    if len(shape) == 3 and shape[0] == 1 and x.shape[1:] == shape[1:]:
        return np.asarray(x[:, None], np.uint8)
    raise BadData(
        f"labelled data: {path}: one example has shape {x.shape[1:]}, the model takes {shape}",
        hint="resize them before they are saved",
    )
