"""Files as examples: PNG, JPEG, WebP, BMP, TIFF, AVIF, PGM, PPM and NPY images; NPY, JSON and CSV rows.

Images are resized and get the colours that the manifest demands. PGM, PPM and NPY need numpy alone; the other images need pillow
(`littoral[images]`), which is imported when the first of them is read.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from littoral.errors import BadData, BadInput, NotFound, TooLarge
from littoral.resize import resized
from littoral.signature import DATATYPES
from littoral.tensor_spec import TensorSpec
from littoral_node.client.model_info import ModelInfo

Array = npt.NDArray[Any]
MOST_BYTES = 64 * 1024 * 1024
"""Of one file, at most."""
_AGAIN = "save or copy it again: it is damaged"
_HEADER = re.compile(
    rb"(P[56])(?:\s+(?:#[^\n]*\n\s*)*)(\d{1,5})(?:\s+(?:#[^\n]*\n\s*)*)(\d{1,5})(?:\s+(?:#[^\n]*\n\s*)*)(\d{1,5})\s"
)


def examples(path: Path, info: ModelInfo) -> Array:
    """A file's content as the model takes it: (n, *shape), uint8 for pixels.

    Raises:
        NotFound: no such file. TooLarge: over MOST_BYTES.
        BadData: the content does not fit the name, or is cut off. BadInput: this model does not accept it.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise BadInput(f"{path}: is of an unknown kind", hint=f"known are {', '.join(sorted(_READERS))}")
    try:
        size = path.stat().st_size
    except OSError as error:
        raise NotFound(f"{path}: cannot be read: {error.strerror}", hint="name a file that this user may read") from error
    if size > MOST_BYTES:
        raise TooLarge(f"{path}: holds {size} bytes, at most {MOST_BYTES} are read", hint="make it smaller")
    if len(info.inputs) != 1:
        names = ", ".join(tensor.name for tensor in info.inputs)
        raise BadInput(
            f"model {info.model}: takes {len(info.inputs)} tensors, {names}; a file is one tensor", hint="use REST or gRPC"
        )
    values, pixels = reader(path)
    if pixels:
        return _sized(path, values, info) if info.own else _as_sent(path, values, info.inputs[0])
    return _shaped(path, values, info.shape) if info.own else _cast(path, values, info.inputs[0])


def is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGES


def _sized(path: Path, pixels: Array, info: ModelInfo) -> Array:
    if not info.images:
        raise BadInput(
            f"{path}: is an image, {info.model} takes rows of {math.prod(info.shape)} values",
            hint="give them as .csv, .json or .npy",
        )
    if pixels.shape == info.shape:
        return pixels[None]
    if info.resize is not None:
        try:
            return resized(pixels[None], info.shape, *info.resize)
        except BadInput as error:
            raise BadInput(f"{path}: {error.message}", hint=error.hint) from error
    if pixels.shape[1:] == info.shape[1:] and (pixels == pixels[:1]).all():  # grey, in one channel or in three: the same image
        return np.repeat(pixels[:1], info.shape[0], axis=0)[None]
    raise BadInput(
        f"{path}: is {_words(pixels.shape)}, {info.model} takes {_words(info.shape)}; its manifest has no rule to resize it",
        hint="resize it; or train with a resize rule in data.toml (docs/data.md)",
    )


def _as_sent(path: Path, pixels: Array, wanted: TensorSpec) -> Array:
    """Pixels for an imported model: only as uint8, because its manifest has no rule that turns pixels into other numbers."""
    for layout in (pixels[None], pixels.transpose(1, 2, 0)[None]):
        if wanted.datatype == "UINT8" and wanted.fits(layout.shape):
            return np.ascontiguousarray(layout)
    raise BadInput(
        f"{path}: is an image, {wanted.name} takes {wanted.datatype} {list(wanted.shape)}: the manifest has no rule that turns "
        "one into the other",
        hint="prepare it as the model's documentation demands, and give it as .npy",
    )


def _shaped(path: Path, values: Array, shape: tuple[int, ...]) -> Array:
    """One example or several; (height, width) for a model of grey images."""
    if values.shape == shape or (len(shape) == 3 and shape[0] == 1 and values.shape == shape[1:]):
        return values.reshape(1, *shape)
    if values.shape[1:] == shape and len(values):
        return values
    raise BadInput(
        f"{path}: holds {list(values.shape)}, wanted {list(shape)}, or several of them",
        hint="reshape it; several examples have one axis before",
    )


