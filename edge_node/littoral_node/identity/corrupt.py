"""Damaged files of the node's folder: the log names each when it is found; health and report name it until the agent ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

MOST = 8
"""The most files that a message names; of the others it gives the number."""


class CorruptFiles:
    """Args:
    root: the node's folder, below which files are named.
    """

    def __init__(self, root: Path, log: Callable[..., None]) -> None:
        self._root = root
        self._log = log
        self._found: dict[str, str] = {}

    def __call__(self, path: Path, why: Exception | str) -> None:
        """As littoral_node.identity.files.Damaged."""
        name = str(path.relative_to(self._root)) if path.is_relative_to(self._root) else str(path)
        reason = str(getattr(why, "message", why)).removeprefix(f"{path}: ")
        self._found[name] = reason
        self._log("file-damaged", file=name, detail=reason)

    def problems(self) -> list[str]:
        found = [f"{name}: {reason}" for name, reason in self._found.items()]
        return found[:MOST] + ([f"and {len(found) - MOST} files more"] if len(found) > MOST else [])
