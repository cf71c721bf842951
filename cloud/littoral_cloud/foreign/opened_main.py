"""The process in which a model from elsewhere is opened, run and quantized: the child of opened.py.

What such a file makes of its process, it does here: the kernel bounds memory, open files and the size of files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from littoral.errors import TooLarge
from littoral.process.child import Answer, serve


def prepare(settings: dict[str, Any]) -> tuple[Answer, dict[str, Any]]:
    sessions = _Sessions()

    def answer(head: dict[str, Any], arrays: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        try:
            return sessions.answer(head, arrays)
        except MemoryError as error:
            raise TooLarge(
                f"{head['what']}: needs more than the {settings['memory']:,} bytes of memory that it may take"
            ) from error

    return answer, {}


class _Sessions:
    """The models that are open here, by name."""

    def __init__(self) -> None:
        self._open: dict[str, Any] = {}
        self._model: Any = None

    def answer(self, body: Mapping[str, Any], arrays: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        match body["do"]:
            case "open":
                return self._opened(Path(body["path"]), body["what"], body["threads"])
            case "load":
                data = arrays["model"].tobytes()
                self._open[body["name"]] = _session(data, body["threads"], body["what"], optimised=body["optimised"])
                return {}, {}
            case "run":
                return {}, self._run(self._open[body["name"]], arrays, body["outputs"], body["what"])
            case "quantize":
                import numpy as np

                from littoral_cloud.foreign.quantizing import quantized

                made = quantized(self._model, arrays, body["batch"], body["what"], layers_alone=body["layers_alone"])
                return {"opset": made.opset, "ir": made.ir}, {"model": np.frombuffer(made.data, np.uint8)}
        raise ValueError(body["do"])

    def _opened(self, path: Path, what: str, threads: int) -> tuple[dict[str, Any], dict[str, Any]]:
        import numpy as np

        from littoral_cloud.foreign.class_names import class_names, maps_opened
        from littoral_cloud.foreign.inspecting import inspected, read_file

        found = inspected(read_file(path, what), path, what)
        names = class_names(found.model)
        opened = maps_opened(found.model)
        self._model = found.model
        data = found.model.SerializeToString(deterministic=True)
        session = self._open["given"] = _session(data, threads, f"{what}: {path}", optimised=True)
        declared = (*found.model.graph.input, *found.model.graph.output)
        shaped = {value.name for value in declared if value.type.tensor_type.HasField("shape")}
        tensors = {
            side: [[e.name, e.type, list(e.shape) if e.shape or e.name in shaped else None] for e in entries]
            for side, entries in (("inputs", session.get_inputs()), ("outputs", session.get_outputs()))
        }
        about = {"parameters": found.parameters, "opset": found.opset, "ir": found.ir, "opened": opened}
        large = {"model": data, "class_names": json.dumps(names).encode()}  # too long for a head
        return {**about, **tensors}, {name: np.frombuffer(part, np.uint8) for name, part in large.items()}

    def _run(self, session: Any, feeds: Mapping[str, Any], outputs: list[str], what: str) -> dict[str, Any]:
        import numpy as np

        from littoral.errors import RuntimeFailure

        try:
            found = session.run(outputs, dict(feeds))
        except Exception as error:  # onnxruntime's errors share no base
            raise RuntimeFailure(f"{what}: onnxruntime cannot run it: {_brief(error)}") from error
        return {name: np.asarray(array) for name, array in zip(outputs, found, strict=True)}


def _session(data: bytes, threads: int, what: str, *, optimised: bool) -> Any:
    from onnxruntime.capi.onnxruntime_inference_collection import InferenceSession
    from onnxruntime.capi.onnxruntime_pybind11_state import GraphOptimizationLevel, SessionOptions

    from littoral.errors import RuntimeFailure

    options = SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.enable_cpu_mem_arena = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not optimised:
        options.graph_optimization_level = GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no base
        raise RuntimeFailure(f"{what}: onnxruntime cannot load it: {_brief(error)}") from error


def _brief(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:297]}..."


if __name__ == "__main__":
    serve(prepare)
