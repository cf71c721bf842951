"""ONNX Runtime on the CPU (https://onnxruntime.ai).

Threads are told, never guessed, and do not spin while there is nothing to do.
"""

from __future__ import annotations

import gc
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edge_node.memory import give_back
from edge_node.runtimes import Array, Tensor, checked, only_file
from edge_node.runtimes.onnx_stopping import StoppableSession
from littoral.errors import RuntimeFailure
from littoral.manifest import Manifest
from littoral.signature import DATATYPES, Signature


def version() -> str:
    import onnxruntime

    return str(onnxruntime.__version__)


class OnnxModel:
    def __init__(self, session: Any, manifest: Manifest) -> None:
        self._session: Any = StoppableSession(session)
        self._shape = manifest.input.shape
        self._input = manifest.input.name
        self._outputs = [manifest.output.name]
        self._classes = len(manifest.output.labels)
        self._name = manifest.name
        self._signature = manifest.signature

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

    def run(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        session, signature = self._session, self._signature
        if session is None or signature is None:
            raise RuntimeFailure(f"{self._name}: {'was closed' if session is None else 'has no signature'}")
        try:
            found = session.run([spec.name for spec in signature.outputs], dict(feeds))
        except Exception as error:  # onnxruntime's errors share no base
            raise RuntimeFailure(f"onnxruntime: {self._name}: {error}") from error
        answers = {spec.name: np.asarray(array) for spec, array in zip(signature.outputs, found, strict=True)}
        for spec in signature.outputs:
            array = answers[spec.name]
            if array.dtype != DATATYPES[spec.datatype] or not spec.fits(array.shape):
                raise RuntimeFailure(
                    f"onnxruntime: {self._name} answers {spec.name} with {array.dtype} {array.shape}, "
                    f"the manifest names {spec.datatype} {spec.sizes}"
                )
        return answers

    def stop(self) -> None:
        """Ends every inference that runs now, from another thread."""
        if (session := self._session) is not None:
            session.stop()

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
    if manifest.signature is not None:
        _check_signature(manifest.signature, session, path.name)
    elif manifest.input.name not in inputs or manifest.output.name not in outputs:
        raise RuntimeFailure(
            f"onnxruntime: {path.name} has inputs {sorted(inputs)} and outputs {sorted(outputs)}, "
            f"the manifest names {manifest.input.name!r} and {manifest.output.name!r}"
        )
    return OnnxModel(session, manifest)


def _check_signature(signature: Signature, session: Any, file: str) -> None:
    """Raises RuntimeFailure where the file takes other tensors than the manifest names, or does not give those."""
    taken, given = {i.name for i in session.get_inputs()}, {o.name for o in session.get_outputs()}
    wanted, named = {spec.name for spec in signature.inputs}, {spec.name for spec in signature.outputs}
    if taken != wanted or not named <= given:
        raise RuntimeFailure(
            f"onnxruntime: {file} has inputs {sorted(taken)} and outputs {sorted(given)}, "
            f"the manifest names {sorted(wanted)} and {sorted(named)}"
        )
