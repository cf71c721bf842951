"""`littoral` holds what both sides run: the coordinator and the agent each import every module and package of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
GENERATED = frozenset({"fleet", "inference"})
"""From proto/, one package for each protocol."""
SIDES = {"cloud": ROOT / "cloud" / "littoral_cloud", "edge_node": ROOT / "edge_node" / "littoral_node"}


def files_of() -> dict[str, list[Path]]:
    """By module or package right below littoral, its files."""
    found: dict[str, list[Path]] = {}
    for path in (ROOT / "littoral").rglob("*.py"):
        if path.parent.name != "littoral" or path.stem != "__init__":
            found.setdefault(path.relative_to(ROOT / "littoral").parts[0].removesuffix(".py"), []).append(path)
    return found


def imported(path: Path) -> Iterator[str]:
    """What a file imports of littoral, in functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{name}" for name in names]
        yield from (name.split(".")[1] for name in names if name.startswith("littoral."))


@pytest.mark.parametrize("side", SIDES)
def test_this_side_imports_all_of_littoral(side: str) -> None:
    known = files_of()
    waiting = [name for path in SIDES[side].rglob("*.py") for name in imported(path)]
    reached: set[str] = set()
    while waiting:
        if (name := waiting.pop()) in known and name not in reached:
            reached.add(name)
            waiting += [other for path in known[name] for other in imported(path)]
    assert sorted(known.keys() - reached - GENERATED) == []
