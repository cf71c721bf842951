"""Commands that look at what is there make nothing: a mistyped --data-dir does not become a coordinator."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import click
import pytest
import typer

from littoral_cloud.cli import NOUNS, execute

READ = ("list", "show", "explain", "watch", "verify", "diff")
CHANGE = (
    ("rollout", "start", "x"),
    ("rollout", "abort", "x"),
    ("run", "start", "--model", "x"),
    ("node", "decommission", "x"),
    ("token", "revoke", "x"),
    ("release", "create", "--artifact", "x"),
    ("release", "create", "--run", "x"),
)


def reading() -> list[tuple[str, ...]]:
    """Every command of these names, with as many arguments as it wants."""
    found = []
    for noun in NOUNS:
        module: Any = importlib.import_module(f"littoral_cloud.cli.{noun}")
        group = typer.main.get_command(module.app)
        for name, command in getattr(group, "commands", {}).items():
            wanted = [p for p in command.params if isinstance(p, click.Argument) and p.required]
            if name in READ:
                found.append((noun, name, *("x" for _ in wanted)))
    return found


def test_every_noun_with_something_to_look_at_is_among_them() -> None:
    assert {noun for noun, *_ in reading()} >= {"release", "rollout", "node", "artifact", "run", "audit", "token"}


@pytest.mark.parametrize("words", [*reading(), *CHANGE], ids=" ".join)
def test_a_folder_that_is_not_there_is_said_and_not_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    folder = tmp_path / "typo"
    assert execute([*words, "--data-dir", str(folder)]) == 4
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"error: data folder: {folder} holds no coordinator's data\n  hint: ")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_made_in_a_folder_that_holds_something_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "photo.png").touch()
    assert execute(["release", "list", "--data-dir", str(tmp_path)]) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]
