"""The manifest: all that a node must know to fetch, check, load and serve one artifact.

Canonical JSON (sorted keys, no spaces) inside a DSSE envelope; the envelope is a blob and its digest names the artifact
everywhere. Nothing in it depends on when or where it was made: the same inputs give the same digest.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from littoral.codec import CODINGS
from littoral.digest import check_digest
from littoral.errors import BadManifest
from littoral.identity import seal, unseal
from littoral.lineage import Lineage, lineage_from
from littoral.resize import FITS, METHODS, resized
from littoral.signature import Metric, Signature, metric_from, signature_from

PAYLOAD_TYPE = "application/vnd.littoral.manifest+json"
SCHEMA = 1
FOREIGN_SCHEMA = 2
"""Of a manifest with a signature: agents from before there were any refuse it, and do not serve it wrongly."""
FULL_RANGE = "int8_dot"
"""In `Manifest.requires`: weights of 8 bits, which CPUs without VNNI or ARM's dot product add up wrongly."""
TASKS = ("classification", "regression", "detection", "custom")
MAX_MANIFEST_BYTES = 4 * 1024 * 1024
_MOST = float(np.finfo(np.float32).max) / 2


@dataclass(frozen=True, slots=True)
class Transfer:
    """What travels in place of a file, and gives it back: a blob, coded as `codec` says (one of littoral.codec.CODINGS)."""

    codec: str
    digest: str
    bytes: int


@dataclass(frozen=True, slots=True)
class File:
    """One file of an artifact. `path` is a bare name: no folder, no dot in front. `transfer` None: it travels as it lies."""

    path: str
    digest: str
    bytes: int
    transfer: Transfer | None = None


@dataclass(frozen=True, slots=True)
class Resize:
    """How images of any size become those that a model takes, see littoral.resize; Input.shape says which size and colour."""

    method: str  # "area" or "bilinear"
    fit: str  # "pad" or "stretch"


