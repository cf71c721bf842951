"""ONNX Runtime (https://onnxruntime.ai): on the CPU, and before it on what else this node allows, has, and it was built for.

The caller sets the number of threads; idle threads do not spin.
"""

from __future__ import annotations

import gc
import importlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from littoral.answers import misfit_of
from littoral.errors import RuntimeFailure
from littoral.manifest import Manifest
from littoral.signature import Signature
from littoral.tensor_spec import FREE
from littoral_node.machine.memory import give_back
from littoral_node.machine.runtime_facts import RuntimeFacts
from littoral_node.runtimes import Array, Tensor, check_names, checked, only_file, onnx_limits
from littoral_node.runtimes.ended import BadValues
from littoral_node.runtimes.onnx_providers import NAMES, Wanted, devices_here, opened, ran_on, wanted
from littoral_node.runtimes.using import in_use

_INDEX = re.compile(r"within bounds|out of (data )?bounds|out of range")
_SIZES = re.compile(r"cannot be reshaped|broadcast an axis|dimension mismatch|[Ii]ncompatible dimensions")
"""What onnxruntime says under its general status FAIL where an index is not in a table, or sizes do not go together."""


def version() -> str:
    import onnxruntime

    return str(onnxruntime.__version__)


def limits(onnxruntime: Any) -> tuple[int, int]:
    """Highest IR and opset that load here."""

    def loads(model: bytes) -> bool:
        try:
            onnxruntime.InferenceSession(model, session_options(onnxruntime, 1), providers=[NAMES["cpu"]])
        except Exception:  # noqa: BLE001 - onnxruntime's errors share no base, and this is the question
            return False
        return True

    return onnx_limits.highest(loads)


def look() -> RuntimeFacts:
    onnxruntime: Any = importlib.import_module("onnxruntime")
    devices, lacking = devices_here(
        onnxruntime, onnx_limits.tiny(*onnx_limits.OLDEST), lambda: session_options(onnxruntime, 1), in_use().providers
    )
    return RuntimeFacts(version(), *limits(onnxruntime), devices, lacking)


class OnnxModel:
    """`devices`: what it really runs on, the first one first. `most`: the rows of one request that the runtime gets at one time;
    None: as many as come."""

    def __init__(self, session: Any, manifest: Manifest, most: int | None = None) -> None:
        self._session: Any = session
        self._new_run_options: Any = importlib.import_module("onnxruntime").RunOptions
        self._run_options: Any = self._new_run_options()  # of all runs at one time, which costs nothing
        self.devices = ran_on(session)
        self._most = most
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
            logits = self._logits(session, checked(x, self._shape))
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

    def _logits(self, session: Any, x: Tensor) -> Any:
        if self._most is None or len(x) <= self._most:
            return session.run(self._outputs, {self._input: x}, self._run_options)[0]
        parts = (x[i : i + self._most] for i in range(0, len(x), self._most))
        return np.concatenate([session.run(self._outputs, {self._input: part}, self._run_options)[0] for part in parts])

    def run(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        session, signature = self._session, self._signature
        if session is None or signature is None:
            raise RuntimeFailure(f"{self._name}: {'was closed' if session is None else 'has no signature'}")
        try:
            found = session.run([spec.name for spec in signature.outputs], dict(feeds), self._run_options)
        except Exception as error:  # onnxruntime's errors share no base
            kind = BadValues if _of_the_values(error, signature) else RuntimeFailure
            raise kind(f"onnxruntime: {self._name}: {error}") from error
        answers = {spec.name: np.asarray(array) for spec, array in zip(signature.outputs, found, strict=True)}
        if misfit := misfit_of(signature, answers):
            raise RuntimeFailure(f"onnxruntime: {self._name} {misfit}")
        return answers

    def stop(self) -> None:
        """Ends every inference that runs now, between two operations; those that begin after this go on. From another thread."""
        running, self._run_options = self._run_options, self._new_run_options()
        running.terminate = True

    def close(self) -> None:
        if self._session is not None:
            self._session = None
            gc.collect(0)
            give_back()


def _of_the_values(error: Exception, signature: Signature) -> bool:
    """Whether a run of tensors that are as the signature says failed over what they hold, or over sizes that a client chose."""
    words = str(error)
    if type(error).__name__ == "InvalidArgument" or _INDEX.search(words) is not None:
        return True
    chosen = any(FREE in spec.shape[1:] for spec in signature.inputs)
    return chosen and _SIZES.search(words) is not None


def session_options(onnxruntime: Any, threads: int) -> Any:
    """The given number of threads; idle ones sleep, unused memory is given back, and errors are reported once, by us."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.enable_cpu_mem_arena = False  # an arena never shrinks: 8 MB after a hundred loads, against under 1
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.log_severity_level = 4
    return options


def load(manifest: Manifest, folder: Path, threads: int) -> OnnxModel:
    onnxruntime: Any = importlib.import_module("onnxruntime")
    using = in_use()
    providers = wanted(using.providers, onnxruntime.get_available_providers(), using.cache)
    return OnnxModel(session_of(onnxruntime, manifest, folder, threads, providers), manifest)


def session_of(onnxruntime: Any, manifest: Manifest, folder: Path, threads: int, providers: Wanted) -> Any:
    """A session that has the tensors which the manifest names. Raises RuntimeFailure."""
    path = only_file(manifest, folder, ".onnx")
    try:
        session = opened(onnxruntime, str(path), session_options(onnxruntime, threads), providers)
    except Exception as error:  # onnxruntime's errors share no base
        raise RuntimeFailure(f"onnxruntime: cannot load {path.name}: {error}", hint="release it again") from error
    inputs, outputs = {i.name for i in session.get_inputs()}, {o.name for o in session.get_outputs()}
    if manifest.signature is not None:
        _check_signature(manifest.signature, path.name, inputs, outputs)
    else:
        check_names(manifest, path.name, inputs, outputs)
    return session


def _check_signature(signature: Signature, file: str, taken: set[str], given: set[str]) -> None:
    """Raises RuntimeFailure where the file takes other tensors than the manifest names, or does not give those."""
    wanted, named = {spec.name for spec in signature.inputs}, {spec.name for spec in signature.outputs}
    if taken != wanted or not named <= given:
        raise RuntimeFailure(
            f"onnxruntime: {file} has inputs {sorted(taken)} and outputs {sorted(given)}, "
            f"the manifest names {sorted(wanted)} and {sorted(named)}"
        )
