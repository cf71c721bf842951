"""What is refused on the command line, in a setting or in a file of the operator's says what he can do about it."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import littoral_node

ROOT = Path(littoral_node.__file__).parent
OPERATORS = (
    *("cli.py", "settings.py", "values.py", "store.py", "labelled.py", "enrol.py", "asking", "installing"),
    *("serving/access.py", "serving/tls.py", "serving/front.py"),
)
"""Whose errors an operator reads."""
NOT_THEIRS = ("RuntimeFailure", "ValueError")  # what a model does; what never leaves its module


def files() -> list[Path]:
    places = [ROOT / name for name in OPERATORS]
    return sorted(file for place in places for file in ([place] if place.is_file() else place.rglob("*.py")))


@pytest.mark.parametrize("file", files(), ids=lambda file: str(file.relative_to(ROOT)))
def test_every_refusal_has_a_hint(file: Path) -> None:
    calls = [node.exc for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Raise)]
    without = [
        f"line {call.lineno}: {ast.unparse(call)}"
        for call in calls
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id[0].isupper()
        if call.func.id not in NOT_THEIRS and not any(word.arg == "hint" for word in call.keywords)
    ]
    assert not without


def test_a_folder_of_another_user_is_refused_in_words(tmp_path: Path) -> None:
    folder = tmp_path / "node"
    folder.mkdir(mode=0o700)
    becomes = "os.setuid(65534)" if os.getuid() == 0 else "None"  # root reads everything
    folder.chmod(0)
    doctor = f"main(['doctor', '--data', {str(folder)!r}])"
    code = f"import os, littoral_node.client.doctor; from littoral_node.cli import main; {becomes}; {doctor}"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    folder.chmod(0o700)
    assert ended.returncode == 2, ended.stderr
    assert "Permission denied" in ended.stderr
    assert "run this as the user that the node runs as" in ended.stderr
    assert "Traceback" not in ended.stderr
