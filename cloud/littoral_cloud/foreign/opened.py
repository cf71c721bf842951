"""A model from elsewhere as the coordinator uses it: its tensors by name, and a child process that runs it.

The one way in which an ONNX file that is not our own is opened: `artifact import` and the ONNX teacher both come through here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from littoral.errors import BadInput, NotFound, RuntimeFailure, TooLarge
from littoral.process.frames import Array
from littoral.process.limits import ChildLimits, threads_environment
from littoral.process.worker import BlockingWorker, Raised, WorkerSpec
from littoral.tensor_spec import FREE, TensorSpec

MEMORY: Final = 4 << 30
SECONDS: Final = 300.0
_OPEN_FILES: Final = 256
_MOST_BYTES: Final = 1 << 31
"""Of a file that the child writes, and of the arrays of one call or answer."""
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
GIVEN: Final = "given"


class ForeignCrash(RuntimeFailure):
    """A model from elsewhere took down the process that it ran in, or needed more memory than it may take."""

    code = "foreign-crash"


class ForeignHang(RuntimeFailure):
    """A model from elsewhere took longer than its limit; its process was ended."""

    code = "runtime-hang"


_RAISED: Final = Raised(ForeignCrash, ForeignHang, (RuntimeFailure, BadInput, NotFound, TooLarge))


@dataclass(frozen=True, slots=True)
class ForeignLimits:
    """What a model from elsewhere may take: bytes of memory, and seconds for each call."""

    memory: int = MEMORY
    seconds: float = SECONDS

    def __post_init__(self) -> None:
        if self.memory < 1 << 28 or self.seconds <= 0:
            raise BadInput(f"limits: {self.memory:,} bytes, {self.seconds:g} s", hint="at least 268,435,456 bytes and over 0 s")


USUAL_LIMITS: Final = ForeignLimits()


@dataclass(frozen=True, slots=True)
class Graph:
    """A file, and what a runtime must know to load it."""

    data: bytes
    opset: int
    ir: int


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class ForeignModel:
    """Tensors of a type that nodes do not take have no datatype here: "seq(map(int64,tensor(float)))" stands in its place."""

    path: Path
    what: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parameters: int
    opset: int
    ir: int
    unshaped: frozenset[str]  # tensors whose number of sizes the file does not give
    class_names: tuple[tuple[str, ...], ...]  # each may be what the graph calls its classes, in their order
    opened_maps: tuple[tuple[str, str], ...]  # an output that was a map of chances, and the tensor that is given in its place
    data: bytes  # the file, with all weights inside
    _child: _Child = field(repr=False)

    def run(self, feeds: Mapping[str, Array], outputs: tuple[str, ...] = (), *, name: str = GIVEN) -> dict[str, Array]:
        """Outputs by name; all where none are named.

        Args:
            name: of the graph: GIVEN, or one that was loaded.

        Raises RuntimeFailure, ForeignCrash, ForeignHang.
        """
        wanted = outputs or tuple(spec.name for spec in self.outputs)
        _, answers = self._child.ask({"do": "run", "name": name, "outputs": list(wanted)}, feeds)
        return answers

    def load(self, data: bytes, name: str, *, optimised: bool = True) -> None:
        """Another graph into the same process. Raises RuntimeFailure, ForeignCrash, ForeignHang."""
        import numpy as np

        self._child.ask({"do": "load", "name": name, "optimised": optimised}, {"model": np.frombuffer(data, np.uint8)})

    def quantized(self, feeds: Mapping[str, Array], batch: int, *, layers_alone: bool = False) -> Graph:
        """Its graph as int8, calibrated on these inputs; see quantizing.py. Raises RuntimeFailure, ForeignCrash, ForeignHang."""
        about, answers = self._child.ask({"do": "quantize", "batch": batch, "layers_alone": layers_alone}, feeds)
        return Graph(answers["model"].tobytes(), about["opset"], about["ir"])

    def close(self) -> None:
        self._child.close()

    def __enter__(self) -> ForeignModel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_model(path: Path, *, what: str = "model", threads: int = 1, limits: ForeignLimits | None = None) -> ForeignModel:
    """Opens an ONNX file in a process of its own.

    Args:
        what: how messages call it.
        threads: of one inference.

    Raises:
        NotFound: no such file, or one that it names beside itself. TooLarge: over a GiB with those. BadInput: not ONNX, operators
        that onnxruntime does not have, weights outside its folder or behind a link, tensors that do not hold what they declare.
        RuntimeFailure: onnxruntime cannot load it. ForeignCrash,
        ForeignHang: it took its process down, or longer than allowed.
    """
    child = _Child(what, str(path), threads, limits or USUAL_LIMITS)
    try:
        about, arrays = child.ask({"do": "open", "what": what, "path": str(path.absolute())}, {})
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
        class_names=tuple(tuple(names) for names in json.loads(arrays["class_names"].tobytes())),
        opened_maps=tuple((str(old), str(new)) for old, new in about["opened"]),
        data=arrays["model"].tobytes(),
        _child=child,
    )


def _spec(name: str, kind: str, shape: list[Any] | None) -> TensorSpec:
    sizes = tuple(size if isinstance(size, int) and size >= 0 else FREE for size in shape or ())
    return TensorSpec(name, _DATATYPES.get(kind, kind), sizes)


class _Child:
    """Ends with what refers to it, or by `close`."""

    def __init__(self, what: str, path: str, threads: int, limits: ForeignLimits) -> None:
        self._more = {"what": f"{what}: {path}", "threads": threads}
        self._seconds = limits.seconds
        ours = {name: value for name, value in os.environ.items() if not name.startswith("LITTORAL_")}
        self._worker = BlockingWorker(
            WorkerSpec(
                "littoral_cloud.foreign.opened_main",
                {"memory": limits.memory},
                what=f"{what}: {path}: its process, of at most {limits.memory:,} bytes of memory,",
                raised=_RAISED,
                limits=ChildLimits(memory_bytes=limits.memory, open_files=_OPEN_FILES, file_bytes=_MOST_BYTES),
                most_bytes=_MOST_BYTES,
                environment={**ours, **threads_environment(1), "MALLOC_ARENA_MAX": "2"},
            )
        )
        self._worker.ready(limits.seconds)

    def ask(self, body: Mapping[str, Any], arrays: Mapping[str, Array]) -> tuple[dict[str, Any], dict[str, Array]]:
        return self._worker.call({**self._more, **body}, arrays, limit_s=self._seconds)

    def close(self) -> None:
        self._worker.end()
