"""docs/architecture.md and docs/lineage.md name functions; a reader must find every one of them in the file given."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TEXT = " ".join(" ".join((ROOT / "docs" / f"{page}.md").read_text() for page in ("architecture", "lineage")).split())
NAMED = re.findall(r"`([A-Za-z_.]+)`(?:, `[A-Za-z_.]+`| and `[A-Za-z_.]+`)* \(`([a-z_/]+\.py)`\)", TEXT)
FILES = sorted(set(re.findall(r"`((?:cloud|edge_node|littoral|docs|tests)/[a-z_/]+\.py)`", TEXT)))


def test_there_are_names_to_check() -> None:
    assert len(NAMED) > 20


@pytest.mark.parametrize(("name", "file"), NAMED)
def test_a_name_stands_in_its_file(name: str, file: str) -> None:
    source = (ROOT / file).read_text()
    for part in name.split("."):
        assert re.search(rf"(def|class) {part}\b", source), f"{part} of {name} is not in {file}"


@pytest.mark.parametrize("file", FILES)
def test_a_file_that_is_named_exists(file: str) -> None:
    assert (ROOT / file).is_file()
