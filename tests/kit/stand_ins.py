"""In place of what this machine does not have, so that everything else of a runtime runs: a Mac under Core ML, an NVIDIA GPU
under onnxruntime's TensorRT provider. On a machine that has it nothing is put in its place.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

from littoral_node.runtimes import coreml_runtime, why_not
from tests.kit.models import HERE

TENSORRT = "TensorrtExecutionProvider"


def stand_in(runtime: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if why_not(runtime) is None:
        return
    assert runtime not in HERE, str(why_not(runtime))
    if runtime == "coreml":
        monkeypatch.setattr(coreml_runtime, "check_platform", lambda: None)
        monkeypatch.setattr(coreml_runtime, "load_coremltools", core_ml)
    else:
        monkeypatch.setitem(sys.modules, "onnxruntime", with_provider(TENSORRT))


class Package:
    """coremltools.models.MLModel, but what predicts is our reading of the package."""

    def __init__(self, path: str, compute_units: str) -> None:
        from littoral.mlpackage import taken_from
        from littoral_cloud.export.coreml_reading import constants_of, spec_of

        self._files = taken_from(Path(path))
        constants_of(self._files)  # Core ML compiles a package when it loads it: damaged weights are found here
        self._spec = spec_of(self._files)
        self.compute_units = compute_units

    def get_spec(self) -> Any:
        return self._spec

    def predict(self, feeds: dict[str, Any]) -> dict[str, Any]:
        from littoral_cloud.export.coreml_reading import read

        ((name, x),) = feeds.items()
        assert x.dtype == np.float32
        assert name == self._spec.description.input[0].name
        return {self._spec.description.output[0].name: read(self._files, x)}


def core_ml() -> Any:
    import coremltools

    units = SimpleNamespace(**{name: name for name in ("ALL", "CPU_ONLY", "CPU_AND_GPU", "CPU_AND_NE")})
    models = SimpleNamespace(MLModel=Package)
    return SimpleNamespace(models=models, ComputeUnit=units, __version__=coremltools.__version__)


def with_provider(provider: str, *, works: bool = True, said: list[Any] | None = None) -> Any:
    """onnxruntime as if it was built with this provider, whose work the CPU does.

    Args:
        works: whether sessions have it, or fall back.
        said: gets the providers that each session was asked for, with their options.
    """

    class Session:
        def __init__(self, source: Any, options: Any, providers: list[tuple[str, dict[str, str]]]) -> None:
            if said is not None:
                said.append(providers)
            self._named = [name if isinstance(name, str) else name[0] for name in providers]
            assert all(isinstance(value, str) for _, given in providers for value in given.values())
            self._session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])

        def get_providers(self) -> list[str]:
            return self._named if works else ["CPUExecutionProvider"]

        def __getattr__(self, name: str) -> Any:
            return getattr(self._session, name)

    return SimpleNamespace(
        InferenceSession=Session,
        SessionOptions=onnxruntime.SessionOptions,
        RunOptions=onnxruntime.RunOptions,
        ExecutionMode=onnxruntime.ExecutionMode,
        GraphOptimizationLevel=onnxruntime.GraphOptimizationLevel,
        get_available_providers=lambda: [provider, "CPUExecutionProvider"],
        __version__=onnxruntime.__version__,
    )
