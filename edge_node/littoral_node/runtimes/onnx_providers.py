"""onnxruntime's execution providers: which are tried, in which order, with which options, and which one really ran.

The CPU is always the last. onnxruntime falls back to it by itself, without a word to its caller, so what ran is read from the
session afterwards.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from littoral_node.machine.runtime_facts import Missing

NAMES: Mapping[str, str] = {
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
GET: Mapping[str, str] = {
    "tensorrt": "pip install onnxruntime-gpu tensorrt-cu12 in place of onnxruntime; needs an NVIDIA GPU and its driver",
    "cuda": "pip install onnxruntime-gpu in place of onnxruntime; needs an NVIDIA GPU, its driver, CUDA and cuDNN",
    "coreml": "run this node on macOS: onnxruntime's wheels have it there",
}
Wanted = list[tuple[str, dict[str, str]]]
"""As onnxruntime.InferenceSession takes them."""


def wanted(devices: Sequence[str], built: Sequence[str], cache: Path | None) -> Wanted:
    """Of the devices that are allowed, those that this onnxruntime was built with, and the CPU.

    Args:
        devices: names of NAMES, in the order in which they are tried; others are another runtime's.
        built: onnxruntime.get_available_providers().
        cache: a folder for engines and compiled models; None: none are stored.
    """
    chosen = [name for name in devices if name != "cpu" and NAMES.get(name) in built]
    return [(NAMES[name], options_of(name, cache)) for name in (*chosen, "cpu")]


def options_of(device: str, cache: Path | None) -> dict[str, str]:
    """So that answers stay those of the CPU as far as a device can give them: no TensorFloat-32, no half precision."""
    if device == "cuda":
        return {"use_tf32": "0", "arena_extend_strategy": "kSameAsRequested"}
    if device == "tensorrt":
        return {"trt_fp16_enable": "0", "trt_int8_enable": "0", **engine_cache(cache)}
    if device == "coreml":
        stored = {} if cache is None else {"ModelCacheDirectory": str(_made(cache / "coreml"))}
        return {"ModelFormat": "MLProgram", "MLComputeUnits": "ALL", **stored}
    return {}


def engine_cache(cache: Path | None) -> dict[str, str]:
    """TensorRT's engines and what it learnt of its kernels' times, stored for the next start. An engine is for one GPU, one
    TensorRT and one file, which is in its name, so that one folder holds them all."""
    if cache is None:
        return {}
    place = str(_made(cache / "tensorrt"))
    return {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": place,
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": place,
    }


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def opened(onnxruntime: Any, source: str | bytes, options: Any, providers: Wanted) -> Any:
    """A session on the first of the providers that takes the model; on the CPU alone where the others fail with it."""
    try:
        return onnxruntime.InferenceSession(source, options, providers=providers)
    except Exception:
        if len(providers) == 1:
            raise
        return onnxruntime.InferenceSession(source, options, providers=providers[-1:])


def ran_on(session: Any) -> tuple[str, ...]:
    """The devices that a session really has, as we call them, the first one first."""
    known = {provider: name for name, provider in NAMES.items()}
    return tuple(known.get(provider, provider) for provider in session.get_providers())


def devices_here(
    onnxruntime: Any, model: bytes, options: Callable[[], Any], allowed: Sequence[str]
) -> tuple[tuple[str, ...], tuple[Missing, ...]]:
    """(devices that made a session with a tiny model, what is missing of the others). That a library was built with a provider
    says nothing of this machine."""
    built, works, lacking = onnxruntime.get_available_providers(), [], []
    for device in (name for name in NAMES if name != "cpu"):
        if (missing := why_missing(onnxruntime, model, options, device, built)) is not None:
            lacking.append(Missing(f"onnxruntime {device}", missing, GET[device]))
        elif device not in allowed:
            how = f"allow it: --providers {','.join((device, *allowed))}"
            lacking.append(Missing(f"onnxruntime {device}", "is there, and not among the providers that this node allows", how))
        else:
            works.append(device)
    return (*sorted(works, key=list(allowed).index), "cpu"), tuple(lacking)


def why_missing(onnxruntime: Any, model: bytes, options: Callable[[], Any], device: str, built: Sequence[str]) -> str | None:
    """None where the device makes a session with a tiny model. `built`: providers that the library was built with."""
    if NAMES[device] not in built:
        return f"onnxruntime {onnxruntime.__version__} was built without {NAMES[device]}"
    written: list[str] = []
    with _stderr(written):
        try:
            session = onnxruntime.InferenceSession(
                model, options(), providers=[(NAMES[device], options_of(device, None)), (NAMES["cpu"], {})]
            )
            has = ran_on(session)
        except Exception as error:  # noqa: BLE001 - onnxruntime's errors share no base
            has, written = (), [str(error)]
    if device in has:
        return None
    why = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip() for line in "\n".join(written).splitlines() if line.strip()]
    return f"onnxruntime has {NAMES[device]}, and it does not work here: {why[0][:300] if why else 'it does not say why'}"


@contextmanager
def _stderr(into: list[str]) -> Iterator[None]:
    """What native code writes there, in place of the terminal: onnxruntime says only there why a provider failed."""
    with tempfile.TemporaryFile("w+b") as file:
        before = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(before, 2)
            os.close(before)
            file.seek(0)
            into.append(file.read().decode(errors="replace"))
