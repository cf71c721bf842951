"""The manifest: all that a node must know to fetch, check, load and serve one artifact.

Canonical JSON (sorted keys, no spaces) inside a DSSE envelope; the envelope is a blob and its digest names the artifact
everywhere. Nothing in it depends on when or where it was made: the same inputs give the same digest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from littoral import decoder, json_text
from littoral.codec import CODINGS
from littoral.decoder import BadField
from littoral.digest import check_digest
from littoral.errors import BadInput, BadManifest
from littoral.identity import seal, unseal
from littoral.lineage import Lineage
from littoral.metric import Metric, worst_of
from littoral.preparation import Input
from littoral.probe import NO_PROBE, Probe
from littoral.signature import Signature, is_text

PAYLOAD_TYPE = "application/vnd.littoral.manifest+json"
SCHEMA = 1
FOREIGN_SCHEMA = 2
"""Of a manifest with a signature: agents from before there were any refuse it, and do not serve it wrongly."""
FULL_RANGE = "int8_dot"
"""In `Manifest.requires`: weights of 8 bits, which CPUs without VNNI or ARM's dot product add up wrongly."""
ALWAYS = ("parents", "recipe")
"""Fields that every manifest holds, although a manifest in memory may leave them empty."""
TASKS = ("classification", "regression", "detection", "custom")
MAX_MANIFEST_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Transfer:
    """What travels in place of a file, and gives it back: a blob, coded as `codec` says (one of littoral.codec.CODINGS)."""

    codec: str
    digest: str
    bytes: int

    def check_decoded(self) -> None:
        if self.codec not in CODINGS:
            raise BadField("codec", f"{self.codec:.40} is not known, known are {', '.join(CODINGS)}", hint="upgrade the agent")
        _check_blob(self.digest, self.bytes)


@dataclass(frozen=True, slots=True)
class File:
    """One file of an artifact. `path` is a bare name: no folder, no dot in front. `transfer` None: it travels as it lies."""

    path: str
    digest: str
    bytes: int
    transfer: Transfer | None = None

    def check_decoded(self) -> None:
        name = self.path
        if not name or name.startswith(".") or "/" in name or "\\" in name or "\0" in name:
            raise BadField("path", f"{name!r:.80} is not a bare file name", hint="name a file, without a folder")
        _check_blob(self.digest, self.bytes)


def _check_digest(digest: str, path: str) -> None:
    try:
        check_digest(digest)
    except BadInput as error:
        raise BadField(path, error.message.removeprefix("digest: "), hint=error.hint) from error


def _check_blob(digest: str, size: int) -> None:
    _check_digest(digest, "digest")
    if size < 0:
        raise BadField("bytes", f"{size} is negative")


@dataclass(frozen=True, slots=True)
class Output:
    """The tensor that the model gives: logits, one for each class. `labels` are the classes' names, in order; where the task is
    no classification there are none."""

    name: str
    labels: tuple[str, ...]

    def check_decoded(self) -> None:
        for place, label in enumerate(self.labels):
            if not is_text(label):
                raise BadField(f"labels[{place}]", f"{label!a:.60} is no text that UTF-8 can encode")


@dataclass(frozen=True, slots=True)
class SketchSpec:
    """How a node sketches its inputs; see littoral.sketch. `edges` has features rows of bins - 1 rising values."""

    seed: int
    edges: tuple[tuple[float, ...], ...]

    def check_decoded(self) -> None:
        if any(not row or len(row) != len(self.edges[0]) or list(row) != sorted(row) for row in self.edges):
            raise BadField("edges", "rows must be of one length, not empty, and rise")


