"""A manifest's JSON, read: every field is checked, and what is wrong with one is said by its path."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from littoral.codec import CODINGS
from littoral.digest import check_digest
from littoral.errors import BadManifest
from littoral.lineage import lineage_from
from littoral.manifest import (
    FOREIGN_SCHEMA,
    NO_PROBE,
    SCHEMA,
    TASKS,
    File,
    Input,
    Manifest,
    Output,
    Probe,
    Resize,
    SketchSpec,
    Transfer,
)
from littoral.resize import FITS, METHODS
from littoral.signature import Signature, is_text, metric_from, signature_from


def manifest_from(body: Mapping[str, Any]) -> Manifest:
    """Raises BadManifest, naming the field."""
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
    if wrong := [label for label in labels if not is_text(label)]:
        raise BadManifest(f"{top}.output.labels: {wrong[0]!a:.60} is no text that UTF-8 can say")
    given = _input_from(_take(body, top, "input", dict), f"{top}.input") if signature is None else _first_of(signature)
    accuracy = float(_take(body, top, "accuracy", (int, float)))
    if not 0 <= accuracy <= 1:
        raise BadManifest(f"{top}.accuracy: {accuracy} is not a fraction between 0 and 1")
    parents = tuple(check_digest(p, f"{top}.parents") for p in _take(body, top, "parents", list))
    return Manifest(
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
        measured_classes=_measured_classes_from(body, top, labels),
        remarks=_remarks_from(body, top),
        task=task,
        metric=metric_from(body["metric"], f"{top}.metric") if "metric" in body else None,
        signature=signature,
        schema=FOREIGN_SCHEMA if signature else SCHEMA,
        lineage=lineage_from(body["lineage"], f"{top}.lineage", len(parents)) if "lineage" in body else None,
    )


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


def _measured_classes_from(body: Mapping[str, Any], path: str, labels: Collection[str]) -> dict[str, float]:
    """By label, in the order of the labels."""
    found = _take(body, path, "measured_classes", dict) if "measured_classes" in body else {}
    if not all(_fraction(value) for value in found.values()) or not set(found) <= set(labels):
        raise BadManifest(f"{path}.measured_classes: must hold fractions between 0 and 1, by label")
    return {label: float(found[label]) for label in labels if label in found}


def _fraction(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


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
