"""PNG and JPEG files as the pixels that a model is given: the cloud trains on what this makes of them, and nodes ask with it.

Decoded and nothing else: grey images give one channel, colour ones three; transparency is dropped, of 16 bits the upper eight are
kept, an EXIF orientation is applied. Needs pillow, which the agent itself never imports.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from littoral.errors import BadData

GREY = ("1", "L", "I;16", "LA")


@contextmanager
def opened(path: Path, formats: tuple[str, ...] | None = None) -> Iterator[Image.Image]:
    """An open image; whatever pillow finds wrong with it, then or later, becomes BadData that names the file.

    Args:
        formats: that may be tried, for example ("PNG", "JPEG"); None: every one that pillow knows.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=formats) as image:
                yield image
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        held = path.stat().st_size if path.exists() else 0
        raise BadData(
            f"{path}: cannot be read as an image ({held} bytes held): {error}", hint="replace it or take it out of the folder"
        ) from error


def upright(image: Image.Image) -> npt.NDArray[np.uint8]:
    """(1 or 3, height, width) of an open image, as it is meant to be looked at."""
    turned = ImageOps.exif_transpose(image)
    if turned.mode.startswith("I;16"):  # 16 bits of grey: the upper eight
        return (np.asarray(turned).astype(np.uint16) >> 8).astype(np.uint8)[None]
    grey = turned.mode in GREY
    plain = np.asarray(turned.convert("L" if grey else "RGB"), np.uint8)
    return plain[None] if grey else plain.transpose(2, 0, 1)
