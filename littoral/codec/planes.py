"""Byte planes: of an array of numbers all first bytes, then all second bytes, and so on. Signs and exponents, which are alike,
then lie together, where zstd finds them."""

from __future__ import annotations

import numpy as np


def split(data: bytes, width: int) -> bytes:
    return np.frombuffer(data, np.uint8).reshape(-1, width).T.tobytes()


def joined(planes: bytes, width: int) -> bytes:
    return np.frombuffer(planes, np.uint8).reshape(width, -1).T.tobytes()
