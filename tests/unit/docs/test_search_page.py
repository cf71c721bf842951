"""docs/search.md has every key of [search] with its default, and its example is a search."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import fields
from pathlib import Path

from littoral_cloud.search import search_from
from littoral_cloud.search.control import TTL_S
from littoral_cloud.search.moves import MOST_DEATHS
from littoral_cloud.search.recipe import SearchSettings
from littoral_cloud.store.searches import PATIENCE_S

PAGE = (Path(__file__).parents[3] / "docs" / "search.md").read_text()


def test_every_key_stands_there_with_its_default() -> None:
    [table] = [block for block in re.findall(r"(?:^\|.*\n)+", PAGE, re.MULTILINE) if block.startswith("| key |")]
    rows = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    said = {row[0]: json.loads(row[1]) for row in rows}
    assert said == {f.name: list(f.default) if isinstance(f.default, tuple) else f.default for f in fields(SearchSettings)}


def test_the_example_is_a_search() -> None:
    [example] = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    recipe = search_from(tomllib.loads(example), what="docs/search.md")
    assert "schedule.learning_rate" in recipe.space
    for start in ("int8-onnx-int8", "int8-ncnn-fp16", "code-onnx"):
        assert recipe.production({"student": start}).students


def test_its_figures_are_those_of_the_code() -> None:
    assert f"lapses within {TTL_S:g} seconds" in PAGE
    assert f"Without Redis for {PATIENCE_S:g} seconds" in PAGE
    assert MOST_DEATHS == 20
    assert "One in which twenty workers have died fails too." in PAGE
