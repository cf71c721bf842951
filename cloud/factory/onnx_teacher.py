"""A teacher in an ONNX file, from wherever: run by onnxruntime on the CPU, with nothing but what is in the file.

The file is the operator's choice, and still it is not trusted with more than computing: its size is bounded, weights that lie in
other files are refused, so are operators that are not onnxruntime's own (no library is ever loaded for one).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnxruntime.capi.onnxruntime_inference_collection import InferenceSession
from onnxruntime.capi.onnxruntime_pybind11_state import SessionOptions

from cloud.data.dataset import Dataset, Images
from cloud.factory.answers_given import checked
from cloud.factory.lesson import Logits
from cloud.factory.recipes import Gives, OnnxRecipe
from littoral.digest import digest_of
from littoral.errors import BadInput, NotFound, RuntimeFailure, TooLarge
from littoral.manifest import Input

MOST_BYTES = 1 << 30
_AT_ONCE = 256  # images; a dynamic batch
_TYPES: Mapping[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}
_WAY_OUT = "write it as one file, with torch.onnx.export or onnx.save"
_OWN_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})


@dataclass(frozen=True, slots=True, eq=False)
class OnnxTeacher:
    name: str
    digest: str
    parameters: int
    session: InferenceSession
    given: Input
    output: str
    classes: int
    gives: Gives = "logits"
    seconds: float = 0.0

    @classmethod
    def load(cls, recipe: OnnxRecipe, dataset: Dataset, given: Input) -> OnnxTeacher:
        """Opens it, holds its input and output against the data set, and tries it on two images.

        Raises:
            NotFound: no such file. TooLarge: over a GiB. BadInput: not ONNX, weights or operators from elsewhere, or another
            shape than the data set's; the message names both. RuntimeFailure: onnxruntime cannot run it.
        """
        path = Path(recipe.onnx)
        data = _read(path)
        parameters = _inspected(data, path)
        session = _session(data, path, recipe.threads)
        output = _output(session, recipe.output, path, dataset.classes)
        _check_input(session, path, dataset)
        settings = {**recipe.resolved(), "onnx": "", "threads": 0}
        usual = settings == {**OnnxRecipe("").resolved(), "onnx": "", "threads": 0}
        digest = digest_of(data) if usual else digest_of(f"{digest_of(data)} {sorted(settings.items())}".encode())
        teacher = cls(path.stem, digest, parameters, session, given, output, dataset.classes, recipe.gives)
        teacher.logits(dataset.train_x[:2])
        return teacher

    def logits(self, x: Images) -> Logits:
        [entry] = self.session.get_inputs()
        kind = _TYPES[entry.type]
        fixed = entry.shape[0] if isinstance(entry.shape[0], int) else 0
        batch = fixed or _AT_ONCE
        parts = []
        for start in range(0, len(x), batch):
            raw = x[start : start + batch]
            count = len(raw)
            if fixed and count < fixed:  # the last one repeated; what it answers to those is dropped
                raw = np.concatenate([raw, np.repeat(raw[-1:], fixed - count, axis=0)])
            prepared = raw if kind is np.uint8 else self.given.prepare(raw).astype(kind)
            try:
                [answered] = self.session.run([self.output], {entry.name: prepared})
            except Exception as error:
                raise RuntimeFailure(f"teacher.onnx: {self.name} cannot be run: {_brief(error)}") from error
            parts.append(checked(np.asarray(answered)[:count], count, self.classes, self.gives, f"teacher.onnx: {self.name}"))
        return np.concatenate(parts)


def _read(path: Path) -> bytes:
    try:
        if (size := path.stat().st_size) > MOST_BYTES:
            raise TooLarge(f"teacher.onnx: {path} holds {size:,} bytes", hint=f"at most {MOST_BYTES:,}")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise NotFound(
            f"teacher.onnx: {path} does not exist", hint="paths in a recipe begin at the recipe's own folder"
        ) from error
    except OSError as error:
        raise BadInput(f"teacher.onnx: {path} cannot be read: {error.strerror}") from error


def _inspected(data: bytes, path: Path) -> int:
    """How many parameters it has. Raises BadInput where it is not ONNX, or wants something that is not in it."""
    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError) as error:
        raise BadInput(f"teacher.onnx: {path} is damaged or not ONNX ({len(data)} bytes held)", hint=_WAY_OUT) from error
    if not model.graph.node:
        raise BadInput(f"teacher.onnx: {path} is not ONNX, or holds no graph ({len(data)} bytes held)", hint=_WAY_OUT)
    local = {function.domain for function in model.functions}
    for node in _nodes([model.graph, *model.functions]):
        if node.domain not in _OWN_DOMAINS | local:
            raise BadInput(
                f"teacher.onnx: {path} needs operator {node.op_type} of {node.domain!r}",
                hint="only onnxruntime's own operators are run; wrap it in a function teacher",
            )
        for tensor in _tensors(node):
            _refuse_external(tensor, path)
    sparse = (part for both in model.graph.sparse_initializer for part in (both.values, both.indices))
    for tensor in (*model.graph.initializer, *sparse):
        _refuse_external(tensor, path)
    return int(sum(np.prod(t.dims, dtype=np.int64) for t in model.graph.initializer if t.data_type in _FLOATS))


_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE, onnx.TensorProto.BFLOAT16)


def _nodes(graphs: Sequence[Any]) -> Iterable[Any]:
    """Every node, of graphs within nodes too."""
    waiting = list(graphs)
    while waiting:
        for node in waiting.pop().node:
            yield node
            for attribute in node.attribute:
                waiting += [attribute.g] if attribute.HasField("g") else []
                waiting += attribute.graphs


def _tensors(node: Any) -> Iterable[Any]:
    for attribute in node.attribute:
        yield attribute.t
        yield from attribute.tensors
        for graph in (attribute.g, *attribute.graphs):
            yield from graph.initializer
            yield from (part for sparse in graph.sparse_initializer for part in (sparse.values, sparse.indices))


def _refuse_external(tensor: Any, path: Path) -> None:
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        raise BadInput(
            f"teacher.onnx: {path} keeps {tensor.name!r} in another file",
            hint="write it as one file: onnx.save(onnx.load(path), other), or external_data=False",
        )


def _session(data: bytes, path: Path, threads: int) -> InferenceSession:
    options = SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise RuntimeFailure(f"teacher.onnx: onnxruntime cannot load {path}: {_brief(error)}") from error


def _check_input(session: InferenceSession, path: Path, dataset: Dataset) -> None:
    entries = session.get_inputs()
    if len(entries) != 1:
        named = ", ".join(entry.name for entry in entries)
        raise BadInput(f"teacher.onnx: {path} has {len(entries)} inputs ({named})", hint="one is wanted, for the images")
    [entry] = entries
    if entry.type not in _TYPES:
        raise BadInput(f"teacher.onnx: {path} takes {entry.type}", hint=f"one of {', '.join(_TYPES)} is wanted")
    shape, wanted = list(entry.shape), dataset.shape
    if len(shape) == 4 and all(not isinstance(d, int) or d == w for d, w in zip(shape[1:], wanted, strict=True)):
        return
    last = (*wanted[1:], wanted[0])
    turned = wanted[0] != wanted[1] and len(shape) == 4 and tuple(shape[1:]) == last
    raise BadInput(
        f"teacher.onnx: {path} takes {shape}, the images of {dataset.name} are {list(wanted)}",
        hint="its channels come last: transpose them in a function teacher"
        if turned
        else "(batch, channels, height, width) is wanted; scale the images to its size in a function teacher",
    )


def _output(session: InferenceSession, wanted: str, path: Path, classes: int) -> str:
    entries = {entry.name: entry for entry in session.get_outputs()}
    if wanted and wanted not in entries:
        raise BadInput(f"teacher.output: {path} has no {wanted!r}", hint=f"it has {', '.join(entries)}")
    if not wanted and len(entries) != 1:
        raise BadInput(f"teacher.onnx: {path} has {len(entries)} outputs", hint=f"set output to one of {', '.join(entries)}")
    entry = entries[wanted] if wanted else next(iter(entries.values()))
    shape = entry.shape
    if shape and (len(shape) != 2 or (isinstance(shape[1], int) and shape[1] != classes)):
        raise BadInput(
            f"teacher.onnx: {path} gives {entry.name} of shape {shape}, the data set has {classes} classes",
            hint=f"(batch, {classes}) is wanted: a logit for each class",
        )
    return str(entry.name)


def _brief(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:297]}..."
