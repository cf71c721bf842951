"""What benchmarks write down, and the page that is made of it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bench.report import Figure, Goal, Table, goals_of, printed, record, shown

ROOT = Path(__file__).parents[3]
ROWS = Table("Rows", ("net", "bytes"), [["a|b", 12_000], ["c", None]], ("One seed.",))


def read(folder: Path, name: str = "factory") -> dict[str, Any]:
    body: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    return body


def note(folder: Path, part: str, **figures: Figure) -> None:
    record(
        "factory",
        command=f"make {part}",
        seconds=1.5,
        figures=figures,
        table=(part, ROWS),
        whole="make all",
        results=folder,
    )


def test_a_part_replaces_its_own_figures_and_leaves_those_of_others(tmp_path: Path) -> None:
    note(tmp_path, "one", teacher_accuracy=Figure.of(0.99, "fraction", "higher"), old=Figure.of(1, "s", "lower"))
    note(tmp_path, "two", distil_errors_with=Figure((80, 70, 75), "errors", "lower", peer=("paper", 74)))
    note(tmp_path, "one", teacher_accuracy=Figure.of(0.997, "fraction", "higher"))
    body = read(tmp_path)
    assert set(body["figures"]) == {"teacher_accuracy", "distil_errors_with"}
    assert body["figures"]["teacher_accuracy"]["value"] == 0.997
    assert body["figures"]["distil_errors_with"] == {
        "value": 75,
        "unit": "errors",
        "better": "lower",
        "goal": 74,
        "peer": {"name": "paper", "value": 74},
        "samples": [80, 70, 75],
        "note": "",
        "table": "two",
    }
    assert body["command"] == "make all"
    assert body["seconds"] == 3.0
    assert [body["tables"][part]["command"] for part in ("one", "two")] == ["make one", "make two"]
    assert set(body["machine"]) == {"cpu", "cores", "python"}
    assert not list(tmp_path.glob("*.part"))


def test_a_file_of_one_part_is_written_whole(tmp_path: Path) -> None:
    record("drift", command="make a", seconds=2, figures={"x": Figure.of(1, "s", "lower")}, results=tmp_path)
    record("drift", command="make a", seconds=2, figures={"y": Figure.of(1, "s", "lower")}, results=tmp_path)
    assert set(read(tmp_path, "drift")["figures"]) == {"y"}
    assert "tables" not in read(tmp_path, "drift")


def test_a_figure_that_runs_against_its_goal_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"teacher_accuracy: lower is better, but its goal is >= 0\.996"):
        note(tmp_path, "one", teacher_accuracy=Figure.of(1, "fraction", "lower"))


def test_a_row_has_a_cell_for_each_column() -> None:
    with pytest.raises(ValueError, match="1 cells for 2 columns"):
        Table("T", ("a", "b"), [["one"]])


@pytest.mark.parametrize(("better", "value", "short"), [("higher", 4.0, 1.0), ("higher", 5.0, 0.0), ("lower", 6.5, 1.5)])
def test_a_goal_says_by_how_much_a_value_falls_short(better: Any, value: float, short: float) -> None:
    assert Goal(better, 5.0).short_by(value) == short


def test_goals_are_read_for_each_file() -> None:
    assert goals_of("factory")["lenet5_ratio"] == Goal("higher", 560.0)
    assert goals_of("nothing") == {}


@pytest.mark.parametrize(("cell", "text"), [(None, "-"), (12_345, "12,345"), (99.641, "99.64"), (1e6, "1,000,000"), ("x", "x")])
def test_a_cell_is_shown_as_a_reader_wants_it(cell: Any, text: str) -> None:
    assert shown(cell) == text


def test_a_table_is_printed_in_columns() -> None:
    assert printed(ROWS).splitlines() == ["Rows", "net  bytes", "a|b  12,000", "c    -", "One seed."]


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_benchmarks", ROOT / "docs" / "write_benchmarks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_says_what_is_met_what_falls_short_and_what_is_missing(tmp_path: Path) -> None:
    note(
        tmp_path,
        "one",
        teacher_accuracy=Figure.of(0.99, "fraction", "higher"),
        distil_errors_with=Figure((80, 70, 73), "errors", "lower", peer=("paper", 74)),
    )
    text = generator().benchmarks(tmp_path)
    assert "| teacher_accuracy | 0.99 fraction | >= 0.996 | **falls short by 0.006** |  |  |" in text
    assert "| distil_errors_with | 73 errors (median of 3: 70 to 80) | <= 74 | met | paper: 74 |  |" in text
    assert "| lenet5_ratio | not measured yet | >= 560 |" in text
    assert "| a\\|b | 12,000 |" in text
    assert "- One seed." in text
    assert "## edge\n\nNot measured yet. Goals:" in text
