"""The house stays as docs/architecture.md draws it: where code may lie, how long a file may be, what a name may mean.

Everything is read from the source text; nothing of the project is imported.
"""

from __future__ import annotations

import ast
import functools
import io
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGES: Mapping[str, Path] = {
    "littoral": ROOT / "littoral",
    "littoral_cloud": ROOT / "cloud" / "littoral_cloud",
    "littoral_node": ROOT / "edge_node" / "littoral_node",
}
GENERATED = (ROOT / "littoral" / "fleet", ROOT / "littoral" / "inference")

LOOSE: Mapping[str, frozenset[str]] = {
    "littoral_cloud": frozenset({"__init__", "app", "loop", "serve", "settings"}),
    "littoral_node": frozenset({"__init__", "agent", "cli"}),
}
"""The modules that lie in no room: the composition roots, and what they begin with."""

LINES = 300
LINES_OF: Mapping[str, int] = {"agent.py": 200, "app.py": 200}
"""A composition root wires; it decides nothing."""

BANNED = re.compile(
    r"\b(?:(?:is|are|was|were|be|been|being) told|begun|held(?![ -]out)|said|so many|whatever|whoever|nobody|kept)\b",
    re.IGNORECASE,
)
"""Words that make a reader stop whose first language is not English. "held out" is a term of machine learning."""


@functools.cache
def sources() -> tuple[Path, ...]:
    return tuple(
        path
        for package in PACKAGES.values()
        for path in sorted(package.rglob("*.py"))
        if not any(path.is_relative_to(folder) for folder in GENERATED)
    )


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def name_of(path: Path) -> str:
    """The dotted name under which a source file is imported."""
    root = next(folder for folder in PACKAGES.values() if path.is_relative_to(folder))
    parts = (root.name, *path.relative_to(root).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_no_file_is_too_long() -> None:
    long = {
        shown(path): lines
        for path in sources()
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > LINES_OF.get(path.name, LINES)
    }
    assert not long, f"split these files by subject, at most {LINES} lines each: {long}"


@pytest.mark.parametrize("package", LOOSE)
def test_no_file_lies_outside_a_room(package: str) -> None:
    loose = {path.stem for path in PACKAGES[package].glob("*.py")} - LOOSE[package]
    assert not loose, f"{package}: move these modules to a room (a folder), or name them in LOOSE: {sorted(loose)}"


def test_a_class_name_has_one_meaning() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in sources():
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(f"{shown(path)}:{node.lineno}")
    twice = {name: where for name, where in places.items() if len(where) > 1}
    assert not twice, f"name each class for what it is: {twice}"


@functools.cache
def packages() -> frozenset[str]:
    return frozenset(name_of(path) for path in sources() if path.name == "__init__.py") | {"littoral.fleet", "littoral.inference"}


@functools.cache
def modules() -> frozenset[str]:
    return frozenset(map(name_of, sources()))


def imported_by(path: Path) -> Iterator[str]:
    """Every module of ours that a file imports, at its top or inside a function."""
    known = modules()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] in PACKAGES:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in known else node.module


def room_of(module: str) -> str:
    """The package that a module lies in; a loose module is a room of its own."""
    if module in packages():
        return module
    package = module.rpartition(".")[0]
    return module if package in PACKAGES else package


def test_no_package_imports_another_in_a_circle() -> None:
    imports: dict[str, set[str]] = defaultdict(set)
    for path in sources():
        here = room_of(name_of(path))
        for there in map(room_of, imported_by(path)):
            if here != there and not here.startswith(f"{there}.") and not there.startswith(f"{here}."):
                imports[here].add(there)
    circles = {room: way for room in sorted(imports) if (way := way_back(room, imports))}
    assert not circles, f"packages that import each other: {circles}"


