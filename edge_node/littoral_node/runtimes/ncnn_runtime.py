"""ncnn (https://github.com/Tencent/ncnn): on a GPU through Vulkan where there is one and this node allows it, else on the CPU.

It checks nothing: a tensor of the wrong shape is read past its end, and errors are return codes. So everything is checked here,
before it sees it.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from littoral.errors import RuntimeFailure
from littoral.manifest import Manifest
from littoral_node.machine.memory import give_back
from littoral_node.machine.runtime_facts import Missing, RuntimeFacts
from littoral_node.runtimes import Array, Tensor, check_names, checked, devices_of, no_signature, only_file
from littoral_node.runtimes.using import in_use

_GET_VULKAN = "a machine with a GPU, and its Vulkan driver and loader (Debian: libvulkan1, mesa-vulkan-drivers)"


def version() -> str:
    import ncnn

    return str(ncnn.__version__)


def look() -> RuntimeFacts:
    """Counts the GPUs, which loads Vulkan and talks on stderr where there is none: never in a process that serves."""
    found = version()
    gpus = gpu_count()
    allowed = in_use().providers
    if gpus and "vulkan" in allowed:
        return RuntimeFacts(found, devices=("vulkan", "cpu"))
    if gpus:
        how = f"allow it: --providers {','.join(('vulkan', *allowed))}"
        return RuntimeFacts(
            found, lacking=(Missing("ncnn vulkan", "is there, and not among the providers that this node allows", how),)
        )
    return RuntimeFacts(found, lacking=(Missing("ncnn vulkan", "ncnn finds no GPU that speaks Vulkan here", _GET_VULKAN),))


def gpu_count() -> int:
    ncnn: Any = importlib.import_module("ncnn")
    count = getattr(ncnn, "get_gpu_count", None)  # a build without Vulkan has none
    return int(count()) if count else 0


class NcnnModel:
    """One Extractor a request; only the making of one is safe in several threads (ncnn#4774).

    Its memory is freed when it was closed and the last request is through: ncnn would go on reading it.
    """

    def __init__(self, ncnn: Any, net: Any, manifest: Manifest, devices: tuple[str, ...]) -> None:
        self.devices = devices
        self._ncnn = ncnn
        self._net: Any = net
        self._shape = manifest.input.shape
        self._classes = len(manifest.output.labels)
        self._input, self._output, self._name = manifest.input.name, manifest.output.name, manifest.name
        self._lock = threading.Lock()
        self._running = 0
        self._closed = False

    def infer(self, x: Tensor) -> Tensor:
        batch = checked(x, self._shape)
        with self._lock:
            if self._closed:
                raise RuntimeFailure(f"{self._name}: was closed")
            self._running += 1
        try:
            return np.stack([self._one(row) for row in batch])
        finally:
            with self._lock:
                self._running -= 1
            self._free_when_done()

    def run(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        raise no_signature("ncnn", self._name)

    def close(self) -> None:
        with self._lock:
            self._closed = True
        self._free_when_done()

    def _one(self, row: Tensor) -> Tensor:
        values = np.ascontiguousarray(row)  # ncnn reads this very memory: it must outlive the run
        with self._net.create_extractor() as run:
            if (code := run.input(self._input, self._ncnn.Mat(values))) != 0:
                raise RuntimeFailure(f"ncnn: {self._name} does not take {self._input}: code {code}")
            code, answer = run.extract(self._output)
            if code != 0:
                raise RuntimeFailure(f"ncnn: {self._name}: inference ended with code {code}")
            logits: Tensor = np.array(answer, dtype=np.float32).reshape(-1)  # a copy: the answer's memory is the extractor's
        if logits.size != self._classes:
            raise RuntimeFailure(f"ncnn: {self._name} answers with {logits.size} values, the manifest names {self._classes}")
        return logits

    def _free_when_done(self) -> None:
        with self._lock:
            if not self._closed or self._running or self._net is None:
                return
            net, self._net = self._net, None
        net.clear()
        del net
        give_back()


def load(manifest: Manifest, folder: Path, threads: int) -> NcnnModel:
    ncnn: Any = importlib.import_module("ncnn")

    param, weights = only_file(manifest, folder, ".param"), only_file(manifest, folder, ".bin")
    net = ncnn.Net()
    half = bool(manifest.runtime_options.get("fp16", False))
    option = net.opt
    option.num_threads = threads
    option.openmp_blocktime = 0  # threads that have nothing to do sleep at once
    option.use_vulkan_compute = vulkan = "vulkan" in in_use().providers and "vulkan" in devices_of("ncnn")
    option.use_fp16_packed = option.use_fp16_storage = option.use_fp16_arithmetic = half
    option.use_bf16_storage = False
    option.lightmode = True
    net.opt = option
    for file, read in ((param, net.load_param), (weights, net.load_model)):
        if (code := read(str(file))) != 0:
            raise RuntimeFailure(f"ncnn: cannot load {file.name}: code {code}", hint="release it again")
    check_names(manifest, param.name, net.input_names(), net.output_names())
    return NcnnModel(ncnn, net, manifest, ("vulkan", "cpu") if vulkan else ("cpu",))
