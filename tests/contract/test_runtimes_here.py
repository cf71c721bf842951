"""Every runtime of the registry on this very machine, with nothing put in its place."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from littoral.errors import RuntimeFailure
from littoral_node.runtimes import REGISTRY, facts, load, why_not
from tests.kit.models import FILES_OF, HERE, artifact

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.parametrize("runtime", sorted(REGISTRY))


def test_it_is_here_or_says_why_not_and_every_runtime_of_the_registry_has_these_cases(runtime: str, tmp_path: Path) -> None:
    assert set(FILES_OF) == set(REGISTRY)
    assert set(HERE) <= set(facts())
    missing = why_not(runtime)
    assert (missing is None) == (runtime in facts())
    if missing is None:
        load(artifact(tmp_path, runtime), tmp_path, 1).close()
        return
    assert missing.reason
    assert missing.way_out
    with pytest.raises(RuntimeFailure) as caught:
        load(artifact(tmp_path, runtime), tmp_path, 1)
    assert missing.reason in str(caught.value)
    assert caught.value.hint


_IDLE = """
import resource, sys, threading
from pathlib import Path
import numpy as np
from littoral_node.runtimes import load
from tests.kit.models import artifact

folder = Path(sys.argv[1])
model = load(artifact(folder, sys.argv[2], shape=(1, 64, 64), classes=300), folder, 2)
x = np.zeros((4, 1, 64, 64), np.float32)
print("loaded", flush=True)
for line in sys.stdin:  # an inference for each line, which wakes its threads; then nothing until the next
    model.infer(x)
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(used.ru_utime + used.ru_stime, flush=True)
"""


def test_a_model_with_two_threads_costs_no_cpu_while_nobody_asks(runtime: str, tmp_path: Path) -> None:
    """CPU seconds of the process over a second of waiting, between two inferences; what the second one takes is in it."""
    if runtime not in HERE:
        assert runtime not in facts()  # its threads are those of what stands in for it
        return
    command = [sys.executable, "-c", _IDLE, str(tmp_path), runtime]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == "loaded\n"

        def cpu_seconds() -> float:
            child.stdin.write("\n")  # type: ignore[union-attr]
            child.stdin.flush()  # type: ignore[union-attr]
            return float(child.stdout.readline())  # type: ignore[union-attr]

        cpu_seconds()
        before = cpu_seconds()
        threading.Event().wait(1.0)
        after = cpu_seconds()
        child.stdin.close()
    assert after - before < 0.1  # two threads that spin would use up to two seconds
