"""A command that did what it was asked to do does not fail because of where its words go."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from littoral import streams

PROGRAM = """
import os, sys
from littoral import streams
streams.prepare()
descriptor = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)  # what a command makes
os.write(descriptor, b"made")
sys.stderr.write("warning: caf\\u00e9 \\udcff\\n")
sys.stderr.flush()
code = 0
try:
    print("caf\\u00e9 \\udcff \\U0001f980")
    sys.stdout.flush()
except streams.NotPrinted as error:
    sys.stderr.write(f"{error}\\n")
    code = error.exit_code
except BrokenPipeError:
    code = streams.PIPE_CLOSED
sys.exit(streams.finished(code))
"""


def run(place: Path, redirected: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    words = ["sh", "-c", f'exec "$0" -c "$1" "$2" {redirected}', sys.executable, PROGRAM, str(place)]
    done = subprocess.run(words, capture_output=True, check=False, env={**os.environ, **environment})
    assert place.read_bytes() == b"made"  # nothing was printed into it, whatever number it got
    return done


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"PYTHONIOENCODING": "ascii"}, rb"caf\xe9 \udcff \U0001f980" + b"\n"),
        ({"PYTHONIOENCODING": "latin-1"}, b"caf\xe9 " + rb"\udcff \U0001f980" + b"\n"),
        ({"PYTHONIOENCODING": "utf-8"}, "café ".encode() + rb"\udcff" + " 🦀\n".encode()),
        ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, rb"caf\xe9 \udcff \U0001f980" + b"\n"),
    ],
    ids=["ascii", "latin-1", "utf-8", "C"],
)
def test_what_the_encoding_cannot_say_is_escaped(tmp_path: Path, environment: dict[str, str], said: bytes) -> None:
    done = run(tmp_path / "made", "", **environment)
    assert (done.returncode, done.stdout) == (0, said)


@pytest.mark.parametrize("redirected", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", "2>/dev/full", "2>/dev/full >&-"])
def test_a_stream_that_is_closed_stops_nobody(tmp_path: Path, redirected: str) -> None:
    assert run(tmp_path / "made", redirected).returncode == 0


def test_an_answer_that_a_full_disk_swallows_is_told_and_is_no_failure_of_the_command(tmp_path: Path) -> None:
    done = run(tmp_path / "made", ">/dev/full")
    assert done.returncode == 74
    assert b"what it was asked to do is done" in done.stderr


def test_a_reader_that_is_gone_ends_it_as_a_pipe_does(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    words = [sys.executable, "-c", PROGRAM, str(tmp_path / "made")]
    done = subprocess.run(words, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (done.returncode, done.stderr.count(b"\n")) == (141, 1)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("module", ["littoral_node.cli", "littoral_cloud.cli"])
def test_both_programs_answer_so(module: str, unbuffered: str) -> None:
    program = f"from {module} import main; main()"
    for redirected, code in ((">/dev/full", 74), (">&-", 0), ("2>&- >&-", 0)):
        words = ["sh", "-c", f'exec "$0" -c "$1" --version {redirected}', sys.executable, program]
        done = subprocess.run(words, capture_output=True, check=False, env={**os.environ, "PYTHONUNBUFFERED": unbuffered})
        assert (done.returncode, b"Traceback" in done.stderr) == (code, False), done.stderr


def test_the_cloud_command_ends_as_a_pipe_does() -> None:
    read, write = os.pipe()
    os.close(read)
    words = [sys.executable, "-c", "from littoral_cloud.cli import main; main()", "--version"]
    done = subprocess.run(words, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (streams.PIPE_CLOSED, b"")
