"""What differs between two signed manifests, key by key."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from littoral.digest import digest_of
from littoral.manifest import Manifest
from littoral_cloud.releases.parents import parents_by_role

_ARTIFACT = ("model", "name", "runtime", "runtime_options", "requires")
_MADE = ("architecture", "recipe", "parents", "lineage")
_FIGURES = ("accuracy", "accuracy_examples", "class_accuracy", "parameters", "files")
_LONG = 200
"""Characters of JSON: of a longer value (probe, sketch) only a digest is shown."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One key with two values; `before` and `after` are JSON values, None where that side does not have the key."""

    section: str
    key: str
    before: Any
    after: Any


def differences(before: Manifest, after: Manifest) -> list[Difference]:
    """Every key that is not the same in both, section by section; empty where they are one artifact."""
    a, b = _sections(before), _sections(after)
    found = []
    for section in a:
        one, other = dict(_flat(a[section])), dict(_flat(b[section]))
        keys = [*one, *(key for key in other if key not in one)]
        found += [Difference(section, k, one.get(k), other.get(k)) for k in keys if one.get(k) != other.get(k)]
    return found


def _sections(manifest: Manifest) -> dict[str, Any]:
    """In the order in which they are shown. Every field of a manifest is in one of them, also one that is not known here."""
    parents = parents_by_role(manifest)
    compared = {*_ARTIFACT, *_MADE, *_FIGURES}
    making = asdict(manifest.lineage) if manifest.lineage else {}
    return {
        "artifact": {name: getattr(manifest, name) for name in _ARTIFACT},
        "architecture": manifest.architecture,
        "recipe": manifest.recipe,
        "data": {"digest": parents.pop("data", None)},
        "chance": {name: making.get(name) for name in ("seed", "threads", "processor")},
        "libraries": making.get("libraries", {}),
        "parents": parents,
        "metrics": {
            "accuracy": manifest.accuracy,
            "examples": manifest.accuracy_examples,
            "class": manifest.accuracy_by_label,
        },
        "bytes": {
            "artifact": manifest.artifact_bytes,
            "transfer": manifest.transfer_bytes,
            "parameters": manifest.parameters,
            "file": {file.path: {"bytes": file.bytes, "digest": file.digest} for file in manifest.files},
        },
        "contract": {f.name: _plain(getattr(manifest, f.name)) for f in fields(manifest) if f.name not in compared},
    }


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Each leaf under its dotted key. A list of plain values is a leaf; one of objects is not."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from _flat(part, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple) and any(isinstance(part, Mapping) for part in value):
        for i, part in enumerate(value):
            yield from _flat(part, f"{key}[{i}]")
    else:
        text = json.dumps(value, sort_keys=True)
        yield key, value if len(text) <= _LONG else digest_of(text.encode())


def _plain(value: Any) -> Any:
    return asdict(value) if hasattr(type(value), "__dataclass_fields__") else value
