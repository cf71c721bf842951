"""ONNX Runtime on the CPU (https://onnxruntime.ai).

Threads are told, never guessed, and do not spin while there is nothing to do.
"""

from __future__ import annotations

import gc
import importlib
from pathlib import Path
from typing import Any

import numpy as np

from edge_node.memory import give_back
from edge_node.runtimes import Tensor, checked, only_file
from littoral.errors import RuntimeFailure
from littoral.manifest import Manifest


def version() -> str:
    import onnxruntime

    return str(onnxruntime.__version__)


class OnnxModel:
    def __init__(self, session: Any, manifest: Manifest) -> None:
        self._session: Any = session
        self._shape = manifest.input.shape
        self._input = manifest.input.name
        self._outputs = [manifest.output.name]
        self._classes = len(manifest.output.labels)
        self._name = manifest.name

    def infer(self, x: Tensor) -> Tensor:
        session = self._session
        if session is None:
            raise RuntimeFailure(f"{self._name}: was closed")
        try:
            (logits,) = session.run(self._outputs, {self._input: checked(x, self._shape)})
        except RuntimeFailure:
            raise
        except Exception as error:  # onnxruntime's errors share no base
            raise RuntimeFailure(f"onnxruntime: {self._name}: {error}") from error
        if logits.dtype != np.float32 or logits.shape != (len(x), self._classes):
            raise RuntimeFailure(
                f"onnxruntime: {self._name} answers with {logits.dtype} {logits.shape}, "
                f"wanted float32 ({len(x)}, {self._classes}): as many as the manifest names"
            )
        result: Tensor = logits
        return result

    def close(self) -> None:
        if self._session is not None:
            self._session = None
            gc.collect(0)
            give_back()


def load(manifest: Manifest, folder: Path, threads: int) -> OnnxModel:
    onnxruntime: Any = importlib.import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.enable_cpu_mem_arena = False  # an arena never shrinks: 8 MB after a hundred loads, against under 1
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    path = only_file(manifest, folder, ".onnx")
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no base
        raise RuntimeFailure(f"onnxruntime: cannot load {path.name}: {error}", hint="release it again") from error
    inputs, outputs = {i.name for i in session.get_inputs()}, {o.name for o in session.get_outputs()}
    if manifest.input.name not in inputs or manifest.output.name not in outputs:
        raise RuntimeFailure(
            f"onnxruntime: {path.name} has inputs {sorted(inputs)} and outputs {sorted(outputs)}, "
            f"the manifest names {manifest.input.name!r} and {manifest.output.name!r}"
        )
    return OnnxModel(session, manifest)
