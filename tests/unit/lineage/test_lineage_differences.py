"""What differs between two manifests is told, whichever field it is in."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from littoral.lineage import Lineage
from littoral.manifest import Manifest
from littoral.metric import Metric
from littoral.preparation import Resize
from littoral.signature import Signature, TensorProbe
from littoral.tensor_spec import TensorSpec
from littoral_cloud.lineage.difference import Difference, differences
from tests.kit.models import artifact

LINEAGE = Lineage((), 1, 1, {"torch": "2.13.0"}, "x86_64 AVX2")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder: Path = tmp_path_factory.mktemp("artifact")
    return artifact(folder, lineage=LINEAGE, class_accuracy=(0.5, 0.5, 0.5))


THERE: dict[str, Any] = {
    "resize": Resize("area", "pad"),
    "metric": Metric("rmse", 1.0, False),
    "signature": Signature((TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("y", "FP32", (-1,)),), TensorProbe({}, {}, {})),
}
"""In place of what this manifest does not have."""


def other(value: Any) -> Any:
    """Another value of the same kind, all over; of what is not there, something."""
    if value is None:
        return "x"
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, bool) or not isinstance(value, int | float | tuple | dict):
        return replace(value, **{f.name: other(getattr(value, f.name)) for f in fields(value)})
    if isinstance(value, tuple):
        return tuple(other(part) for part in value) or ("x",)
    if isinstance(value, dict):
        return {**value, "another": 1}
    return value + 1


@pytest.mark.parametrize("name", [f.name for f in fields(Manifest)])
def test_no_field_can_change_unseen(made: Manifest, name: str) -> None:
    assert differences(made, made) == []
    value = getattr(made, name)
    if name in ("files", "lineage", "input", "output", "probe", "sketch"):
        for part in fields(value[0] if isinstance(value, tuple) else value):
            if part.name in ("roles", "transfer"):
                continue  # no other roles without other parents; of a transfer the bytes count, in the sum
            if name == "files":
                changed: Any = tuple(replace(f, **{part.name: other(getattr(f, part.name))}) for f in value)
            else:
                had = getattr(value, part.name)
                changed = replace(value, **{part.name: THERE[part.name] if had is None else other(had)})
            assert differences(made, replace(made, **{name: changed})), part.name
    elif name == "parents":
        parents = ("sha256:" + "a" * 64,)
        assert differences(made, replace(made, parents=parents, lineage=replace(LINEAGE, roles=("data",)))) == [
            Difference("data", "digest", None, parents)
        ]
    elif value is None:
        assert differences(made, replace(made, **{name: THERE[name]}))
    else:
        found = differences(made, replace(made, **{name: other(value)}))
        assert len(found) == (3 if name == "class_accuracy" else 1)


def test_a_manifest_from_before_the_lineage_can_be_compared(made: Manifest) -> None:
    found = differences(replace(made, lineage=None), made)
    assert {(d.section, d.key, d.after) for d in found} == {
        ("chance", "seed", 1),
        ("chance", "threads", 1),
        ("chance", "processor", "x86_64 AVX2"),
        ("libraries", "torch", "2.13.0"),
    }
    assert {d.before for d in found} == {None}
