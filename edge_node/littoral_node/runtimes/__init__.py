"""Runtimes behind one small Protocol. Adding one is one file and one line in REGISTRY.

A runtime's module gives `version() -> str` (raises ImportError where it is not installed), `look() -> RuntimeFacts` (raises
RuntimeFailure too, where it is installed and cannot be used) and `load(manifest, folder, threads) -> Model`. Its library is
imported inside them, never when this package is.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from littoral.errors import RuntimeFailure
from littoral.manifest import Manifest
from littoral_node.machine.memory import give_back, settle
from littoral_node.machine.runtime_facts import Missing, RuntimeFacts
from littoral_node.runtimes.facts import Verdict, looked_up
from littoral_node.runtimes.onnx_providers import GET
from littoral_node.runtimes.using import VARIABLE

Tensor = npt.NDArray[np.float32]
Array = npt.NDArray[Any]

REGISTRY: Mapping[str, str] = {
    "onnxruntime": "littoral_node.runtimes.onnx_runtime",
    "ncnn": "littoral_node.runtimes.ncnn_runtime",
    "coreml": "littoral_node.runtimes.coreml_runtime",
    "tensorrt": "littoral_node.runtimes.tensorrt_runtime",
}

_GET: Mapping[str, str] = {
    "onnxruntime": "pip install 'littoral[edge]'",
    "ncnn": "pip install 'littoral[ncnn]'",
    "coreml": "on macOS: pip install 'littoral[coreml]'; elsewhere serve an onnx or ncnn variant",
    "tensorrt": GET["tensorrt"],
}


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


def facts() -> dict[str, RuntimeFacts]:
    """What each runtime is that can be used here, by name. Looked up once a process, in children of it."""
    return {name: found for name, (found, _) in _looked_up(*REGISTRY).items() if found is not None}


def why_not(name: str) -> Missing | None:
    """None where a runtime can be used here."""
    if name not in REGISTRY:
        return Missing(name, "not known here", f"known are {', '.join(REGISTRY)}")
    found, reason = _looked_up(name)[name]
    return None if found else Missing(name, reason, _GET[name])


def devices_of(name: str) -> tuple[str, ...]:
    """What a runtime runs on here, in the order in which it is tried; empty where it cannot be used."""
    found, _ = _looked_up(name)[name]
    return found.devices if found else ()


def look(name: str) -> RuntimeFacts:
    """Of a runtime that this process itself imports. Raises ImportError, RuntimeFailure."""
    found: RuntimeFacts = importlib.import_module(REGISTRY[name]).look()
    return found


def ran_on(model: Model) -> tuple[str, ...]:
    """What a loaded model really runs on, the first one first: "cuda", "vulkan", "cpu"; empty of one that runs elsewhere."""
    return tuple(getattr(model, "devices", ()))


def load(manifest: Manifest, folder: Path, threads: int) -> Model:
    """`opened`, and what it took to load it is given back: the choice for a process that goes on."""
    if (module := REGISTRY.get(manifest.runtime)) is not None and module not in sys.modules:
        settle()  # the runtime's library comes on top of all that the start touched: the peak counts too
        with suppress(ImportError):  # `opened` says it better
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


def check_names(manifest: Manifest, file: str, inputs: Collection[str], outputs: Collection[str]) -> None:
    """Raises RuntimeFailure where a file, by these names of its tensors, has not the two that the manifest names."""
    if manifest.input.name not in inputs or manifest.output.name not in outputs:
        raise RuntimeFailure(
            f"{manifest.runtime}: {file} has inputs {sorted(inputs)} and outputs {sorted(outputs)}, "
            f"the manifest names {manifest.input.name!r} and {manifest.output.name!r}",
            hint="release it again",
        )


def no_signature(runtime: str, name: str) -> RuntimeFailure:
    """Why a runtime that serves models made here alone does not `run` one."""
    return RuntimeFailure(f"{runtime}: {name} has no signature", hint="models that were imported run in onnxruntime")


def version(name: str) -> str:
    """Of a runtime that this process itself imports. Raises ImportError."""
    return str(importlib.import_module(REGISTRY[name]).version())


def _looked_up(*names: str) -> Mapping[str, Verdict]:
    """Of each of these, side by side; once a process, and again for other providers: they decide what a
    runtime runs on."""
    using = os.environ.get(VARIABLE, "")
    if lacking := [name for name in names if (name, using) not in _found]:
        _found.update({(name, using): verdict for name, verdict in looked_up(lacking).items()})
    return {name: _found[name, using] for name in names}


_found: dict[tuple[str, str], Verdict] = {}
