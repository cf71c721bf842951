"""Fixtures for tests of whole processes: a coordinator that nodes may join, and a user's small data set."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from littoral_cloud.data.sources import load_mnist
from tests.kit.whole import Fleet


@pytest.fixture
async def processes(tmp_path: Path) -> AsyncIterator[Fleet]:
    found = Fleet(tmp_path)
    try:
        await found.start_coordinator()
        yield found
    finally:
        await found.end()


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """2,000 of MNIST's images, as a user's .npz file."""
    mnist = load_mnist()
    path = tmp_path / "images.npz"
    np.savez(path, x=mnist.train_x[:2000], y=mnist.train_y[:2000])
    return path
