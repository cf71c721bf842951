"""Folders of PNG and JPEG images, one folder a class."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from cloud.data.dataset import Dataset, Images, assemble, split_every
from littoral.errors import BadData

SUFFIXES = (".png", ".jpg", ".jpeg")
_ORIENTATION = 0x0112  # EXIF; from 5 on the image lies on its side
_GREY = ("1", "L", "I;16", "LA")


def load_image_folder(folder: Path, *, size: tuple[int, int] | None = None, name: str | None = None) -> Dataset:
    """A data set from `folder/CLASS/*.png|jpg`, or from `folder/train/CLASS/...` and `folder/test/CLASS/...`.

    Without train and test folders, of each class every fifth file by name becomes a test example. Grey images give one channel;
    as soon as one image has colour, all get three. Images of another size than `size` are scaled to fit, keeping their
    proportions, and centred on black.

    Args:
        size: (height, width) in pixels; None: the size that most images have (of equals the smallest).

    Raises:
        BadData: an image cannot be read (it is named), there is none, or see assemble.
    """
    called = name or folder.name
    if (folder / "train").is_dir() and (folder / "test").is_dir():
        train, test = _files(folder / "train"), _files(folder / "test")
        names = tuple(sorted({label for _, label in (*train, *test)}))
    else:
        every = _files(folder)
        names = tuple(sorted({label for _, label in every}))
        taken = split_every(np.array([label for _, label in every], dtype=np.str_))
        train = [file for file, is_test in zip(every, taken, strict=True) if not is_test]
        test = [file for file, is_test in zip(every, taken, strict=True) if is_test]
    if not train or not test:
        raise BadData(
            f"{folder}: the {'test' if train else 'training'} split has no image", hint="at least two images a class are needed"
        )
    looks = [_look(path) for path, _ in (*train, *test)]
    height, width = size or min(((n, s) for s, n in Counter(s for s, _ in looks).items()), key=lambda c: (-c[0], c[1]))[1]
    mode = "L" if all(grey for _, grey in looks) else "RGB"
    index = {label: i for i, label in enumerate(names)}
    x_train, x_test = (_stack([path for path, _ in split], mode, height, width) for split in (train, test))
    y_train, y_test = (np.array([index[label] for _, label in split], np.int64) for split in (train, test))
    return assemble(called, x_train, y_train, x_test, y_test, labels=names)


def is_image_folder(folder: Path) -> bool:
    return any(path.suffix.lower() in SUFFIXES for path in folder.glob("*/*")) or any(
        path.suffix.lower() in SUFFIXES for path in folder.glob("train/*/*")
    )


def _files(folder: Path) -> list[tuple[Path, str]]:
    """Images by class, then by name: the same order on every file system."""
    return [
        (path, kind.name)
        for kind in sorted(folder.iterdir())
        if kind.is_dir() and not kind.name.startswith(".")
        for path in sorted(kind.iterdir())
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    ]


def _look(path: Path) -> tuple[tuple[int, int], bool]:
    """((height, width), whether it is grey) without decoding the pixels."""
    with _opened(path) as image:
        width, height = image.size
        turned = image.getexif().get(_ORIENTATION, 1) >= 5
        return ((width, height) if turned else (height, width)), image.mode in _GREY


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """An open image; whatever pillow finds wrong with it, then or later, becomes BadData that names the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                yield image
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise BadData(
            f"{path}: cannot be read as an image ({path.stat().st_size} bytes held): {error}",
            hint="replace it or take it out of the folder",
        ) from error


def _stack(paths: Sequence[Path], mode: str, height: int, width: int) -> Images:
    channels = 1 if mode == "L" else 3
    stacked = np.zeros((len(paths), channels, height, width), np.uint8)
    for row, path in zip(stacked, paths, strict=True):
        with _opened(path) as opened:
            image = ImageOps.exif_transpose(opened).convert(mode)
            if image.size != (width, height):
                image = ImageOps.pad(image, (width, height), Image.Resampling.BILINEAR, color=0)
            row[:] = np.asarray(image, np.uint8).reshape(height, width, channels).transpose(2, 0, 1)
    return stacked
