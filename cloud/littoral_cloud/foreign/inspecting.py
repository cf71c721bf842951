"""An ONNX file from anywhere, looked through before anything of it is run or allocated. For the child alone, see child.py.

What is refused: more than MOST_BYTES in all; tensors that declare more values than they hold, or more than MOST_VALUES; operators
of a domain that onnxruntime does not have itself (no library is ever loaded for one); weights in files outside the model's
folder, or reached through a link. Weights in files beside it become part of the one file that is released.
"""

from __future__ import annotations

import errno
import math
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto

from littoral.errors import BadInput, NotFound, TooLarge

MOST_BYTES = 1 << 30
MOST_VALUES = 1 << 28
_WAY_OUT = "write it as one file, with torch.onnx.export or onnx.save"
_OWN_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
_BITS = {
    **dict.fromkeys((TensorProto.FLOAT, TensorProto.INT32, TensorProto.UINT32), 32),
    **dict.fromkeys((TensorProto.DOUBLE, TensorProto.INT64, TensorProto.UINT64, TensorProto.COMPLEX64), 64),
    **dict.fromkeys((TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.INT16, TensorProto.UINT16), 16),
    **dict.fromkeys((TensorProto.INT8, TensorProto.UINT8, TensorProto.BOOL), 8),
    **dict.fromkeys(
        (
            TensorProto.FLOAT8E4M3FN,
            TensorProto.FLOAT8E4M3FNUZ,
            TensorProto.FLOAT8E5M2,
            TensorProto.FLOAT8E5M2FNUZ,
        ),
        8,
    ),
    **dict.fromkeys((TensorProto.INT4, TensorProto.UINT4, TensorProto.FLOAT4E2M1), 4),
    TensorProto.COMPLEX128: 128,
}
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)
_TYPED = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")


@dataclass(frozen=True, slots=True, eq=False)
class Inspected:
    model: onnx.ModelProto  # weights inside
    parameters: int
    opset: int
    ir: int


def read_file(path: Path, what: str) -> bytes:
    """The bytes of the file, unread. Raises NotFound, TooLarge before it is read, or BadInput where it is no file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # opening a pipe without a writer must not block
        with open(descriptor, "rb") as file:
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode):
                raise BadInput(f"{what}: {path} cannot be read: it is no file")
            if about.st_size > MOST_BYTES:
                raise TooLarge(f"{what}: {path} holds {about.st_size:,} bytes", hint=f"at most {MOST_BYTES:,}")
            return file.read(MOST_BYTES + 1)
    except FileNotFoundError as error:
        raise NotFound(f"{what}: {path} does not exist", hint="paths in a recipe begin at the recipe's own folder") from error
    except OSError as error:
        raise BadInput(f"{what}: {path} cannot be read: {error.strerror}") from error


def inspected(data: bytes, path: Path, what: str) -> Inspected:
    """The graph, its weights inside it.

    Args:
        path: where the file lies: other files of it may lie in its folder.
        what: how messages call it: "teacher.onnx" or "model".

    Raises BadInput or TooLarge, naming the tensor or the operator.
    """
    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError, UnicodeDecodeError) as error:
        raise BadInput(f"{what}: {path} is damaged or not ONNX ({len(data)} bytes)", hint=_WAY_OUT) from error
    if not model.graph.node:
        raise BadInput(f"{what}: {path} is not ONNX, or holds no graph ({len(data)} bytes)", hint=_WAY_OUT)
    _check_operators(model, path, what)
    _check_versions(model, path, what)
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        _check_declared(value, path, what)
    files = _Beside(path, what, MOST_BYTES - len(data))
    for tensor in _tensors([model.graph, *model.functions]):
        if tensor.data_location == TensorProto.EXTERNAL:
            files.inline(tensor)
        _check_size(tensor, path, what)
    own = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    parameters = sum(math.prod(t.dims) for t in _tensors([model.graph]) if t.data_type in _FLOATS)
    return Inspected(model, parameters, max(own, default=1), int(model.ir_version))


def _check_operators(model: onnx.ModelProto, path: Path, what: str) -> None:
    local = {(function.domain, function.name) for function in model.functions}
    for node in _nodes([model.graph, *model.functions]):
        if node.domain not in _OWN_DOMAINS and (node.domain, node.op_type) not in local:
            raise BadInput(
                f"{what}: {path} needs operator {node.op_type} of {node.domain!r}, at node {node.name or node.output[:1]!r:.80}",
                hint="only onnxruntime's own operators are run, and no library is loaded; a teacher may be a function instead",
            )


def _check_versions(model: onnx.ModelProto, path: Path, what: str) -> None:
    """Each operator is of a set whose version the file names."""
    named = {_own_name(entry.domain) for entry in model.opset_import}
    local = {_own_name(function.domain) for function in model.functions}
    for node in _nodes([model.graph]):
        if (domain := _own_name(node.domain)) not in named | local:
            called = "ONNX's own operators" if not domain else f"the operators of {domain!r}"
            add = f"helper.make_opsetid({domain!r}, {18 if not domain else 1})"
            raise BadInput(
                f"{what}: {path} uses {node.op_type} and does not say which version of {called} it was made for",
                hint=f"export it again, or add to its opset_import: onnx.{add}",
            )


def _own_name(domain: str) -> str:
    """Both names of ONNX's own operators are one."""
    return "" if domain == "ai.onnx" else domain


