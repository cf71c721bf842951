"""A disk that is soon full. Mounting one is for root alone: elsewhere these tests are skipped."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KB."""
    place = tmp_path / "tiny"
    place.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], check=False).returncode:
        pytest.skip("only root may mount a small disk")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Callable[[Path], Path]]:
    """Gives a copy of a folder on a file system that takes no write."""
    place = tmp_path / "card"
    place.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], check=False).returncode:
        pytest.skip("only root may mount a disk read-only")

    def copied(folder: Path) -> Path:
        shutil.copytree(folder, place / "node")
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        return place / "node"

    yield copied
    subprocess.run(["umount", "-l", place], check=True)
