"""docs/operations.md: its commands and options are there, its places too, and its program for a CSV runs."""

from __future__ import annotations

import random
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from littoral_cloud.data.sources import load_dataset
from littoral_cloud.health.readiness import PARTS

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "operations.md").read_text()
REFERENCE = (DOCS / "reference" / "cli.md").read_text()


def options_by_command() -> Mapping[str, frozenset[str]]:
    """Generated from the programs themselves: docs/reference/cli.md."""
    sections = re.findall(r"^#{2,3} (littoral-[a-z -]+)\n(.*?)(?=^#{2,3} |\Z)", REFERENCE, re.MULTILINE | re.DOTALL)
    return {name.strip(): frozenset(re.findall(r"(--[a-z0-9-]+)", body)) for name, body in sections}


def commands() -> Iterator[str]:
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL):
        yield from (line for line in block.splitlines() if line.startswith("littoral-"))
    yield from re.findall(r"`(littoral-(?:cloud|node) [^`]*)`", PAGE)


@pytest.mark.parametrize("line", sorted(set(commands())))
def test_a_command_of_the_page_is_one(line: str) -> None:
    known = options_by_command()
    words = shlex.split(line.replace("\\|", "|"), comments=True)
    names = [name for length in (3, 2) if (name := " ".join(words[:length])) in known]
    assert names, f"there is no command {words[:3]}"
    asked = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert asked <= known[names[0]] | known[words[0]], line


def test_the_search_for_wrong_commands_would_find_one() -> None:
    known = options_by_command()
    assert "littoral-cloud rollout start" in known
    assert "--dry-run" in known["littoral-cloud rollout start"]
    assert "--faster" not in known["littoral-cloud rollout start"]
    assert len(set(commands())) > 40


def test_a_csv_becomes_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng = random.Random(1)
    lines = ["heat,noise,state"]
    for number in range(120):
        state = ("idle", "hot")[number % 2]
        lines.append(f"{rng.gauss(20 + 40 * (state == 'hot'), 3):.2f},{rng.gauss(0, 1):.2f},{state}")
    (tmp_path / "machines.csv").write_text("\n".join(lines) + "\n")
    [program] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(program, {})
    data = load_dataset(tmp_path / "machines.npz")
    assert (data.kind, data.labels) == ("table", ("hot", "idle"))


def test_the_page_names_every_part_of_readiness() -> None:
    [row] = re.findall(r"^\| `/readyz` .*$", PAGE, re.MULTILINE)
    assert set(re.findall(r"`([a-z]+)`", row)) == {*PARTS, "draining"}


def test_the_example_for_prometheus_is_yaml() -> None:
    [example] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    [job] = yaml.safe_load(example)["scrape_configs"]
    assert job["scheme"] == "https"
    assert job["static_configs"][0]["targets"] == ["fleet.example.org:7445"]


def test_each_place_that_the_page_links_to_is_there() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        path, _, place = target.partition("#")
        text = (DOCS / path).read_text() if path else PAGE
        titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        headings = {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}
        assert not place or place in headings, target