@dataclass(frozen=True, slots=True)
class Input:
    """The tensor that a client sends: raw values. The node gives the model `(raw * scale - mean) / std` as float32.

    `shape` leaves the batch out: (channels, height, width) of images, (features,) of a table, (channels, steps) of series. `mean`
    and `std` hold one value, or one for each channel or feature. With `resize`, images come in any size, in grey or colour.
    """

    name: str
    shape: tuple[int, ...]
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: Resize | None = None

    @property
    def images(self) -> bool:
        """Whether it takes images, and not rows of a table or series."""
        return len(self.shape) == 3

    def sized(self, raw: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Images as they came, (n, C, H, W), in the model's size and colour, (n, *shape). Raises BadInput."""
        if self.resize is None or raw.shape[1:] == self.shape:
            return raw
        return resized(raw, self.shape, self.resize.method, self.resize.fit)

    def sketched(self, raw: npt.NDArray[Any], prepared: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """What the input sketch counts: pixels as they are; of measured values what the model sees, for a column in thousands
        would hide one in thousandths."""
        return raw if self.images else prepared

    def prepare(self, raw: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """From (n, *shape), any number type, to float32 of the same shape."""
        return Preparation(self)(raw)


class Preparation:
    """`Input.prepare`, with what is the same for every request worked out once.

    `bounded`: raw values of no more than 2**64, as whole numbers are, and floats whose square float32 can hold, never overflow.
    """

    def __init__(self, given: Input) -> None:
        per_channel = (-1,) + (1,) * (len(given.shape) - 1)
        self._scale = np.float32(given.scale)
        self._mean = np.asarray(given.mean, np.float32).reshape(per_channel if len(given.mean) > 1 else ())
        self._std = np.asarray(given.std, np.float32).reshape(per_channel if len(given.std) > 1 else ())
        smallest = min(map(abs, given.std))
        largest = 2.0**64 * abs(given.scale) + max(map(abs, given.mean))
        self.bounded = largest < _MOST and largest < _MOST * smallest

    def __call__(self, raw: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """See Input.prepare."""
        x: npt.NDArray[np.float32] = np.asarray(raw, dtype=np.float32) * self._scale
        x -= self._mean  # in place: a batch that stays in the cache is ready in three quarters of the time
        x /= self._std
        return np.ascontiguousarray(x)


@dataclass(frozen=True, slots=True)
class Output:
    """The tensor that the model gives: logits, one for each class. `labels` are the classes' names, in order; where the task is
    no classification there are none."""

    name: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Probe:
    """A few raw inputs and what this very artifact answered when it was made; a node that answers otherwise does not serve it."""

    inputs: str  # base64 of uint8 or float32, C order, (n, *input.shape)
    dtype: str  # "uint8" or "float32"
    count: int
    logits: str  # base64 of float32, C order, (count, classes)
    tolerance: float  # largest absolute difference of a logit

    @classmethod
    def of(cls, inputs: npt.NDArray[Any], logits: npt.NDArray[np.float32], tolerance: float) -> Probe:
        kept = inputs if inputs.dtype == np.uint8 else inputs.astype(np.float32)
        return cls(
            base64.b64encode(np.ascontiguousarray(kept).tobytes()).decode(),
            str(kept.dtype),
            len(kept),
            base64.b64encode(np.ascontiguousarray(logits, dtype=np.float32).tobytes()).decode(),
            tolerance,
        )

    def input_array(self, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        return np.frombuffer(base64.b64decode(self.inputs), dtype=self.dtype).reshape(self.count, *shape)

    def logit_array(self) -> npt.NDArray[np.float32]:
        return np.frombuffer(base64.b64decode(self.logits), dtype=np.float32).reshape(self.count, -1)


NO_PROBE = Probe("", "uint8", 0, "", 0.0)
"""Of a manifest with a signature, which has a probe of its own."""


@dataclass(frozen=True, slots=True)
class SketchSpec:
    """How a node sketches its inputs; see littoral.sketch. `edges` has features rows of bins - 1 rising values."""

    seed: int
    edges: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    model: str  # the name under which it is served, for example "digits"
    name: str  # of this student, for example "cnn-m-int8"
    architecture: Mapping[str, Any]  # {"name": ..., and what littoral.architectures.build takes}
    parameters: int
    runtime: str  # "onnxruntime", "ncnn", "coreml" or "tensorrt"
    runtime_options: Mapping[str, Any]  # what the runtime must be told, for example {"fp16": false}
    requires: Mapping[str, int]  # {"opset": 18, "ir": 9} for ONNX, FULL_RANGE: 1 of some int8, {} else
    files: tuple[File, ...]
    input: Input
    output: Output
    accuracy: float  # fraction, on `accuracy_examples` held-out examples, of the artifact as exported; 0 where `metric` says it
    accuracy_examples: int
    probe: Probe
    sketch: SketchSpec
    parents: tuple[str, ...] = ()  # digests of what it was made from: teacher, base, data
    recipe: Mapping[str, Any] = field(default_factory=dict)  # how it was made, as resolved
    class_accuracy: tuple[float, ...] = ()  # as `accuracy`, of each label in order; empty: written before it was measured
    lineage: Lineage | None = None  # what the parents were, and what else decided these bytes; None: written before it was kept
    remarks: tuple[str, ...] = ()  # what whoever releases it should know, a sentence each
    task: str = "classification"  # of TASKS
    metric: Metric | None = None  # how good it is at another task; None: `accuracy` says it
    signature: Signature | None = None  # of a model that was imported, in place of input, output and probe
    schema: int = SCHEMA

    @property
    def score(self) -> float:
        """Of two artifacts for one task, the better one has the higher score."""
        return self.metric.score if self.metric else self.accuracy

    @property
    def artifact_bytes(self) -> int:
        """As it lies on the disk."""
        return sum(file.bytes for file in self.files)

    @property
    def transfer_bytes(self) -> int:
        """What a node fetches, the manifest itself aside."""
        return sum((file.transfer or file).bytes for file in self.files)

    @property
    def worst_class(self) -> tuple[str, float] | None:
        """(label, accuracy) of the class that it is worst at, of equals the first; None where that was not measured."""
        return worst_of(self.output.labels, self.class_accuracy) if self.class_accuracy else None

    @property
    def accuracy_by_label(self) -> dict[str, float]:
        """`class_accuracy` under the classes' names, in order; empty where it was not measured."""
        return dict(zip(self.output.labels, self.class_accuracy, strict=True)) if self.class_accuracy else {}

    def encode(self) -> bytes:
        """Canonical JSON. A file that travels as it lies says nothing about it; what is not known is left out."""
        body = asdict(self)
        if body["input"]["resize"] is None:
            del body["input"]["resize"]
        for file in body["files"]:
            if file["transfer"] is None:
                del file["transfer"]
        if self.lineage is None:
            del body["lineage"]
        if not self.remarks:
            del body["remarks"]
        if self.task == "classification":
            del body["task"]
        if self.metric is None:
            del body["metric"]
        if self.signature is None:
            del body["signature"]
        else:
            del body["input"], body["probe"]
        return json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()

    def seal(self, key: Ed25519PrivateKey) -> bytes:
        """The signed envelope: the blob whose digest names this artifact."""
        return seal(self.encode(), PAYLOAD_TYPE, key)

    @classmethod
    def open(cls, envelope: bytes, trusted: Mapping[str, bytes]) -> Manifest:
        """The manifest in a signed envelope.

        Raises:
            Untrusted: not signed by one of the `trusted` raw public keys (by key id).
            BadManifest: a field is missing, unknown to this version's schema, or wrong.
        """
        if len(envelope) > MAX_MANIFEST_BYTES:
            raise BadManifest(f"manifest: {len(envelope)} bytes, at most {MAX_MANIFEST_BYTES} are read")
        return cls.decode(unseal(envelope, PAYLOAD_TYPE, trusted))

    @classmethod
    def decode(cls, payload: bytes) -> Manifest:
        """Raises BadManifest, naming the field."""
        try:
            body = json.loads(payload)
        except ValueError as error:
            raise BadManifest("manifest: is not JSON") from error
        if not isinstance(body, dict):
            raise BadManifest(f"manifest: must be an object, is {type(body).__name__}")
        if (schema := body.get("schema")) not in (SCHEMA, FOREIGN_SCHEMA) or isinstance(schema, bool):
            read = f"{SCHEMA} and {FOREIGN_SCHEMA}"
            raise BadManifest(f"manifest.schema: is {schema!r}, this agent reads {read}", hint="upgrade the agent")
        if (schema == FOREIGN_SCHEMA) != ("signature" in body):
            raise BadManifest(f"manifest.signature: is {'missing' if schema == FOREIGN_SCHEMA else 'none of schema 1'}")
        return _manifest_from(body)


def worst_of(labels: Sequence[str], accuracy: Sequence[float]) -> tuple[str, float]:
    """(label, accuracy) of the class with the lowest accuracy, of equals the first; both in the order of the classes."""
    return min(zip(labels, accuracy, strict=True), key=lambda pair: pair[1])


def _take(body: Mapping[str, Any], path: str, name: str, kind: type | tuple[type, ...]) -> Any:
    if name not in body:
        raise BadManifest(f"{path}.{name}: is missing", hint="release the artifact again with this version of littoral-cloud")
    value = body[name]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        wanted = kind.__name__ if isinstance(kind, type) else "/".join(k.__name__ for k in kind)
        raise BadManifest(f"{path}.{name}: must be {wanted}, is {type(value).__name__}")
    return value


def _numbers(body: Mapping[str, Any], path: str, name: str) -> tuple[float, ...]:
    values = _take(body, path, name, list)
    if not values or not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        raise BadManifest(f"{path}.{name}: must be a list of numbers that is not empty")
    return tuple(float(v) for v in values)


def _file_from(body: Any, path: str) -> File:
    if not isinstance(body, dict):
        raise BadManifest(f"{path}: must be an object")
    name = _take(body, path, "path", str)
    if not name or name.startswith(".") or "/" in name or "\\" in name or "\0" in name:
        raise BadManifest(f"{path}.path: {name!r} is not a bare file name")
    size = _take(body, path, "bytes", int)
    if size < 0:
        raise BadManifest(f"{path}.bytes: {size} is negative")
    transfer = _transfer_from(body["transfer"], f"{path}.transfer") if body.get("transfer") is not None else None
    return File(name, check_digest(_take(body, path, "digest", str), f"{path}.digest"), size, transfer)


def _transfer_from(body: Any, path: str) -> Transfer:
    if not isinstance(body, dict):
        raise BadManifest(f"{path}: must be an object")
    if (codec := _take(body, path, "codec", str)) not in CODINGS:
        raise BadManifest(
            f"{path}.codec: {codec[:40]!r} is not known to this agent, it reads {', '.join(CODINGS)}", hint="upgrade the agent"
        )
    size = _take(body, path, "bytes", int)
    if size < 0:
        raise BadManifest(f"{path}.bytes: {size} is negative")
    return Transfer(codec, check_digest(_take(body, path, "digest", str), f"{path}.digest"), size)


def _manifest_from(body: Mapping[str, Any]) -> Manifest:
    top = "manifest"
    files = tuple(_file_from(f, f"{top}.files[{i}]") for i, f in enumerate(_take(body, top, "files", list)))
    if not files or len({f.path for f in files}) != len(files):
        raise BadManifest(f"{top}.files: must hold at least one file, and no name twice")
    task = body.get("task", TASKS[0])
    if task not in TASKS:
        raise BadManifest(f"{top}.task: {task!r:.40} is not known to this agent", hint=f"one of {', '.join(TASKS)}")
    signature = signature_from(body["signature"], f"{top}.signature") if "signature" in body else None
    raw_output = _take(body, top, "output", dict)
    labels = _take(raw_output, f"{top}.output", "labels", list)
    if (len(labels) < 2 and task == TASKS[0]) or not all(isinstance(label, str) for label in labels):
        raise BadManifest(f"{top}.output.labels: must hold at least two names")
    given = _input_from(_take(body, top, "input", dict), f"{top}.input") if signature is None else _first_of(signature)
    accuracy = float(_take(body, top, "accuracy", (int, float)))
    if not 0 <= accuracy <= 1:
        raise BadManifest(f"{top}.accuracy: {accuracy} is not a fraction between 0 and 1")
    parents = tuple(check_digest(p, f"{top}.parents") for p in _take(body, top, "parents", list))
    manifest = Manifest(
        model=_take(body, top, "model", str),
        name=_take(body, top, "name", str),
        architecture=_take(body, top, "architecture", dict),
        parameters=_take(body, top, "parameters", int),
        runtime=_take(body, top, "runtime", str),
        runtime_options=_take(body, top, "runtime_options", dict),
        requires=_take(body, top, "requires", dict),
        files=files,
        input=given,
        output=Output(_take(raw_output, f"{top}.output", "name", str), tuple(labels)),
        accuracy=accuracy,
        accuracy_examples=_take(body, top, "accuracy_examples", int),
        probe=NO_PROBE if signature else _probe_from(_take(body, top, "probe", dict), f"{top}.probe", given.shape, len(labels)),
        sketch=_sketch_from(_take(body, top, "sketch", dict), f"{top}.sketch", none=signature is not None),
        parents=parents,
        recipe=_take(body, top, "recipe", dict),
        class_accuracy=_class_accuracy_from(body, top, len(labels)),
        remarks=_remarks_from(body, top),
        task=task,
        metric=metric_from(body["metric"], f"{top}.metric") if "metric" in body else None,
        signature=signature,
        schema=FOREIGN_SCHEMA if signature else SCHEMA,
        lineage=lineage_from(body["lineage"], f"{top}.lineage", len(parents)) if "lineage" in body else None,
    )
    return manifest


def _input_from(body: Mapping[str, Any], path: str) -> Input:
    shape = _numbers(body, path, "shape")
    if any(d != int(d) or d < 1 for d in shape):
        raise BadManifest(f"{path}.shape: {list(shape)} must hold whole numbers from 1")
    return Input(
        _take(body, path, "name", str),
        tuple(int(d) for d in shape),
        float(_take(body, path, "scale", (int, float))),
        _numbers(body, path, "mean"),
        _numbers(body, path, "std"),
        _resize_from(body, path, len(shape)),
    )


def _first_of(signature: Signature) -> Input:
    """What stands for the input of a model that has a signature: its first one, as it is."""
    first = signature.inputs[0]
    return Input(first.name, first.shape[1:], 1.0, (0.0,), (1.0,))


def _resize_from(body: Mapping[str, Any], path: str, dimensions: int) -> Resize | None:
    if body.get("resize") is None:
        return None
    given = _take(body, path, "resize", dict)
    found = Resize(_take(given, f"{path}.resize", "method", str), _take(given, f"{path}.resize", "fit", str))
    if found.method not in METHODS or found.fit not in FITS or dimensions != 3:
        raise BadManifest(
            f"{path}.resize: {found.method[:40]!r}, {found.fit[:40]!r} is not known to this agent", hint="upgrade the agent"
        )
    return found


def _class_accuracy_from(body: Mapping[str, Any], path: str, classes: int) -> tuple[float, ...]:
    if "class_accuracy" not in body or body["class_accuracy"] == []:
        return ()  # written before it was measured
    fractions = _numbers(body, path, "class_accuracy")
    if len(fractions) != classes or not all(0 <= fraction <= 1 for fraction in fractions):
        raise BadManifest(f"{path}.class_accuracy: must hold {classes} fractions between 0 and 1, one for each label")
    return fractions


def _remarks_from(body: Mapping[str, Any], path: str) -> tuple[str, ...]:
    remarks = _take(body, path, "remarks", list) if "remarks" in body else []
    if not all(isinstance(remark, str) for remark in remarks):
        raise BadManifest(f"{path}.remarks: must be a list of texts")
    return tuple(remarks)


def _probe_from(body: Mapping[str, Any], path: str, shape: tuple[int, ...], classes: int) -> Probe:
    probe = Probe(
        _take(body, path, "inputs", str),
        _take(body, path, "dtype", str),
        _take(body, path, "count", int),
        _take(body, path, "logits", str),
        float(_take(body, path, "tolerance", (int, float))),
    )
    if probe.dtype not in ("uint8", "float32") or probe.count < 1 or probe.tolerance < 0:
        raise BadManifest(f"{path}: dtype must be uint8 or float32, count at least 1, tolerance not negative")
    try:
        if probe.input_array(shape).size == 0 or probe.logit_array().shape != (probe.count, classes):
            raise ValueError
    except ValueError as error:
        raise BadManifest(f"{path}: inputs or logits do not have the shape that input, output and count give") from error
    return probe


def _sketch_from(body: Mapping[str, Any], path: str, *, none: bool) -> SketchSpec:
    """`none`: there may be no edges, and inputs are not sketched then."""
    rows = _take(body, path, "edges", list)
    edges = tuple(_numbers({"row": row}, f"{path}.edges[{i}]", "row") for i, row in enumerate(rows))
    if not (edges or none) or any(len(row) != len(edges[0]) or list(row) != sorted(row) for row in edges):
        raise BadManifest(f"{path}.edges: rows must be of one length and rise")
    return SketchSpec(_take(body, path, "seed", int), edges)
