"""Runtimes behind one small Protocol. Adding one is one file and one line in REGISTRY.

A runtime's module gives `version() -> str` (raises ImportError where it is not installed) and
`load(manifest, folder, threads) -> Model`. Its library is imported inside them, never when this package is.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Protocol

import numpy as np
import numpy.typing as npt

from littoral.errors import RuntimeFailure
from littoral.manifest import Manifest

Tensor = npt.NDArray[np.float32]

REGISTRY: Mapping[str, str] = {
    "onnxruntime": "edge_node.runtimes.onnx_runtime",
    "ncnn": "edge_node.runtimes.ncnn_runtime",
}


class Model(Protocol):
    """A loaded model. May be used by several threads at once; not after `close`."""

    def infer(self, x: Tensor) -> Tensor:
        """(n, *shape) prepared inputs to (n, classes) logits.

        Raises RuntimeFailure where the shape or type is not the model's, or the runtime gives up.
        """
        ...

    def close(self) -> None:
        """Gives its memory back to the system. Closing twice does nothing."""
        ...


def available() -> dict[str, str]:
    """Version by name, of every runtime that can be imported here."""
    found = {}
    for name in REGISTRY:
        try:
            found[name] = _module(name).version()
        except ImportError:
            continue
    return found


def load(manifest: Manifest, folder: Path, threads: int) -> Model:
    """Loads an artifact whose files lie in `folder` and have been verified.

    Raises RuntimeFailure: the runtime is unknown or absent, or cannot load the file; the message names it.
    """
    if manifest.runtime not in REGISTRY:
        raise RuntimeFailure(f"manifest.runtime: {manifest.runtime!r} is not known here", hint=f"known are {', '.join(REGISTRY)}")
    try:
        model: Model = _module(manifest.runtime).load(manifest, folder, threads)
    except ImportError as error:
        raise RuntimeFailure(
            f"{manifest.runtime}: cannot be imported: {error}", hint=f"pip install {manifest.runtime}"
        ) from error
    return model


def checked(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Gives a batch back, contiguous. Raises RuntimeFailure: a runtime must never see a tensor of another shape or type."""
    if x.dtype != np.float32 or x.ndim != len(shape) + 1 or x.shape[1:] != shape or len(x) == 0:
        raise RuntimeFailure(
            f"input: is {x.dtype} {x.shape}, the model takes float32 (n, {', '.join(map(str, shape))}), n from 1"
        )
    return np.ascontiguousarray(x)


def _module(name: str) -> ModuleType:
    return importlib.import_module(REGISTRY[name])
