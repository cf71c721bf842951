"""A model from elsewhere as the coordinator holds it: its tensors by name, and a child process that runs it.

The one way in which an ONNX file that is not our own is opened: `artifact import` and the ONNX teacher both come through here.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from littoral.child import how_ended
from littoral.errors import BadInput, FleetError, NotFound, RuntimeFailure, TooLarge
from littoral.signature import FREE, TensorSpec
from littoral_cloud.foreign.frames import Array, Hung, Pipe, packed

MEMORY: Final = 4 << 30
SECONDS: Final = 300.0
_WORDS = 2_000
_DATATYPES: Final[Mapping[str, str]] = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
}
_ERRORS: Final[Mapping[str, type[FleetError]]] = {kind.code: kind for kind in (BadInput, NotFound, TooLarge, RuntimeFailure)}
GIVEN: Final = "given"


class ForeignCrash(RuntimeFailure):
    """A model from elsewhere took down the process that it ran in, or wanted more memory than it may have."""

    code = "foreign-crash"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a model from elsewhere may take: bytes of memory, and seconds for each thing that is asked of it."""

    memory: int = MEMORY
    seconds: float = SECONDS

    def __post_init__(self) -> None:
        if self.memory < 1 << 28 or self.seconds <= 0:
            raise BadInput(f"limits: {self.memory:,} bytes, {self.seconds:g} s", hint="at least 268,435,456 bytes and over 0 s")


USUAL_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class Graph:
    """A file, and what a runtime must know to load it."""

    data: bytes
    opset: int
    ir: int


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class ForeignModel:
    """Tensors of a type that nodes cannot be sent have no datatype here: "seq(map(int64,tensor(float)))" stands in its place."""

    path: Path
    what: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parameters: int
    opset: int
    ir: int
    unshaped: frozenset[str]  # tensors of which the file does not say how many sizes they have
    class_names: tuple[tuple[str, ...], ...]  # each may be what the graph calls its classes, in their order
    opened_maps: tuple[tuple[str, str], ...]  # an output that was a map of chances, and the tensor that is given in its place
    data: bytes  # the file, with all weights inside
    _child: _Child = field(repr=False)

    def run(self, feeds: Mapping[str, Array], outputs: tuple[str, ...] = (), *, name: str = GIVEN) -> dict[str, Array]:
        """Outputs by name; all where none are named.

        Args:
            name: of the graph: GIVEN, or one that was loaded.

        Raises RuntimeFailure, ForeignCrash, Hung.
        """
        wanted = outputs or tuple(spec.name for spec in self.outputs)
        _, answers = self._child.ask({"do": "run", "name": name, "outputs": list(wanted)}, feeds)
        return answers

    def load(self, data: bytes, name: str, *, optimised: bool = True) -> None:
        """Another graph into the same process. Raises RuntimeFailure, ForeignCrash, Hung."""
        import numpy as np

        self._child.ask({"do": "load", "name": name, "optimised": optimised}, {"model": np.frombuffer(data, np.uint8)})

    def quantized(self, feeds: Mapping[str, Array], batch: int, *, layers_alone: bool = False) -> Graph:
        """Its graph as int8, calibrated on these inputs; see quantizing.py. Raises RuntimeFailure, ForeignCrash, Hung."""
        about, answers = self._child.ask({"do": "quantize", "batch": batch, "layers_alone": layers_alone}, feeds)
        return Graph(answers["model"].tobytes(), about["opset"], about["ir"])

    def close(self) -> None:
        self._child.close()

    def __enter__(self) -> ForeignModel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_model(path: Path, *, what: str = "model", threads: int = 1, limits: Limits | None = None) -> ForeignModel:
    """Opens an ONNX file in a process of its own.

    Args:
        what: how messages call it.
        threads: of one inference.

    Raises:
        NotFound: no such file, or one that it names beside itself. TooLarge: over a GiB with those. BadInput: not ONNX, operators
        that onnxruntime does not have, weights outside its folder or behind a link, tensors that do not hold what they declare.
        RuntimeFailure: onnxruntime cannot load it. ForeignCrash, Hung: it took down its process, or was not loaded in time.
    """
    child = _Child(what, str(path), threads, limits or USUAL_LIMITS)
    try:
        about, arrays = child.ask({"do": "open", "path": str(path.absolute())}, {})
        inputs, outputs = (tuple(_spec(*entry) for entry in about[side]) for side in ("inputs", "outputs"))
    except BaseException:
        child.close()
        raise
    return ForeignModel(
        path=path,
        what=what,
        inputs=inputs,
        outputs=outputs,
        parameters=about["parameters"],
        opset=about["opset"],
        ir=about["ir"],
        unshaped=frozenset(name for side in ("inputs", "outputs") for name, _, shape in about[side] if shape is None),
        class_names=tuple(tuple(names) for names in about["class_names"]),
        opened_maps=tuple((str(old), str(new)) for old, new in about["opened"]),
        data=arrays["model"].tobytes(),
        _child=child,
    )


