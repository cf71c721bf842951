"""Pictures of shapes, drawn here: a user's folder of images, small enough to be learnt in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

CLASSES = ("circle", "cross", "square")
COLOURS = ("blue", "green", "red")


def draw(kind: str, rng: np.random.Generator, size: int = 16) -> Image.Image:
    """One bright shape somewhere on noise, in colour."""
    image = Image.fromarray(rng.integers(0, 60, (size, size, 3), dtype=np.uint8))
    pen, wide = ImageDraw.Draw(image), int(rng.integers(size // 2, size - 4))
    left, top = (int(place) for place in rng.integers(1, size - wide - 1, 2))
    colour = tuple(int(part) for part in rng.integers(150, 255, 3))
    box = (left, top, left + wide, top + wide)
    if kind == "circle":
        pen.ellipse(box, fill=colour)
    elif kind == "square":
        pen.rectangle(box, fill=colour)
    else:
        pen.line(box, fill=colour, width=2)
        pen.line((box[0], box[3], box[2], box[1]), fill=colour, width=2)
    return image


def shape_folder(folder: Path, each: int, *, size: int = 16, seed: int = 0) -> Path:
    """`each` PNG files of every class, in a folder for each class."""
    rng = np.random.default_rng(seed)
    for kind in CLASSES:
        (folder / kind).mkdir(parents=True)
        for number in range(each):
            draw(kind, rng, size).save(folder / kind / f"{number:03}.png")
    return folder


def shape_arrays(each: int, *, size: int = 16, seed: int = 0) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Images (n, 3, size, size) and labels (n,), class by class."""
    rng = np.random.default_rng(seed)
    x = [np.asarray(draw(kind, rng, size)).transpose(2, 0, 1) for kind in CLASSES for _ in range(each)]
    return np.stack(x), np.repeat(np.arange(len(CLASSES)), each)


def colour_folder(folder: Path, each: int, *, size: int = 16, seed: int = 0) -> Path:
    """`each` PNG files of every class, told apart by their colour alone: what little training learns, on any machine."""
    rng = np.random.default_rng(seed)
    for channel, kind in zip((2, 1, 0), COLOURS, strict=True):
        (folder / kind).mkdir(parents=True)
        for number in range(each):
            pixels = rng.integers(0, 60, (size, size, 3), dtype=np.uint8)
            pixels[:, :, channel] += 150
            Image.fromarray(pixels).save(folder / kind / f"{number:03}.png")
    return folder
