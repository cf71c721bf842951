"""The one input of a network of ours, and how raw values become what the network takes: resize, scale, subtract, divide."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from littoral.decoder import BadField
from littoral.resize import FITS, METHODS, resized

_HALF_OF_MOST = float(np.finfo(np.float32).max) / 2


@dataclass(frozen=True, slots=True)
class Resize:
    """How images of any size become those that a model takes, see littoral.resize; Input.shape says which size and colour."""

    method: str  # "area" or "bilinear"
    fit: str  # "pad" or "stretch"

    def check_decoded(self) -> None:
        for name, value, known in (("method", self.method, METHODS), ("fit", self.fit, FITS)):
            if value not in known:
                raise BadField(name, f"{value[:40]!r} is not known, known are {', '.join(known)}", hint="upgrade the agent")


@dataclass(frozen=True, slots=True)
class Input:
    """The tensor that a client sends: raw values. The node gives the model `(raw * scale - mean) / std` as float32.

    `shape` leaves the batch out: (channels, height, width) of images, (features,) of a table, (channels, steps) of series. `mean`
    and `std` hold one value, or one for each channel or feature. With `resize`, images come in any size, in grey or colour.
    """

    name: str
    shape: tuple[int, ...]
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: Resize | None = None

    def check_decoded(self) -> None:
        if not self.shape or any(size < 1 for size in self.shape):
            raise BadField("shape", f"{list(self.shape)} must hold whole numbers from 1")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if not values:
                raise BadField(name, "must hold at least one number")
        if self.resize is not None and not self.images:
            raise BadField("resize", "is for images only", hint="an image's shape is [channels, height, width]")

    @property
    def images(self) -> bool:
        """Whether it takes images, and not rows of a table or series."""
        return len(self.shape) == 3

    def sized(self, raw: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Images as they came, (n, C, H, W), in the model's size and colour, (n, *shape). Raises BadInput."""
        if self.resize is None or raw.shape[1:] == self.shape:
            return raw
        return resized(raw, self.shape, self.resize.method, self.resize.fit)

    def sketched(self, raw: npt.NDArray[Any], prepared: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """What the input sketch counts: pixels as they are; of measured values what the model sees, for a column in thousands
        would hide one in thousandths."""
        return raw if len(self.shape) == 3 else prepared

    def prepare(self, raw: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """From (n, *shape), any number type, to float32 of the same shape."""
        return Preparation(self)(raw)


class Preparation:
    """`Input.prepare`, with what is the same for every request worked out once."""

    def __init__(self, given: Input) -> None:
        per_channel = (-1,) + (1,) * (len(given.shape) - 1)
        self._scale = np.float32(given.scale)
        self._mean = np.asarray(given.mean, np.float32).reshape(per_channel if len(given.mean) > 1 else ())
        self._std = np.asarray(given.std, np.float32).reshape(per_channel if len(given.std) > 1 else ())

    @cached_property
    def most(self) -> float:
        """Raw values of no larger size than this do not overflow float32 on the way; 0: not known of any."""
        room = _HALF_OF_MOST * min(float(np.abs(self._std).min()), 1.0) - float(np.abs(self._mean).max())
        return max(0.0, room / abs(float(self._scale))) if self._scale else 0.0

    def __call__(self, raw: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """See Input.prepare."""
        x: npt.NDArray[np.float32] = np.asarray(raw, dtype=np.float32) * self._scale
        x -= self._mean  # in place: a batch that stays in the cache is ready in three quarters of the time
        x /= self._std
        return np.ascontiguousarray(x)
