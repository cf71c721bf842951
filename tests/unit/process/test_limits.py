"""What a child may take is bounded, never over what the system allows."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

from littoral.process.limits import how_ended, last_line, training_environment

APPLY = """
import os, resource as r
r.setrlimit(r.RLIMIT_AS, (3 << 30, 3 << 30)); r.setrlimit(r.RLIMIT_NOFILE, (64, 64))
from littoral.process.limits import ChildLimits
ChildLimits(memory_bytes=4 << 30, open_files=256, file_bytes=1 << 20, nice=3, killed_first=True).apply()
print(*r.getrlimit(r.RLIMIT_AS), r.getrlimit(r.RLIMIT_NOFILE)[0], *r.getrlimit(r.RLIMIT_FSIZE), r.getrlimit(r.RLIMIT_CORE)[1])
print(os.nice(0), open("/proc/self/oom_score_adj").read())
"""


def test_limits_are_as_wanted_and_never_over_what_the_system_allows() -> None:
    done = subprocess.run([sys.executable, "-c", APPLY], capture_output=True, text=True, check=True)
    core = min(1, resource.getrlimit(resource.RLIMIT_CORE)[1]) if resource.getrlimit(resource.RLIMIT_CORE)[1] >= 0 else 1
    limits = [3 << 30, 3 << 30, 64, 1 << 20, 1 << 20, core, os.nice(0) + 3, 1000]
    assert done.stdout.split() == [str(limit) for limit in limits]


def test_an_end_is_named_and_of_a_traceback_the_error_is_the_last_word() -> None:
    assert how_ended(3) == "exit code 3"
    assert how_ended(-signal.SIGSEGV) == "SIGSEGV"
    assert "lack of memory" in how_ended(-signal.SIGKILL)
    assert last_line(b"Traceback\n  at a line\nValueError: no\xff port\n\n") == "ValueError: no\ufffd port"
    assert last_line(b"") == ""
    assert len(last_line(b"x" * 5_000)) == 300


def test_a_process_that_trains_runs_one_thread_and_calls_nobody() -> None:
    environment = training_environment({"A": "1"}, Path("/home/of/flwr"))
    assert environment["A"] == environment["OMP_NUM_THREADS"] == "1"
    assert (environment["FLWR_TELEMETRY_ENABLED"], environment["FLWR_HOME"]) == ("0", "/home/of/flwr")
