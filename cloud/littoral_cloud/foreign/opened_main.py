"""The process in which a model from elsewhere is opened, run and quantized: whatever it does, it does here.

    python -m littoral_cloud.foreign.opened_main --parent PID --memory BYTES

answers each message on standard input with one on standard output (frames.py). Memory, open files and core dumps are bounded by
the kernel, CPU time for each message; the parent ends it where it is not done in time.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from littoral.child import die_with_parent

_OPEN_FILES = 256
_MOST_FILE = 1 << 31


def limit(memory: int) -> None:
    """Bounds this process. Where a system knows no such limit, the others still hold."""
    for kind, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_FSIZE, _MOST_FILE),
    ):
        with contextlib.suppress(ValueError, OSError):
            bounded = within(kind, most)
            resource.setrlimit(kind, (bounded, bounded))


def within(kind: int, wanted: int) -> int:
    """What is wanted of a resource, or the most that this process may have of it where that is less."""
    _, hard = resource.getrlimit(kind)
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)


def _limit_cpu(seconds: float) -> None:
    """From now on: so that one whose parent is gone ends too."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    wanted = int(used.ru_utime + used.ru_stime + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (within(resource.RLIMIT_CPU, wanted), hard))


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
        about = {"parameters": found.parameters, "opset": found.opset, "ir": found.ir, "class_names": names, "opened": opened}
        return {**about, **tensors}, {"model": np.frombuffer(data, np.uint8)}

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


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m littoral_cloud.foreign.opened_main")
    parser.add_argument("--parent", type=int)
    parser.add_argument("--memory", type=int, required=True)
    arguments = parser.parse_args()
    if arguments.parent is not None:
        die_with_parent(arguments.parent)
    take, give = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not stand between the answers
    from littoral.errors import FleetError
    from littoral_cloud.foreign.frames import packed, read

    limit(arguments.memory)
    sessions = _Sessions()
    while True:
        try:
            body, arrays = read(take.read, take.readline)
        except EOFError:
            return
        _limit_cpu(body["seconds"])
        try:
            reply, answers = sessions.answer(body, arrays)
        except FleetError as error:
            reply, answers = {"code": error.code, "message": error.message, "hint": error.hint}, {}
        except MemoryError:
            message = f"{body['what']}: wants more than the {arguments.memory:,} bytes of memory that it may have"
            reply, answers = {"code": "too-large", "message": message, "hint": ""}, {}
        give.writelines(packed(reply, answers))
        give.flush()


if __name__ == "__main__":
    main()
