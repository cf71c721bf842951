"""The data: scikit-learn's digits, wine and breast cancer, and a colour set that is made here. Each seed orders the rows anew, so
that the rule which takes every fifth example of a class for the test split takes others.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Pair = tuple[npt.NDArray[Any], npt.NDArray[Any]]
"""x and y."""

_SIDE, _PER_CLASS = 9, 80
_SHAPES = (
    ("010", "111", "010"),
    ("111", "101", "111"),
    ("100", "010", "001"),
    ("111", "000", "111"),
    ("110", "110", "000"),
)
"""Of the colour set: what is drawn, three cells high and wide, each cell two pixels."""


def digits() -> Pair:
    """1,797 grey images of 8 x 8, values 0 to 16 brought to 0 to 255."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return np.round(x.reshape(-1, 8, 8) * 255 / 16).astype(np.uint8), y


def wine() -> Pair:
    """178 rows of 13 features, three classes."""
    from sklearn.datasets import load_wine

    x, y = load_wine(return_X_y=True)
    return x, y


def breast_cancer() -> Pair:
    """569 rows of 30 features, two classes."""
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    return x, y


def colours() -> Pair:
    """400 colour images of 9 x 9: five shapes, each in a colour and at a place of its own, under noise."""
    chance = np.random.default_rng(9)
    x, y = [], []
    for label, rows in enumerate(_SHAPES):
        shape = np.kron(np.array([[int(cell) for cell in row] for row in rows]), np.ones((2, 2)))
        for _ in range(_PER_CLASS):
            ground, ink = chance.uniform(0, 90, 3), chance.uniform(110, 230, 3)
            mask = np.zeros((_SIDE, _SIDE))
            down, right = chance.integers(0, _SIDE - 5, 2)
            mask[down : down + 6, right : right + 6] = shape
            image = ground[:, None, None] * (1 - mask) + ink[:, None, None] * mask + chance.normal(0, 18, (3, _SIDE, _SIDE))
            x.append(image.clip(0, 255).astype(np.uint8))
            y.append(label)
    return np.stack(x), np.array(y)


SETS: dict[str, Callable[[], Pair]] = {"digits": digits, "wine": wine, "breast_cancer": breast_cancer, "colours": colours}


def ordered(name: str, seed: int) -> Pair:
    """The set in another order for each seed."""
    x, y = SETS[name]()
    order = np.random.default_rng(seed).permutation(len(y))
    return x[order], y[order]


def write_npz(place: Path, x: npt.NDArray[Any], y: npt.NDArray[Any]) -> Path:
    np.savez(place, x=x, y=y)
    return place


def write_folder(place: Path, x: npt.NDArray[Any], y: npt.NDArray[Any]) -> Path:
    """One folder of PNG images a class; their names keep the order."""
    from PIL import Image

    for number, (image, label) in enumerate(zip(x, y, strict=True)):
        folder = place / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        pixels = image if image.ndim == 2 else image.transpose(1, 2, 0)
        Image.fromarray(pixels).save(folder / f"{number:05}.png")
    return place