def way_back(room: str, imports: Mapping[str, set[str]]) -> list[str]:
    """The shortest way of imports from a room to itself; empty where there is none."""
    ways = [[room]]
    seen: set[str] = set()
    for way in ways:  # grows while it is read: breadth first
        for there in sorted(imports.get(way[-1], ())):
            if there == room:
                return [*way, room]
            if there not in seen:
                seen.add(there)
                ways.append([*way, there])
    return []


def test_the_search_for_circles_finds_one() -> None:
    assert way_back("a", {"a": {"b", "d"}, "b": {"c"}, "c": {"a"}}) == ["a", "b", "c", "a"]
    assert way_back("d", {"a": {"b", "d"}, "b": {"c"}, "c": {"a"}}) == []


def test_every_package_opens_with_its_sentence() -> None:
    silent = [
        shown(path)
        for path in sources()
        if path.name == "__init__.py"
        and not re.match(r"[A-Z`].*[.:]$", (ast.get_docstring(tree_of(path)) or "\n").splitlines()[0])
    ]
    assert not silent, f"say in one sentence what the package is for: {silent}"


LITERALS = {tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
"""From Python 3.12 on, the words of an f-string are tokens of their own."""


def prose_of(text: str) -> Iterator[tuple[int, str]]:
    """(line, text) of each comment, docstring and message of a source file. A message is a literal with a space in it."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT or (token.type in LITERALS and " " in token.string):
            yield from ((token.start[0] + n, line) for n, line in enumerate(token.string.splitlines()))


def test_docstrings_comments_and_messages_are_in_plain_words() -> None:
    found = [
        f"{shown(path)}:{line}: {match.group(0)}"
        for path in sources()
        for line, text in prose_of(path.read_text(encoding="utf-8"))
        for match in BANNED.finditer(text)
    ]
    assert not found, f"{len(found)} words to say plainly (docs/glossary.md): " + "; ".join(found[:40])


PAGES = [
    *(ROOT / "README.md", ROOT / "CONTRIBUTING.md"),
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if "decisions" not in page.parts and page.name != "benchmarks.md"),
]
"""Decisions are records of their day, and benchmarks.md is generated from results."""


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_pages_are_in_plain_words(page: Path) -> None:
    found = [
        f"{n}: {match.group(0)}"
        for n, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1)
        for match in BANNED.finditer(line)
    ]
    assert not found, f"{shown(page)}: say it plainly: {found}"


def private_uses(path: Path) -> Iterator[str]:
    """Names of our code that begin with one underscore, used in a test file. The file's own are its own business."""
    tree = tree_of(path)
    own = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }
    own |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    own |= {node.target.id for node in ast.walk(tree) if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and re.match(r"_[a-z]", node.attr) and node.attr not in own:
            if not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls", "os", "sys")):
                yield f"{shown(path)}:{node.lineno}: {node.attr}"
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in PACKAGES:
            yield from (f"{shown(path)}:{node.lineno}: {alias.name}" for alias in node.names if re.match(r"_[a-z]", alias.name))


def test_tests_use_no_private_names() -> None:
    found = [use for path in sorted((ROOT / "tests").rglob("*.py")) for use in private_uses(path)]
    assert not found, f"tests reach into private names; give the code a public way, or test by behaviour: {found}"


def test_unit_tests_lie_as_the_packages_do() -> None:
    rooms = {path.name for root in PACKAGES.values() for path in root.iterdir() if path.is_dir()}
    rooms |= {
        "bench",
        "compose",
        "docs",
        "house",
        "littoral",
    }  # of no room: the figures, the images, the pages, this, loose modules
    lost = {path.name for path in (ROOT / "tests" / "unit").iterdir() if path.is_dir() and any(path.glob("*.py"))} - rooms
    assert not lost, f"tests/unit: no package is called {sorted(lost)}"


def test_each_decision_has_a_number_of_its_own_and_bears_it() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    assert all(page.read_text(encoding="utf-8").startswith(f"# {int(page.name[:4])}. ") for page in pages)
