"""NumPy's .npz: either x_train, y_train, x_test, y_test, or x and y, of which a test split is taken by a fixed rule.

Images, a table or series: see cloud/littoral_cloud/data/dataset.py for what tells them apart.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from littoral.errors import BadData, NotFound
from littoral_cloud.data.dataset import TEST_EVERY, Dataset, assemble, inputs_from, split_every
from littoral_cloud.data.labels import check_classes, labels_from
from littoral_cloud.data.room import check_claim

_SPLIT = ("x_train", "y_train", "x_test", "y_test")
_WHOLE = ("x", "y")


def load_npz(path: Path, *, name: str | None = None) -> Dataset:
    """A data set in one .npz file.

    Arrays `x_train`, `y_train`, `x_test`, `y_test`; or `x` and `y`, where of each class, in order, every fifth example becomes
    a test example (`split_every`). An optional `labels` names the classes that whole numbers in y stand for. x is what
    `assemble` takes. Nothing pickled is ever read.

    Raises:
        NotFound: no such file. BadData: damaged, pickled, an array is missing, or see assemble.
    """
    arrays = read_arrays(path, (*_SPLIT, *_WHOLE, "labels"))
    names = tuple(str(label) for label in arrays["labels"]) if "labels" in arrays else None
    called = name or path.stem
    if all(key in arrays for key in _SPLIT):
        return _read(assemble(called, *(arrays[key] for key in _SPLIT), labels=names))
    if all(key in arrays for key in _WHOLE):
        x, y = arrays["x"], arrays["y"]
        if x.ndim == 0 or y.ndim == 0 or len(x) != len(y):
            raise BadData(f"{path}: x has shape {x.shape}, y {y.shape}", hint="one label for each row of x, in one order")
        x, y = inputs_from(called, x), labels_from(called, y)  # the whole: a message counts rows as the file does
        check_classes(called, y)
        test = split_every(y, TEST_EVERY)
        return _read(assemble(called, x[~test], y[~test], x[test], y[test], labels=names))
    with np.load(path, allow_pickle=False) as whole:
        present = ", ".join(whole.files) or "nothing"
    raise BadData(f"{path}: holds {present}", hint=f"wanted are {', '.join(_SPLIT)}, or x and y")


def _read(dataset: Dataset) -> Dataset:
    """Adds a remark on how the arrays were read, where another reading is likely."""
    if dataset.kind != "series":
        return dataset
    channels, steps = dataset.shape
    remark = (
        f"floats of three dimensions are series: {channels} channels of {steps} steps; grey images are whole numbers, 0 to 255"
    )
    return replace(dataset, reading=(remark,))


def _claimed(path: Path, wanted: Collection[str] | None) -> int:
    """Bytes that the arrays take once they are unpacked, as the archive says."""
    with zipfile.ZipFile(path) as archive:
        held = archive.infolist()
    return sum(entry.file_size for entry in held if wanted is None or entry.filename.removesuffix(".npy") in wanted)


def read_arrays(path: Path, wanted: Collection[str] | None = None) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an .npz file by name; `wanted` None: all of them. Raises what load_npz raises."""
    hint = "write it again with numpy.savez(path, x_train=..., y_train=..., x_test=..., y_test=...)"
    try:
        with path.open("rb") as file:  # numpy leaves a file open that it could not read
            if file.read(2) not in (b"PK", b"\x93N", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
                raise BadData(f"{path}: is no .npz file ({path.stat().st_size} bytes)", hint=hint)
            file.seek(0)
            loaded = np.load(file, allow_pickle=False)
            if not isinstance(loaded, np.lib.npyio.NpzFile):
                raise BadData(f"{path}: is a single array, not an .npz file", hint=hint)
            with loaded:
                check_claim(str(path), _claimed(path, wanted), hint=hint)
                return {key: loaded[key] for key in loaded.files if wanted is None or key in wanted}
    except BadData:
        raise
    except FileNotFoundError as error:
        raise NotFound(f"{path}: no such file", hint="name a file, or a folder of images") from error
    except MemoryError as error:
        raise BadData(f"{path}: holds more than the memory can take: {error}", hint=hint) from error
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, KeyError, OverflowError, RuntimeError) as error:
        reason = "holds pickled objects, which are never read" if "pickle" in str(error).lower() else f"is damaged: {error}"
        raise BadData(f"{path}: {reason} ({path.stat().st_size} bytes)", hint=hint) from error
