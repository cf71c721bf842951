"""Runtimes behind one small Protocol. Adding one is one file and one line in REGISTRY.

A runtime's module gives `version() -> str` (raises ImportError where it is not installed) and
`load(manifest, folder, threads) -> Model`. Its library is imported inside them, never when this package is.
"""

from __future__ import annotations

import functools
import importlib
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edge_node.memory import give_back, settle
from littoral.errors import RuntimeFailure
from littoral.manifest import Manifest

Tensor = npt.NDArray[np.float32]
Array = npt.NDArray[Any]

REGISTRY: Mapping[str, str] = {
    "onnxruntime": "edge_node.runtimes.onnx_runtime",
    "ncnn": "edge_node.runtimes.ncnn_runtime",
}

_GET: Mapping[str, str] = {"onnxruntime": "pip install 'littoral[edge]'", "ncnn": "pip install 'littoral[ncnn]'"}
_IMPORT_S = 60.0


class Model(Protocol):
    """A loaded model. May be used by several threads at once; not after `close`."""

    def infer(self, x: Tensor) -> Tensor:
        """(n, *shape) prepared inputs to (n, classes) logits.

        Raises RuntimeFailure where the shape or type is not the model's, or the runtime gives up.
        """
        ...

    def run(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        """Every tensor of the manifest's signature by name, of a model that has one.

        Raises RuntimeFailure where it has none, or the runtime gives up, or answers with other tensors.
        """
        ...

    def close(self) -> None:
        """Gives its memory back to the system. Closing twice does nothing."""
        ...


def available() -> dict[str, str]:
    """Version by name, of every runtime that can be imported here. Looked up once a process, in children of it."""
    return {name: version for name, (version, _) in _looked_up().items() if version}


@dataclass(frozen=True, slots=True)
class Missing:
    """Why a runtime cannot be used here, and the way out."""

    name: str
    reason: str
    way_out: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}; {self.way_out}"


def why_not(name: str) -> Missing | None:
    """None where a runtime can be used here."""
    if name not in REGISTRY:
        return Missing(name, "not known here", f"known are {', '.join(REGISTRY)}")
    version, reason = _looked_up()[name]
    return None if version else Missing(name, reason, _GET.get(name, f"pip install {name}"))


def load(manifest: Manifest, folder: Path, threads: int) -> Model:
    """`opened`, and what it took to load it is given back: the choice for a process that goes on."""
    if (module := REGISTRY.get(manifest.runtime)) is not None and module not in sys.modules and why_not(manifest.runtime) is None:
        settle()  # the runtime's library comes on top of all that the start touched: the peak counts too
        importlib.import_module(module).version()
        settle()
    else:
        give_back()
    model = opened(manifest, folder, threads)
    give_back()
    return model


def opened(manifest: Manifest, folder: Path, threads: int) -> Model:
    """Loads an artifact whose files lie in `folder` and have been verified.

    Raises RuntimeFailure: the runtime is unknown or absent, or cannot load the file; the message names it.
    """
    if manifest.runtime not in REGISTRY:
        raise RuntimeFailure(f"manifest.runtime: {manifest.runtime!r} is not known here", hint=f"known are {', '.join(REGISTRY)}")
    try:
        model: Model = importlib.import_module(REGISTRY[manifest.runtime]).load(manifest, folder, threads)
    except ImportError as error:
        raise RuntimeFailure(f"{manifest.runtime}: cannot be imported: {error}", hint=_GET.get(manifest.runtime, "")) from error
    return model


def checked(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Gives a batch back, contiguous. Raises RuntimeFailure: a runtime must never see a tensor of another shape or type."""
    if x.dtype != np.float32 or x.ndim != len(shape) + 1 or x.shape[1:] != shape or len(x) == 0:
        raise RuntimeFailure(
            f"input: is {x.dtype} {x.shape}, the model takes float32 (n, {', '.join(map(str, shape))}), n from 1"
        )
    return np.ascontiguousarray(x)


def only_file(manifest: Manifest, folder: Path, suffix: str) -> Path:
    """The one file of an artifact that ends so. Raises RuntimeFailure, naming the files, where there is none or a second."""
    found = [file.path for file in manifest.files if file.path.endswith(suffix)]
    if len(found) != 1:
        names = ", ".join(file.path for file in manifest.files)
        raise RuntimeFailure(
            f"{manifest.runtime}: {manifest.name} holds {names}, wanted one file *{suffix}", hint="release it again"
        )
    return folder / found[0]


def version(name: str) -> str:
    """Of a runtime that this process itself imports. Raises ImportError."""
    return str(importlib.import_module(REGISTRY[name]).version())


@functools.cache
def _looked_up() -> Mapping[str, tuple[str, str]]:
    """(version, "") or ("", reason) by name; the children run side by side."""
    children = {
        name: subprocess.Popen(
            (sys.executable, "-m", "edge_node.runtimes.present", name),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in REGISTRY
    }
    return {name: _verdict(child) for name, child in children.items()}


def _verdict(child: subprocess.Popen[str]) -> tuple[str, str]:
    with child:
        try:
            printed, errors = child.communicate(timeout=_IMPORT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            return "", f"was not imported after {_IMPORT_S:.0f} s"
    if child.returncode < 0:
        return "", f"its import ended with {signal.Signals(-child.returncode).name}: it is not built for this machine"
    if child.returncode > 0:
        return "", (errors.strip().splitlines() or [f"exit code {child.returncode}"])[-1]
    return printed.strip(), ""
