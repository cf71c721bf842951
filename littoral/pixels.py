"""Image files as pixels, the same for training in the cloud and for requests on nodes.

It only decodes: grey images become one channel, colour images three; it drops transparency and the lower eight of 16 bits, and
applies an EXIF orientation. Needs pillow, which the agent itself never imports.
"""

from __future__ import annotations

import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, features

from littoral.errors import BadData

GREY = ("1", "L", "I;16", "LA")
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", *(("AVIF",) if features.check("avif") else ()))
"""Formats to try, for any file name."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", *((".avif",) if "AVIF" in FORMATS else ()))
COLOUR_ALONE = ("WEBP", "AVIF")
"""Formats that have no grey of their own: a grey image is one whose channels are equal."""
_ORIENTATION = 0x0112  # EXIF; from 5 on the image lies on its side


@contextmanager
def opened(path: Path, formats: tuple[str, ...] = FORMATS) -> Iterator[Image.Image]:
    """An open image; every fault of it, now or later, becomes BadData with the name of the file.

    Args:
        formats: that may be tried, for example ("PNG", "JPEG").
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise BadData(f"{path}: is no regular file", hint="replace it or take it out of the folder")
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=formats) as image:
                yield image
    except BadData:
        raise
    except Exception as error:
        size = path.stat().st_size if path.exists() else 0
        raise BadData(
            f"{path}: cannot be read as an image ({size} bytes): {str(error) or type(error).__name__}",
            hint="replace it or take it out of the folder",
        ) from error


def size_of(image: Image.Image) -> tuple[int, int]:
    """(height, width) of an open image, as it is meant to be looked at; its pixels are not decoded."""
    wide, high = image.size
    turned = image.getexif().get(_ORIENTATION, 1)  # of any type: files say what they like
    return (wide, high) if isinstance(turned, int) and 5 <= turned <= 8 else (high, wide)


def is_grey(image: Image.Image) -> bool:
    """Whether its channels are equal in every pixel, but for what a lossy coder changes."""
    pixels = np.asarray(image.convert("RGB"), np.int16)
    return bool((np.ptp(pixels, axis=2) <= 2).all())


def upright(image: Image.Image) -> npt.NDArray[np.uint8]:
    """(1 or 3, height, width) of an open image, as it is meant to be looked at."""
    turned = ImageOps.exif_transpose(image)
    if turned.mode.startswith("I;16"):  # 16 bits of grey: the upper eight
        return (np.asarray(turned).astype(np.uint16) >> 8).astype(np.uint8)[None]
    grey = turned.mode in GREY
    plain = np.asarray(turned.convert("L" if grey else "RGB"), np.uint8)
    return plain[None] if grey else plain.transpose(2, 0, 1)
