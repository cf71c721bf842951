"""A model in a process of its own answers as one here, and whatever it does there is one error here."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from littoral_node.artifacts.envelope import ENVELOPE
from littoral_node.isolated.frames import Broken, receive, send
from littoral_node.isolated.model import open_apart
from littoral_node.runtimes.ended import BadValues, RuntimeCrash, RuntimeHang

from littoral.errors import RuntimeFailure
from littoral.manifest import Manifest
from littoral.signature import DATATYPES
from tests.kit.foreign import tokens
from tests.kit.models import HERE, artifact, images, logits_of, weights
from tests.kit.patience import PATIENCE_S
from tests.kit.serving import imported

KEY = Ed25519PrivateKey.generate()
ROOM = 200_000_000


def laid(folder: Path, runtime: str = "onnxruntime", **fields: Any) -> Manifest:
    manifest = artifact(folder, runtime, **fields)
    (folder / ENVELOPE).write_bytes(manifest.seal(KEY))
    return manifest


@pytest.mark.parametrize("runtime", HERE)
async def test_it_answers_as_it_would_here_from_any_thread_and_ends_when_it_is_closed(runtime: str, tmp_path: Path) -> None:
    manifest = laid(tmp_path, runtime)
    model = await open_apart(tmp_path, 1, memory=ROOM, limit_s=30)
    x = images(3)
    answers = await asyncio.gather(*(asyncio.to_thread(model.infer, manifest.input.prepare(x)) for _ in range(4)))
    for logits in answers:
        np.testing.assert_allclose(logits, logits_of(x, weights()), atol=1e-4)
    with pytest.raises(RuntimeFailure, match="the model takes float32"):
        model.infer(np.zeros((1, 2, 2), np.float32))
    np.testing.assert_allclose(model.infer(manifest.input.prepare(x)), logits_of(x, weights()), atol=1e-4)  # it lives on
    model.close()
    model.close()
    assert not Path(f"/proc/{model.pid}").exists()
    with pytest.raises(RuntimeFailure, match="closed"):
        model.infer(manifest.input.prepare(x))


async def test_what_the_child_finds_wrong_is_said_with_its_own_code(tmp_path: Path) -> None:
    manifest = artifact(tmp_path)
    wrong = artifact(tmp_path / "other", seed=1)
    (tmp_path / ENVELOPE).write_bytes(wrong.seal(KEY))  # the probe of one, the file of the other
    assert manifest.files[0].path == wrong.files[0].path
    with pytest.raises(RuntimeFailure, match="a logit is off") as raised:
        await open_apart(tmp_path, 1, memory=ROOM, limit_s=30)
    assert raised.value.code == "probe-mismatch"


async def test_values_that_the_runtime_does_not_take_are_told_from_a_model_that_fails(tmp_path: Path) -> None:
    served = imported(tmp_path, tokens(), {"ids": np.int64([[1, 2]])})
    served.model.close()
    (tmp_path / ENVELOPE).write_bytes(served.manifest.seal(KEY))
    model = await open_apart(tmp_path, 1, memory=ROOM, limit_s=30)
    with pytest.raises(BadValues, match="idx=99"):
        model.run({"ids": np.int64([[99]])})
    assert model.run({"ids": np.int64([[2]])})["y"].tolist() == [[8, 9, 10, 11]]
    model.close()


async def test_its_death_is_one_error_that_names_the_signal(tmp_path: Path) -> None:
    manifest = laid(tmp_path)
    model = await open_apart(tmp_path, 1, memory=ROOM, limit_s=30)
    os.kill(model.pid, signal.SIGSEGV)
    async with asyncio.timeout(PATIENCE_S):
        assert "SIGSEGV" in str(await model.gone())
    for _ in range(2):
        with pytest.raises(RuntimeCrash, match="its runtime ended with SIGSEGV"):
            model.infer(manifest.input.prepare(images(1)))
    model.close()


async def test_one_that_does_not_answer_is_ended_and_called_a_hang(tmp_path: Path) -> None:
    manifest = laid(tmp_path)
    model = await open_apart(tmp_path, 1, memory=ROOM, limit_s=0.5)
    os.kill(model.pid, signal.SIGSTOP)
    with pytest.raises(RuntimeHang, match=r"longer than 0\.5 s for one inference"):
        await asyncio.to_thread(model.infer, manifest.input.prepare(images(1)))
    async with asyncio.timeout(PATIENCE_S):
        assert isinstance(await model.gone(), RuntimeHang)
    assert not Path(f"/proc/{model.pid}").exists()
    model.close()


async def test_a_child_that_does_not_start_says_its_last_words(tmp_path: Path) -> None:
    laid(tmp_path)
    with pytest.raises(RuntimeCrash, match="exit code 1"):
        await open_apart(tmp_path, 1, memory=ROOM, limit_s=30, command=(sys.executable, "-m", "edge_node.no_such_module"))
    with pytest.raises(RuntimeCrash, match="No such file"):
        await open_apart(tmp_path, 1, memory=ROOM, limit_s=30, command=("/no/such/python",))


async def test_cancelled_while_it_loads_it_ends_the_child(tmp_path: Path) -> None:
    laid(tmp_path)
    waiting = (sys.executable, "-c", "import sys; sys.stdin.read(); import threading; threading.Event().wait()")
    opening = asyncio.create_task(open_apart(tmp_path, 1, memory=ROOM, limit_s=30, command=waiting))
    await asyncio.sleep(0)  # its first step starts the child
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(opening, PATIENCE_S)


async def test_its_memory_is_bounded_and_it_goes_first_when_memory_is_short(tmp_path: Path) -> None:
    laid(tmp_path)
    model = await open_apart(tmp_path, 1, memory=ROOM, limit_s=30)
    soft, _ = resource.prlimit(model.pid, resource.RLIMIT_DATA)
    assert ROOM < soft < ROOM + 1_000_000_000
    assert Path(f"/proc/{model.pid}/oom_score_adj").read_text().strip() == "1000"
    assert resource.prlimit(model.pid, resource.RLIMIT_CORE)[0] <= 1
    model.close()


@given(
    st.dictionaries(
        st.text(max_size=8),
        st.sampled_from(sorted(DATATYPES.values(), key=str)).flatmap(
            lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5))
        ),
        max_size=4,
    )
)
def test_every_array_comes_over_as_it_was(arrays: dict[str, Any]) -> None:
    here, there = socket.socketpair()
    with here, there:
        send(here, {"do": "run"}, arrays)
        head, came = receive(there)
    assert head["do"] == "run"
    assert list(came) == list(arrays)
    for name, array in arrays.items():
        assert came[name].dtype == array.dtype
        assert came[name].shape == array.shape
        assert came[name].tobytes() == array.tobytes()


@given(st.binary(max_size=200), st.booleans())
def test_what_is_no_frame_is_refused_and_nothing_else(noise: bytes, framed: bool) -> None:
    if framed:
        noise = len(noise).to_bytes(4, "little") + b"\0\0\0\0" + noise
    here, there = socket.socketpair()
    with there:
        with here:
            here.sendall(noise)
        with pytest.raises(Broken):
            receive(there)


def test_a_frame_that_is_too_long_is_not_read() -> None:
    here, there = socket.socketpair()
    with here, there:
        writing = threading.Thread(target=lambda: here.sendall(b"\xff" * 8))
        writing.start()
        with pytest.raises(Broken, match="4294967295"):
            receive(there)
        writing.join()