@dataclass(frozen=True, slots=True)
class Manifest:
    model: str  # the name under which it is served, for example "digits"
    name: str  # of this student, for example "cnn-m-int8"
    architecture: Mapping[str, Any]  # {"name": ..., and what littoral.architectures.build takes}
    parameters: int
    runtime: str  # "onnxruntime", "ncnn", "coreml" or "tensorrt"
    runtime_options: Mapping[str, Any]  # for the runtime, for example {"fp16": false}
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
    lineage: Lineage | None = None  # what the parents were, and what else decided these bytes; None: not known
    remarks: tuple[str, ...] = ()  # what an operator should know before a release, a sentence each
    task: str = "classification"  # of TASKS
    metric: Metric | None = None  # how good it is at another task; None: `accuracy` says it
    signature: Signature | None = None  # of a model that was imported, in place of input, output and probe
    schema: int = SCHEMA

    def check_decoded(self) -> None:
        """Raises BadField where the parts do not fit each other."""
        if not self.files or len({file.path for file in self.files}) != len(self.files):
            raise BadField("files", "must hold at least one file, and no name twice")
        if self.task not in TASKS:
            raise BadField("task", f"{self.task[:40]!r} is not known", hint=f"one of {', '.join(TASKS)}")
        classes = len(self.output.labels)
        if classes < 2 and self.task == TASKS[0]:
            raise BadField("output.labels", f"holds {classes} names, a classification needs at least two")
        self._check_accuracy(classes)
        for place, parent in enumerate(self.parents):
            _check_digest(parent, f"parents[{place}]")
        if self.lineage is not None and len(self.lineage.roles) != len(self.parents):
            raise BadField("lineage.roles", f"must hold {len(self.parents)} names, one for each parent")
        if self.signature is None:
            self.probe.check_against(self.input.shape, classes)
            if not self.sketch.edges:
                raise BadField("sketch.edges", "must hold at least one row")

    def _check_accuracy(self, classes: int) -> None:
        if not 0 <= self.accuracy <= 1:
            raise BadField("accuracy", f"{self.accuracy} is not a fraction between 0 and 1")
        if self.class_accuracy and len(self.class_accuracy) != classes:
            raise BadField("class_accuracy", f"must hold {classes} fractions, one for each label")
        for place, fraction in enumerate(self.class_accuracy):
            if not 0 <= fraction <= 1:
                raise BadField(f"class_accuracy[{place}]", f"{fraction} is not a fraction between 0 and 1")
        for label, fraction in self.measured_classes.items():
            if label not in self.output.labels or not 0 <= fraction <= 1:
                raise BadField(
                    f"measured_classes.{label:.40}", f"{fraction} must be a fraction between 0 and 1, of one of the labels"
                )

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
        for name in ("lineage", "remarks", "measured_classes", "metric", "signature"):
            if not body[name]:
                del body[name]
        if self.task == TASKS[0]:
            del body["task"]
        if self.signature is not None:
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
        """Raises BadManifest, naming the field, the value and what it must be."""
        try:
            return cls._decoded(json_text.parse(payload, "manifest"))
        except BadManifest:
            raise
        except BadInput as error:
            way_out = "upgrade the agent, or release the artifact again with this version of littoral-cloud"
            raise BadManifest(error.message, hint=f"{error.hint}; {way_out}" if error.hint else way_out) from error

    @classmethod
    def _decoded(cls, body: Any) -> Manifest:
        if not isinstance(body, dict):
            raise BadManifest(f"manifest: must be a table, is {type(body).__name__}")
        if (schema := body.get("schema")) not in (SCHEMA, FOREIGN_SCHEMA) or type(schema) is not int:
            read = f"{SCHEMA} and {FOREIGN_SCHEMA}"
            raise BadManifest(f"manifest.schema: is {schema!r}, this agent reads {read}", hint="upgrade the agent")
        if (schema == FOREIGN_SCHEMA) != ("signature" in body):
            raise BadManifest(f"manifest.signature: is {'missing' if schema == FOREIGN_SCHEMA else 'none of schema 1'}")
        for name in ALWAYS:
            if name not in body:
                raise BadInput(f"manifest.{name}: is missing")
        if (unset := next((name for name, value in body.items() if value is None), None)) is not None:
            raise BadInput(f"manifest.{unset}: is null", hint="leave out what is not known")
        given: dict[str, Any] = {}
        if schema == FOREIGN_SCHEMA:
            signature = decoder.decode(Signature, body.pop("signature"), "manifest.signature")
            first = signature.inputs[0]  # it stands for the input, as it is
            given = {"signature": signature, "probe": NO_PROBE, "input": Input(first.name, first.shape[1:], 1.0, (0.0,), (1.0,))}
        made = decoder.decode(cls, body, "manifest", given=given)
        measured = made.measured_classes  # canonical JSON sorts the keys; the order of the labels is the order that counts
        return replace(made, measured_classes={label: measured[label] for label in made.output.labels if label in measured})
