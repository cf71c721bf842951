from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import dataclass

import pytest

from littoral.errors import NotFound
from littoral_cloud.cli import NOUNS, execute
from littoral_cloud.terminal.output import Format, emit, emit_error, worth
from littoral_cloud.terminal.text import counted, when


@dataclass(frozen=True)
class Row:
    name: str
    size: float
    tags: tuple[str, ...] = ()
    there: bool = True


def said(data: object, format: Format = Format.TABLE, columns: tuple[str, ...] | None = None, empty: str = "nothing") -> str:
    out = io.StringIO()
    emit(data, format, columns=columns, empty=empty, out=out)
    return out.getvalue()


def test_rows_are_columns_under_a_heading() -> None:
    assert said([Row("a", 1.5), Row("longer", 0.123456789, ("x", "y"), False)]) == (
        "NAME    SIZE      TAGS  THERE\na       1.5       -     yes\nlonger  0.123457  x,y   no\n"
    )
    assert said([Row("a", 1.5)], columns=("there", "name")) == "THERE  NAME\nyes    a\n"
    assert said([], empty="no nodes") == "no nodes\n"
    assert json.loads(said([], Format.JSON, empty="no nodes")) == []
    assert said({"lines": 3, "whole": True}) == "lines:  3\nwhole:  yes\n"


def test_one_is_singular() -> None:
    assert [counted(count, "node") for count in (0, 1, 2, 1_000)] == ["0 nodes", "1 node", "2 nodes", "1,000 nodes"]


@pytest.mark.parametrize(
    "words", [("run", "start"), ("run", "start", "--no-such-option"), ("run", "stat"), ("sample", "list", "--last", "9" * 20)]
)
def test_a_usage_error_is_json_where_that_is_asked(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert execute([*words, "--format", "json"]) == 2
    error = json.loads(capsys.readouterr().err)["error"]
    assert error["code"] == "bad-input"
    assert error["message"]
    assert error["hint"].endswith("--help")


def test_json_is_for_programs() -> None:
    assert json.loads(said([Row("a", 1.5)], Format.JSON)) == [{"name": "a", "size": 1.5, "tags": [], "there": True}]


def test_a_name_cannot_steer_the_terminal() -> None:
    assert "\x1b" not in said([Row("\x1b[2J", 1.0)])
    out = io.StringIO()
    emit_error(NotFound("node '\x1b]0;x\x07': is not there", hint="look"), out=out)
    assert out.getvalue() == "error: node '\\x1b]0;x\\x07': is not there\n  hint: look\n"


def test_times_are_utc() -> None:
    assert when(0) == "1970-01-01T00:00:00Z"


HEAVY = {"torch", "flwr", "onnx", "onnxruntime", "matplotlib", "optuna", "scipy", "sympy", "PIL", "rich", "pydantic", "ray"}
WITH_NUMPY = {"artifact", "release", "rollout"}  # they read manifests, with probes in them


@pytest.mark.parametrize(
    ("nouns", "heavy"),
    [(sorted(NOUNS.keys() - WITH_NUMPY), HEAVY | {"numpy", "grpc"}), (sorted(WITH_NUMPY), HEAVY | {"grpc"})],
)
def test_no_command_imports_what_it_does_not_need(nouns: list[str], heavy: set[str]) -> None:
    """What an operator waits for at each command: the modules of every noun, with all that they import at their start."""
    code = (
        "import sys; from littoral_cloud.cli import execute\n"
        f"for noun in {nouns}: assert execute([noun, '--help']) == 0\n"
        "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(ended.stderr.split())
    assert "littoral_cloud" in imported
    assert imported & heavy == set()


def test_a_command_that_asks_a_coordinator_imports_no_rich_and_leaves_httpx_whole() -> None:
    code = (
        "import asyncio, sys\n"
        "from littoral_cloud.client.fleet_client import client_of\n"
        "from littoral_cloud.client.profile import LoginProfile\n"
        "async def ask() -> None:\n"
        "    async with client_of(LoginProfile(url='https://127.0.0.1:1', token='litt_x')): ...\n"
        "asyncio.run(ask())\n"
        "print(*sys.modules)\n"
        "import httpx._main"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(ended.stdout.split())
    assert "httpx" in imported
    assert imported & {"rich", "redis", "cryptography", "fastapi", "numpy", "littoral_cloud.app"} == set()


@pytest.mark.parametrize(("accuracy", "classes", "shown"), [(0.0, {}, None), (0.0, {"a": 0.0}, 0.0), (0.9, {}, 0.9)])
def test_an_accuracy_that_was_never_measured_is_not_shown_as_none_at_all(
    accuracy: float, classes: dict[str, float], shown: float | None
) -> None:
    for format in Format:
        assert worth(accuracy, None, format, classes=classes)["accuracy"] == shown
