"""Small affine changes of images: more examples of the same classes, the same ones at every call.

P. Y. Simard, D. Steinkraus, J. C. Platt: Best Practices for Convolutional Neural Networks, ICDAR 2003 (affine distortions of
digits). A data set has numbered copies: copy 0 is the images as they are, every other one moves each image in its own way. The
moves depend on the number and on `Augment.seed` alone, so a teacher's logits for a copy can be stored on disk and used for
every student.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from littoral.errors import BadInput
from littoral_cloud.data.dataset import Images
from littoral_cloud.training.seeding import checked_seed

MOST_BYTES = 1_000_000_000
"""Of moved copies in memory."""
_AT_ONCE = 5000  # images


@dataclass(frozen=True, slots=True)
class Augment:
    """How far an image may be moved, each way, drawn evenly for each image of each copy."""

    rotation: float = 12.0  # degrees
    scale: float = 0.12  # a fraction, of height and of width
    shear: float = 0.15  # pixels sideways for one pixel down
    shift: float = 2.0  # pixels, up, down and sideways
    copies: int = 8  # epoch e is taught on copy e modulo this one
    seed: int = 1

    def __post_init__(self) -> None:
        bounds = {"rotation": 180.0, "scale": 0.9, "shear": 2.0, "shift": 64.0}
        for name, most in bounds.items():
            if not 0 <= getattr(self, name) <= most:
                raise BadInput(f"augment.{name}: {getattr(self, name)}", hint=f"between 0 and {most:g}")
        if self.copies < 1:
            raise BadInput(f"augment.copies: {self.copies}", hint="at least 1; copy 0 is the images as they are")
        checked_seed("augment.seed", self.seed)


class Copy:
    """One numbered copy of a data set's images.

    Moving an image takes as long as a small network's training step on it, and many epochs use the same copy: whole copies
    stay in memory, for the process, up to MOST_BYTES.

    Args:
        digest: of the data set, where its copies may stay in memory; None: images are moved at each use.
    """

    def __init__(self, images: Images, augment: Augment | None, number: int, *, digest: str | None = None) -> None:
        self._images = images
        self._moves: npt.NDArray[np.float32] | None = None
        if augment is None or number == 0:
            return
        self._moves = _moves(augment, number, len(images), images.shape[2], images.shape[3])
        if digest is not None and images.nbytes <= MOST_BYTES:
            self._images = _CACHE.get((digest, augment, number), images.nbytes, self._whole)
            self._moves = None

    def take(self, index: npt.NDArray[np.int64]) -> Images:
        """Raw images, (len(index), C, H, W) uint8; what comes in from outside is 0."""
        raw: Images = self._images[index]
        return raw if self._moves is None else _moved(raw, self._moves[index])

    def _whole(self) -> Images:
        assert self._moves is not None
        whole = np.empty_like(self._images)
        for start in range(0, len(whole), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            whole[part] = _moved(self._images[part], self._moves[part])
        return whole


class _CopyCache:
    """Copies by what they are of; of more bytes than MOST_BYTES, the one not asked for longest goes."""

    def __init__(self) -> None:
        self._copies: OrderedDict[tuple[str, Augment, int], Images] = OrderedDict()
        self._lock = Lock()

    def get(self, key: tuple[str, Augment, int], size: int, make: Callable[[], Images]) -> Images:
        with self._lock:  # of several students that want one copy, one makes it
            if key not in self._copies:
                while self._copies and sum(c.nbytes for c in self._copies.values()) + size > MOST_BYTES:
                    self._copies.popitem(last=False)
                self._copies[key] = make()
            self._copies.move_to_end(key)
            return self._copies[key]


_CACHE = _CopyCache()


def _moved(raw: Images, moves: npt.NDArray[np.float32]) -> Images:
    grid = F.affine_grid(torch.from_numpy(moves), list(raw.shape), align_corners=False)
    there = F.grid_sample(torch.from_numpy(raw.astype(np.float32)), grid, align_corners=False)
    pixels: Images = there.add_(0.5).to(torch.uint8).numpy()
    return pixels


def _moves(augment: Augment, number: int, count: int, height: int, width: int) -> npt.NDArray[np.float32]:
    """(count, 2, 3): where each place of the new image lies in the old one, in halves of its size."""
    drawn = np.random.default_rng([augment.seed, number]).uniform(-1, 1, (6, count))
    turn = drawn[0] * math.radians(augment.rotation)
    tall, wide, shear = 1 + drawn[1] * augment.scale, 1 + drawn[2] * augment.scale, drawn[3] * augment.shear
    down, right = drawn[4] * augment.shift * 2 / height, drawn[5] * augment.shift * 2 / width
    cos, sin = np.cos(turn), np.sin(turn)
    rows = [[cos * wide, shear - sin * tall, right], [sin * wide, cos * tall, down]]
    return np.ascontiguousarray(np.array(rows, dtype=np.float32).transpose(2, 0, 1))


def moved(raw: Images, down: int, right: int) -> Images:
    """The same images, moved by whole pixels; what comes in is 0."""
    there = np.zeros_like(raw)
    height, width = raw.shape[2:]
    down, right = max(-height, min(height, down)), max(-width, min(width, right))
    there[:, :, max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)] = raw[
        :, :, max(0, -down) : height + min(0, -down), max(0, -right) : width + min(0, -right)
    ]
    return there