def _cast(path: Path, values: Array, wanted: TensorSpec) -> Array:
    kind = DATATYPES[wanted.datatype]
    if not np.can_cast(values.dtype, kind, "same_kind"):
        raise BadInput(f"{path}: holds {values.dtype}, {wanted.name} takes {wanted.datatype}", hint=f"save it as {kind.name}")
    for given in (values, values[None]):
        if wanted.fits(given.shape):
            return given.astype(kind)
    raise BadInput(
        f"{path}: holds {list(values.shape)}, {wanted.name} takes {list(wanted.shape)}", hint="-1 stands for any number"
    )


def _with_pillow(path: Path) -> tuple[Array, bool]:
    try:
        from littoral.pixels import opened, upright
    except ImportError as error:
        raise BadInput(
            f"{path}: {path.suffix} is read with pillow, which is not here: {error}",
            hint="pip install 'littoral[images]'; PGM, PPM and NPY need nothing",
        ) from error
    with opened(path) as image:
        return upright(image), True


def _netpbm(path: Path) -> tuple[Array, bool]:
    """PGM (P5) and PPM (P6), binary, 8 or 16 bits; of 16 bits the upper eight are used, as with PNG."""
    data = path.read_bytes()
    header = _HEADER.match(data)
    if header is None:
        raise BadData(f"{path}: is no binary PGM or PPM", hint="P5 or P6, with its width, height and largest value")
    channels, width, height, most = 3 if header[1] == b"P6" else 1, int(header[2]), int(header[3]), int(header[4])
    if not (width and height and 0 < most < 65536):
        raise BadData(f"{path}: header has {width} x {height}, largest value {most}", hint=_AGAIN)
    kind, count = np.dtype("u1" if most < 256 else ">u2"), channels * width * height
    if len(data) - header.end() < count * kind.itemsize:
        raise BadData(f"{path}: is cut off: {len(data) - header.end()} of {count * kind.itemsize} bytes of pixels", hint=_AGAIN)
    values = np.frombuffer(data, kind, count, header.end()).reshape(height, width, channels)
    if values.size and int(values.max()) > most:
        raise BadData(f"{path}: holds a pixel over {most}, the largest value in its header", hint=_AGAIN)
    whole = 255 if most < 256 else 65535
    full = values if most == whole else (values.astype(np.uint32) * whole + most // 2) // most
    eight = full if most < 256 else full.astype(np.uint32) >> 8
    return np.ascontiguousarray(eight.astype(np.uint8).transpose(2, 0, 1)), True


def _npy(path: Path) -> tuple[Array, bool]:
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BadData(f"{path}: is no .npy file, or cut off: {error}", hint="write it with numpy.save") from error
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "biuf":
        raise BadData(f"{path}: holds something else than numbers", hint="write an array of numbers with numpy.save")
    return values, values.dtype == np.uint8 and values.ndim == 3 and values.shape[0] in (1, 3)


def _json(path: Path) -> tuple[Array, bool]:
    try:
        return _numbers(path, json.loads(path.read_bytes())), False
    except (ValueError, RecursionError) as error:
        raise BadData(f"{path}: is not JSON: {error}", hint="[1.5, 2] or [[1.5, 2], [3, 4]]") from error


def _csv(path: Path) -> tuple[Array, bool]:
    """Skips a first line of names."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row]
        if rows and not any(_is_number(cell) for cell in rows[0]):
            del rows[0]
        return _numbers(path, [[float(cell) for cell in row] for row in rows]), False
    except (ValueError, csv.Error) as error:
        raise BadData(f"{path}: is no table of numbers: {error}", hint="a line an example, numbers by comma") from error


def _numbers(path: Path, body: Any) -> Array:
    try:
        values = np.asarray(body)
    except (ValueError, OverflowError) as error:
        raise BadData(
            f"{path}: rows are not all of one length", hint="an example has as many values as the model takes"
        ) from error
    if values.dtype.kind not in "iuf" or not values.size:
        raise BadData(f"{path}: holds something else than numbers", hint="[1.5, 2] or [[1.5, 2], [3, 4]]")
    return values.astype(np.float32) if values.dtype.kind == "f" else values


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _words(shape: tuple[int, ...]) -> str:
    channels, height, width = shape
    return (
        f"{'grey' if channels == 1 else 'in colour' if channels == 3 else f'{channels} channels'}, {width} wide and {height} high"
    )


_PILLOW = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".avif")
_READERS: Mapping[str, Callable[[Path], tuple[Array, bool]]] = {
    **dict.fromkeys(_PILLOW, _with_pillow),
    ".pgm": _netpbm,
    ".ppm": _netpbm,
    ".npy": _npy,
    ".json": _json,
    ".csv": _csv,
}
IMAGES = (*_PILLOW, ".pgm", ".ppm", ".npy")
