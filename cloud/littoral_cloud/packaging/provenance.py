"""What a manifest says of the hand that made it: seed, threads, the libraries and the processor that decide its bytes."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from littoral import __version__
from littoral.lineage import OTHER, Lineage

_ALWAYS = ("torch", "numpy", "zstandard", "constriction")  # the last two write what travels
LIBRARIES: Mapping[str, Sequence[str]] = {
    "onnxruntime": (*_ALWAYS, "onnx", "onnxscript", "onnxruntime"),
    "ncnn": (*_ALWAYS, "ncnn", "pnnx"),
    "coreml": (*_ALWAYS, "coremltools"),
    "tensorrt": (*_ALWAYS, "onnx", "onnxscript", "onnxruntime"),
}
"""Distributions whose version may change the bytes of an artifact, by its runtime; of another one the first four."""

_PRUNING = "torch-pruning"  # of students that had channels taken out


def lineage_of(recipe: Mapping[str, Any], runtime: str, parents: Sequence[str], roles: Sequence[str]) -> Lineage:
    """The lineage of an artifact that is made here and now.

    Args:
        recipe: as it stands in the manifest; "student" or "run" in it tells seed and threads.
        roles: of the first parents; those after them are only called parents.
    """
    making: Mapping[str, Any] = recipe.get("student") or recipe.get("run") or {}
    pruned = any(method.get("kind") == "channels" for method in making.get("methods", ()))
    return Lineage(
        (*roles, *(OTHER for _ in parents[len(roles) :])),
        making.get("seed"),
        making.get("threads"),
        versions((*LIBRARIES.get(runtime, _ALWAYS), *((_PRUNING,) if pruned else ()))),
        processor(),
    )


def versions(distributions: Sequence[str]) -> dict[str, str]:
    """By name, our own first of all; "" for one that is not installed as a distribution."""
    found = {"littoral": __version__}
    for name in distributions:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = ""
    return found


def processor() -> str:
    """Kind and widest vector instructions, as torch uses them: "x86_64 AVX2"."""
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