def _spec(name: str, kind: str, shape: list[Any] | None) -> TensorSpec:
    sizes = tuple(size if isinstance(size, int) and size >= 0 else FREE for size in shape or ())
    return TensorSpec(name, _DATATYPES.get(kind, kind), sizes)


class _Child:
    """One at a time asks it; it ends with whoever holds it."""

    def __init__(self, what: str, path: str, threads: int, limits: Limits) -> None:
        self._what, self._path, self._threads, self._limits = what, path, threads, limits
        self._lock = threading.Lock()
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the child
        main = threading.current_thread() is threading.main_thread()  # the kernel's signal follows the thread
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LITTORAL_")}
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "littoral_cloud.foreign.opened_main", "--memory", str(limits.memory)),
                *(("--parent", str(os.getpid())) if main else ()),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            env={**kept, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"},
            bufsize=0,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._pipe = Pipe(self._process.stdin.fileno(), self._process.stdout.fileno())
        self._end = weakref.finalize(self, _end, self._process, self._words)

    def ask(self, body: Mapping[str, Any], arrays: Mapping[str, Array]) -> tuple[dict[str, Any], dict[str, Array]]:
        more = {"what": f"{self._what}: {self._path}", "threads": self._threads, "seconds": self._limits.seconds}
        if body["do"] == "open":
            more["what"] = self._what
        with self._lock:
            if not self._end.alive:
                raise RuntimeFailure(f"{self._what}: {self._path} was closed, or its process was ended", hint="open it again")
            try:
                self._pipe.send(packed({**body, **more}, arrays), self._limits.seconds)
                reply, answers = self._pipe.receive(self._limits.seconds)
            except Hung as error:
                self.close()
                raise Hung(f"{self._what}: {self._path}: {error.message}", hint="is it too large for this machine?") from error
            except (EOFError, BrokenPipeError, ConnectionResetError, ValueError, KeyError, TypeError) as error:
                raise self._crashed() from error
        if "code" in reply:
            kind = _ERRORS.get(str(reply["code"]), RuntimeFailure)
            raise kind(str(reply["message"]), hint=str(reply["hint"]))
        return reply, answers

    def _crashed(self) -> ForeignCrash:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5.0)
        code = self._process.poll()
        last = self._last_words()
        self.close()
        how = "talked nonsense" if code is None else how_ended(code)
        return ForeignCrash(
            f"{self._what}: {self._path} took down the process that it was opened in ({how}){last}",
            hint=f"it may take {self._limits.memory:,} bytes of memory; is it what it should be?",
        )

    def _last_words(self) -> str:
        """The last line that the child said, if any."""
        self._words.seek(max(0, self._words.seek(0, os.SEEK_END) - _WORDS))
        lines = self._words.read().decode(errors="replace").strip().splitlines()
        return f": {lines[-1][:200]}" if lines else ""

    def close(self) -> None:
        self._end()


def _end(process: subprocess.Popen[bytes], words: IO[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout, words):
        if stream is not None:
            stream.close()
