from __future__ import annotations

import tomllib
from pathlib import Path

import littoral


def test_the_version_in_the_code_is_the_distributions() -> None:
    project = tomllib.loads(Path(__file__).parents[3].joinpath("pyproject.toml").read_text())["project"]
    assert littoral.__version__ == project["version"]
