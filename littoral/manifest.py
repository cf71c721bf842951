"""The manifest: all that a node must know to fetch, check, load and serve one artifact.

Canonical JSON (sorted keys, no spaces) inside a DSSE envelope; the envelope is a blob and its digest names the artifact
everywhere. Nothing in it depends on when or where it was made: the same inputs give the same digest.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from littoral.errors import BadManifest
from littoral.identity import seal, unseal
from littoral.lineage import Lineage
from littoral.resize import resized
from littoral.signature import Metric, Signature

PAYLOAD_TYPE = "application/vnd.littoral.manifest+json"
SCHEMA = 1
FOREIGN_SCHEMA = 2
"""Of a manifest with a signature: agents from before there were any refuse it, and do not serve it wrongly."""
FULL_RANGE = "int8_dot"
"""In `Manifest.requires`: weights of 8 bits, which CPUs without VNNI or ARM's dot product add up wrongly."""
TASKS = ("classification", "regression", "detection", "custom")
MAX_MANIFEST_BYTES = 4 * 1024 * 1024
_HALF_OF_MOST = float(np.finfo(np.float32).max) / 2


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
        return raw if len(self.shape) == 3 else prepared

    def prepare(self, raw: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """From (n, *shape), any number type, to float32 of the same shape."""
        return Preparation(self)(raw)


class Preparation:
    """`Input.prepare`, with what is the same for every request worked out once."""

    def __init__(self, given: Input) -> None:
        per_channel = (-1,) + (1,) * (len(given.shape) - 1)
        self._scale = np.float32(given.scale)
        self._mean = np.asarray(given.mean, np.float32).reshape(per_channel if len(given.mean) > 1 else ())
        self._std = np.asarray(given.std, np.float32).reshape(per_channel if len(given.std) > 1 else ())

    @cached_property
    def most(self) -> float:
        """Raw values of no larger size than this do not overflow float32 on the way; 0: not known of any."""
        room = _HALF_OF_MOST * min(float(np.abs(self._std).min()), 1.0) - float(np.abs(self._mean).max())
        return max(0.0, room / abs(float(self._scale))) if self._scale else 0.0

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
    measured_classes: Mapping[str, float] = field(default_factory=dict)  # in its place where the data hold not every class
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
        """(label, accuracy) of the class that it is worst at, of those measured and of equals the first; None: none was."""
        found = self.accuracy_by_label
        return worst_of(tuple(found), tuple(found.values())) if found else None

    @property
    def accuracy_by_label(self) -> dict[str, float]:
        """`class_accuracy` under the classes' names, in order; of some classes where no other was measured, or of none."""
        if self.class_accuracy:
            return dict(zip(self.output.labels, self.class_accuracy, strict=True))
        return dict(self.measured_classes)

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
        if not self.measured_classes:
            del body["measured_classes"]
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
        from littoral.manifest_reading import manifest_from  # which knows every part of this module

        return manifest_from(body)


def worst_of(labels: Sequence[str], accuracy: Sequence[float]) -> tuple[str, float]:
    """(label, accuracy) of the class with the lowest accuracy, of equals the first; both in the order of the classes."""
    return min(zip(labels, accuracy, strict=True), key=lambda pair: pair[1])
