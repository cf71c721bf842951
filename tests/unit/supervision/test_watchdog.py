"""An inference that hangs in the agent's own process is ended by its runtime; where that cannot be, by the end of the process."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from littoral.digest import digest_of
from littoral.errors import RuntimeFailure
from littoral.manifest import File
from littoral_node.runtimes import Array, Tensor, load
from littoral_node.runtimes.ended import RuntimeHang
from littoral_node.supervision.watchdog import GuardedModel, Stoppable, Watchdog
from tests.kit.agent import glaring, good_weights, onnx_bytes
from tests.kit.models import artifact
from tests.kit.patience import PATIENCE_S

STUCK = """
import threading
from littoral_node.supervision.watchdog import Watchdog

class Stuck:
    def infer(self, x):
        threading.Event().wait()

watchdog = Watchdog(0.2, lambda name, digest: print(name, digest, flush=True))
watchdog.guard("m", "sha256:1", Stuck()).infer(None)
"""


def hanging(folder: Path) -> GuardedModel | object:
    file = onnx_bytes(good_weights(), trap="hang")
    manifest = artifact(folder, files=(File("model.onnx", digest_of(file), len(file)),))
    (folder / "model.onnx").write_bytes(file)
    return load(manifest, folder, 1)


def test_onnxruntime_ends_a_loop_that_would_last_for_ever_and_goes_on_with_the_next(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []
    watchdog = Watchdog(0.3, lambda name, digest: pytest.fail("it could be ended"))
    watchdog.follow(lambda name, digest: told.append((name, digest)))
    model = hanging(tmp_path)
    assert isinstance(model, Stoppable)
    guarded = watchdog.guard("m", "sha256:1", model)  # type: ignore[arg-type]
    quiet, loud = np.zeros((1, 1, 4, 4), np.float32), (glaring().reshape(1, 1, 4, 4) / 255).astype(np.float32)
    assert guarded.infer(quiet).shape == (1, 3)
    for number in (1, 2):
        with pytest.raises(RuntimeHang, match=r"longer than 0\.3 s"):
            guarded.infer(loud)
        assert told == [("m", "sha256:1")] * number
        assert guarded.infer(quiet).shape == (1, 3)
    with pytest.raises(RuntimeFailure, match="takes float32") as raised:  # another failure is no hang
        guarded.infer(quiet[:, 0])
    assert not isinstance(raised.value, RuntimeHang)
    guarded.close()
    watchdog.close()


def test_what_no_runtime_ends_ends_the_process_with_last_words() -> None:
    done = subprocess.run([sys.executable, "-c", STUCK], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (done.returncode, done.stdout) == (RuntimeFailure.exit_code, "m sha256:1\n")


def test_it_ends_the_process_where_even_the_last_words_fail() -> None:
    failing = STUCK.replace("lambda name, digest: print(name, digest, flush=True)", "lambda name, digest: open('/dev/full/x')")
    done = subprocess.run([sys.executable, "-c", failing], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == RuntimeFailure.exit_code


class Slow:
    """Obeys `stop`, or not."""

    def __init__(self, *, obeys: bool) -> None:
        self.began, self._over = threading.Event(), threading.Event()
        self._obeys = obeys

    def infer(self, x: Tensor) -> Tensor:
        self.began.set()
        self._over.wait()
        raise RuntimeFailure("ended")

    def run(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        return feeds

    def stop(self) -> None:
        if self._obeys:
            self._over.set()

    def close(self) -> None:
        self._over.set()


@pytest.mark.parametrize("obeys", [True, False])
def test_one_that_does_not_obey_in_as_long_again_is_beyond_help(obeys: bool) -> None:
    hangs: list[int] = []
    slow = Slow(obeys=obeys)
    model = GuardedModel(slow, 10.0, lambda: hangs.append(1), lambda it: None)
    failures: list[Exception] = []

    def ask() -> None:
        try:
            model.infer(np.zeros(1, np.float32))
        except RuntimeFailure as error:
            failures.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    assert slow.began.wait(PATIENCE_S)
    now = time.monotonic()
    assert not model.look(now + 5)
    assert hangs == []
    assert not model.look(now + 11)
    assert hangs == [1]
    if obeys:
        thread.join()
        assert not model.look(now + 25)
    else:
        assert not model.look(now + 15)
        assert model.look(now + 21)
        model.close()
        thread.join()
    assert hangs == [1]
    assert [type(error) for error in failures] == [RuntimeHang]
