"""Core ML (https://developer.apple.com/documentation/coreml), through coremltools: predicts on macOS only.

The package that Core ML reads is laid out of the artifact's two files in a folder for as long as the model is loaded.
"""

from __future__ import annotations

import importlib
import shutil
import sys
import tempfile
import threading
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from littoral.errors import RuntimeFailure
from littoral.manifest import Manifest
from littoral.mlpackage import MODEL, laid_out
from littoral_node.machine.memory import give_back
from littoral_node.machine.runtime_facts import RuntimeFacts
from littoral_node.runtimes import Array, Tensor, check_names, checked, no_signature, only_file

_UNITS = ("ALL", "CPU_ONLY", "CPU_AND_GPU", "CPU_AND_NE")
_DEVICES = {"ALL": ("neural engine", "gpu", "cpu"), "CPU_AND_GPU": ("gpu", "cpu"), "CPU_AND_NE": ("neural engine", "cpu")}
_WAY_OUT = "serve an onnx or ncnn variant of it on this machine"


def version() -> str:
    """Of coremltools: Core ML itself is macOS's. Raises ImportError."""
    return str(load_coremltools().__version__)


def look() -> RuntimeFacts:
    check_platform()
    return RuntimeFacts(version(), devices=_DEVICES["ALL"])


def check_platform() -> None:
    """Raises RuntimeFailure where there is no Core ML."""
    if sys.platform != "darwin":
        raise RuntimeFailure(f"Core ML predicts on macOS only, this is {sys.platform}", hint=_WAY_OUT)


def load_coremltools() -> Any:
    """The module. Raises ImportError where it is not installed."""
    return importlib.import_module("coremltools")


class CoreMLModel:
    """One row after another, as the package takes them; one request at a time: coremltools does not say that it can do more.

    `devices`: what Core ML was allowed to use, the best first; which of them ran it does not say.
    """

    def __init__(self, model: Any, manifest: Manifest, package: str, units: str) -> None:
        self._model: Any = model
        self._remove = weakref.finalize(self, shutil.rmtree, package, ignore_errors=True)
        self._shape = manifest.input.shape
        self._classes = len(manifest.output.labels)
        self._input, self._output, self._name = manifest.input.name, manifest.output.name, manifest.name
        self._lock = threading.Lock()
        self.devices = _DEVICES.get(units, ("cpu",))

    def infer(self, x: Tensor) -> Tensor:
        batch = checked(x, self._shape)
        with self._lock:
            if self._model is None:
                raise RuntimeFailure(f"{self._name}: was closed")
            try:
                rows = [self._model.predict({self._input: row[None]})[self._output] for row in batch]
            except Exception as error:  # coremltools' errors share no base
                raise RuntimeFailure(f"coreml: {self._name}: {error}") from error
        logits: Tensor = np.stack([np.asarray(row, np.float32).reshape(-1) for row in rows])
        if logits.shape[1] != self._classes:
            raise RuntimeFailure(
                f"coreml: {self._name} answers with {logits.shape[1]} values, the manifest names {self._classes}"
            )
        return logits

    def run(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        raise no_signature("coreml", self._name)

    def close(self) -> None:
        with self._lock:
            if self._model is None:
                return
            self._model = None
            self._remove()
        give_back()


def load(manifest: Manifest, folder: Path, threads: int) -> CoreMLModel:
    """Core ML ignores `threads`: it has its own, which sleep while there is no work."""
    check_platform()
    coremltools = load_coremltools()
    units = str(manifest.runtime_options.get("compute_units", "ALL"))
    if units not in _UNITS:
        raise RuntimeFailure(f"coreml: runtime_options.compute_units: {units[:40]!r}", hint=f"one of {', '.join(_UNITS)}")
    only_file(manifest, folder, ".mlmodel")
    package = tempfile.mkdtemp(prefix="littoral-coreml-")
    try:
        place = laid_out(folder, Path(package) / "model.mlpackage")
        model = coremltools.models.MLModel(str(place), compute_units=getattr(coremltools.ComputeUnit, units))
        tensors = model.get_spec().description
        check_names(manifest, MODEL, [i.name for i in tensors.input], [o.name for o in tensors.output])
    except RuntimeFailure:
        shutil.rmtree(package, ignore_errors=True)
        raise
    except Exception as error:  # coremltools' errors share no base
        shutil.rmtree(package, ignore_errors=True)
        files = ", ".join(file.path for file in manifest.files)
        raise RuntimeFailure(f"coreml: cannot load {files}: {error}", hint="release it again") from error
    return CoreMLModel(model, manifest, package, units)
