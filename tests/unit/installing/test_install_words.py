"""What the three commands refuse, by name and with the way out; and what they ask where somebody is there."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from littoral_node.identity.folder import NodeFolder
from littoral_node.installing.__main__ import main
from littoral_node.installing.layout import Install, Layout
from tests.kit.patience import PATIENCE_S

ROOT = Path(__file__).parents[3]


def test_the_installer_runs_out_of_a_wheel_on_a_python_that_has_no_packages() -> None:
    code = "import sys; sys.path[:0] = sys.argv[1:]; import littoral_node.installing.__main__"
    subprocess.run((sys.executable, "-I", "-S", "-c", code, ROOT, ROOT / "edge_node"), check=True, timeout=PATIENCE_S)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("install", "--extras", "torch"), 2, "--extras: 'torch'"),
        (("install", "--memory-max", "much"), 2, "--memory-max: 'much'"),
        (("install", "--offline"), 2, "--offline: there is no folder"),
        (("install", "--from", "{}/none.whl"), 2, "neither a wheel nor a folder"),
        (("install", "--python", "{}/python"), 1, "cannot be started"),
        (("install", "--join-file", "{}/none", "--from", "{}"), 2, "holds 0 wheels"),
        (("upgrade",), 4, "nothing is installed here"),
        (("uninstall", "--purge"), 4, "nothing is installed here"),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, said: str
) -> None:
    where = ("--root", str(tmp_path / "root")) if words[0] == "install" else ("--prefix", str(tmp_path / "opt"))
    assert main([*(word.format(tmp_path) for word in words), *where, "--format", "json"]) == code
    error = json.loads(capsys.readouterr().err)["error"]
    assert said in error["message"]
    assert list(tmp_path.iterdir()) == []


def installed(folder: Path) -> Layout:
    layout = Layout(folder / "opt")
    layout.release("1.0").mkdir(parents=True)
    layout.mark_complete("1.0", "1.0")
    layout.switch("1.0")
    NodeFolder(folder / "data").prepare()
    layout.record_install(Install(str(layout.prefix), str(folder / "data"), ("edge",)))
    return layout


@pytest.mark.parametrize(("answer", "code", "kept"), [("keep", 0, True), ("purge", 0, False), ("yes", 2, True)])
def test_on_a_terminal_it_asks_and_takes_no_other_word(tmp_path: Path, answer: str, code: int, kept: bool) -> None:
    layout = installed(tmp_path)
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "littoral_node.installing", "uninstall", "--prefix", str(layout.prefix)],
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.write(ours, f"{answer}\n".encode())
        out, _ = process.communicate(timeout=PATIENCE_S)
    finally:
        os.close(ours)
        os.close(theirs)
    assert "Answer purge or keep" in out
    assert process.returncode == code
    assert (tmp_path / "data").is_dir() == kept
    assert layout.record.exists() == (code != 0)


def test_one_at_a_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layout = installed(tmp_path)
    with layout.claimed():
        assert main(["uninstall", "--keep-data", "--prefix", str(layout.prefix), "--format", "json"]) == 8
    assert "another install or upgrade is at work" in capsys.readouterr().err
    assert layout.releases() == ["1.0"]
    assert main(["uninstall", "--keep-data", "--prefix", str(layout.prefix), "--dry-run"]) == 0
    assert layout.releases() == ["1.0"]
    assert main(["uninstall", "--keep-data", "--prefix", str(layout.prefix)]) == 0
    assert not layout.prefix.exists()
