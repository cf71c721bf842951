"""What a node's runtimes cannot load at any cost: pure functions over what a manifest requires and what a node reports of itself.

A node that does not say how far its runtime goes, as agents did not at first, is offered everything its runtime is named for.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from littoral.manifest import FULL_RANGE
from littoral_cloud.fleet.records import Artifact, Presence

DOT_PRODUCTS = ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp")
"""Instruction sets that add up products of full 8 bits without overflow, as HardwareProfile.isa names them."""


def beyond(artifact: Artifact, presence: Presence) -> tuple[str, ...]:
    """Every limit of the node's runtime or processor that the artifact is above, in an operator's words; empty: none.

    Says nothing of a runtime that the node does not have.
    """
    runtime = _runtime_of(artifact.runtime, presence.hardware)
    found = [
        f"{name}: {words} {required}, {artifact.runtime} {runtime.get('version', '')} on this node takes up to {highest}"
        for name, words, field in (("ir", "needs ONNX IR", "highest_ir"), ("opset", "needs ONNX opset", "highest_opset"))
        if (required := artifact.requires.get(name, 0)) > (highest := int(runtime.get(field, 0))) > 0
    ]
    if artifact.requires.get(FULL_RANGE) and not set(presence.hardware.get("isa", ())) & set(DOT_PRODUCTS):
        found.append("isa: int8 of full range needs VNNI or ARM's dot product, which this node does not have")
    return tuple(found)


def loadable(presence: Presence) -> Hashable:
    """All that `beyond` and `takes` read of a node: they answer alike where this is equal."""
    runtimes = presence.hardware.get("runtimes", ())
    loads = tuple((r.get("name"), r.get("version"), r.get("highest_ir"), r.get("highest_opset")) for r in runtimes)
    return presence.runtimes, loads, tuple(presence.hardware.get("isa", ()))


def takes(artifact: Artifact, presence: Presence) -> bool:
    """Whether the node has the artifact's runtime, in a version that can load it, and a processor that runs it right."""
    return artifact.runtime in presence.runtimes and not beyond(artifact, presence)


def _runtime_of(name: str, hardware: Mapping[str, Any]) -> Mapping[str, Any]:
    return next((runtime for runtime in hardware.get("runtimes", ()) if runtime.get("name") == name), {})
