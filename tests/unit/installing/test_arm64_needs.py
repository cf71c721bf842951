"""What a node needs on arm64, as its markers say it there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[3]
ARM64 = {"platform_machine": "aarch64", "sys_platform": "linux", "platform_system": "Linux", "extra": ""}


def test_every_package_that_a_node_names_has_a_row_and_a_wheel_on_the_page() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    named = [*project["dependencies"], *(line for extra in ("edge", "images", "ncnn") for line in extras[extra])]
    wanted = {each.name for each in map(Requirement, named) if each.marker is None or each.marker.evaluate(ARM64)}
    rows = dict(re.findall(r"^\| ([a-z0-9-]+) \|(.*)$", (ROOT / "docs/arm64.md").read_text(), re.MULTILINE))
    assert {name.lower() for name in wanted} <= set(rows)
    assert not [name for name in wanted if "**none**" in rows[name.lower()]]


def test_what_has_no_wheel_there_is_not_asked_for() -> None:
    (constriction,) = (
        each
        for each in map(Requirement, tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"])
        if each.name == "constriction"
    )
    assert constriction.marker is not None
    assert not constriction.marker.evaluate(ARM64)
    assert constriction.marker.evaluate({**ARM64, "platform_machine": "x86_64"})