def _check_declared(value: Any, path: Path, what: str) -> None:
    """A negative size is a free one, as onnxruntime reads it."""
    sizes = [dim.dim_value for dim in value.type.tensor_type.shape.dim if dim.HasField("dim_value")]
    if math.prod(size for size in sizes if size > 0) > MOST_VALUES:
        raise BadInput(f"{what}: {path} declares {value.name!r:.80} as {sizes}", hint=f"at most {MOST_VALUES:,} values a tensor")


def _check_size(tensor: Any, path: Path, what: str) -> None:
    """A tensor holds exactly what it declares: nothing is allocated for values that are not there."""
    dims = list(tensor.dims)
    called = f"{what}: {path}: tensor {tensor.name!r:.80}"
    if any(size < 0 for size in dims) or math.prod(dims) > MOST_VALUES:
        raise BadInput(f"{called} declares the shape {dims!r:.80}", hint=f"at most {MOST_VALUES:,} values a tensor")
    count = math.prod(dims)
    typed = {name: len(getattr(tensor, name)) for name in _TYPED}
    if tensor.data_type == TensorProto.STRING:
        held, wanted = typed["string_data"], count
    elif (bits := _BITS.get(tensor.data_type)) is None:
        raise BadInput(f"{called} holds a kind of number that is not known: {tensor.data_type}", hint="update onnxruntime")
    elif tensor.HasField("raw_data"):
        held, wanted = len(tensor.raw_data), -(-count * bits // 8)
    else:
        parts = {TensorProto.COMPLEX64: 2, TensorProto.COMPLEX128: 2}.get(tensor.data_type, 1)
        held, wanted = sum(typed.values()), count * parts if bits >= 8 else -(-count // (8 // bits))
    if held != wanted:
        raise BadInput(f"{called} declares {count:,} values {dims!r:.60} and does not hold them", hint=_WAY_OUT)


class _Beside:
    """Files beside a model, read without following a link, and no more of them than `left` bytes."""

    def __init__(self, path: Path, what: str, left: int) -> None:
        self._path, self._what, self._left = path, what, left
        self._folder = path.absolute().parent

    def inline(self, tensor: Any) -> None:
        """Puts what lies elsewhere into the tensor. Raises BadInput, TooLarge, NotFound."""
        entries = {entry.key: entry.value for entry in tensor.external_data}
        called = f"{self._what}: {self._path} keeps {tensor.name!r:.80} in another file"
        try:
            offset, length = int(entries.get("offset", "0")), int(entries.get("length", "-1"))
        except ValueError as error:
            raise BadInput(f"{called}, at a place that is no number", hint=_WAY_OUT) from error
        descriptor = self._opened(entries.get("location", ""), called)
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            os.close(descriptor)
            raise BadInput(f"{called}, which is no file", hint=_WAY_OUT)
        with open(descriptor, "rb") as file:
            length = about.st_size - offset if length < 0 else length
            if offset < 0 or length < 0 or offset + length > about.st_size:
                raise BadInput(
                    f"{called}: {length:,} bytes from {offset:,} on, it holds {about.st_size:,}", hint="copy both files again"
                )
            if length > self._left:
                raise TooLarge(f"{called}: more than {MOST_BYTES:,} bytes in all", hint="release a smaller model")
            self._left -= length
            file.seek(offset)
            tensor.raw_data = file.read(length)
        del tensor.external_data[:]
        tensor.data_location = TensorProto.DEFAULT

    def _opened(self, location: str, called: str) -> int:
        place = PurePosixPath(location)
        if not place.parts or place.is_absolute() or ".." in place.parts or "\\" in location or "\0" in location:
            raise BadInput(f"{called}, {location!r:.80}, outside its own folder", hint=_WAY_OUT)
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for part in place.parts[:-1]:
                inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
                os.close(folder)
                folder = inner
            return os.open(place.parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        except FileNotFoundError as error:
            raise NotFound(f"{called}, {location!r:.80}, which does not exist", hint="copy it beside the model") from error
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise BadInput(
                    f"{called}, {location!r:.80}, through a link", hint="copy the file itself beside the model"
                ) from error
            raise BadInput(f"{called}, {location!r:.80}, which cannot be read: {error.strerror}") from error
        finally:
            os.close(folder)


def _nodes(graphs: Sequence[Any]) -> Iterator[Any]:
    """Every node, of graphs within nodes too."""
    waiting = list(graphs)
    while waiting:
        for node in waiting.pop().node:
            yield node
            for attribute in node.attribute:
                waiting += [attribute.g] if attribute.HasField("g") else []
                waiting += attribute.graphs


def _tensors(graphs: Sequence[Any]) -> Iterator[Any]:
    """Every tensor that a file holds: of graphs, of graphs within nodes, and of attributes."""
    waiting = list(graphs)
    while waiting:
        graph = waiting.pop()
        yield from getattr(graph, "initializer", ())
        yield from (part for sparse in getattr(graph, "sparse_initializer", ()) for part in (sparse.values, sparse.indices))
        attributes = [attribute for node in graph.node for attribute in node.attribute]
        attributes += getattr(graph, "attribute_proto", ())
        for attribute in attributes:
            yield from [attribute.t] if attribute.HasField("t") else []
            yield from attribute.tensors
            sparse = ([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []) + list(attribute.sparse_tensors)
            yield from (part for one in sparse for part in (one.values, one.indices))
            waiting += [attribute.g] if attribute.HasField("g") else []
            waiting += attribute.graphs
