"""ncnn on the CPU (https://github.com/Tencent/ncnn).

It checks nothing: a tensor of the wrong shape is read past its end, and errors are return codes. So everything is checked here,
before it sees it.
"""

from __future__ import annotations

import importlib
import threading
from pathlib import Path
from typing import Any

import numpy as np

from edge_node.runtimes import Tensor, checked
from edge_node.runtimes.memory import give_back
from littoral.errors import RuntimeFailure
from littoral.manifest import Manifest


def version() -> str:
    import ncnn

    return str(ncnn.__version__)


class NcnnModel:
    """One Extractor a request; only the making of one is safe in several threads (ncnn#4774)."""

    def __init__(self, ncnn: Any, net: Any, manifest: Manifest) -> None:
        self._ncnn = ncnn
        self._net: Any = net
        self._shape = manifest.input.shape
        self._classes = len(manifest.output.labels)
        self._input, self._output, self._name = manifest.input.name, manifest.output.name, manifest.name
        self._closing = threading.Lock()

    def infer(self, x: Tensor) -> Tensor:
        batch = checked(x, self._shape)
        net = self._net
        if net is None:
            raise RuntimeFailure(f"{self._name}: was closed")
        logits = np.empty((len(batch), self._classes), np.float32)
        for index, row in enumerate(batch):
            held = np.ascontiguousarray(row)  # ncnn reads this very memory: it must outlive the run
            with net.create_extractor() as run:
                if (code := run.input(self._input, self._ncnn.Mat(held))) != 0:
                    raise RuntimeFailure(f"ncnn: {self._name} does not take {self._input}: code {code}")
                code, answer = run.extract(self._output)
                if code != 0:
                    raise RuntimeFailure(f"ncnn: {self._name}: inference ended with code {code}")
                values = np.array(answer, dtype=np.float32).reshape(-1)
            if values.size != self._classes:
                raise RuntimeFailure(f"ncnn: {self._name} answers with {values.size} values, the manifest names {self._classes}")
            logits[index] = values
        return logits

    def close(self) -> None:
        with self._closing:
            net, self._net = self._net, None
        if net is not None:
            net.clear()
            del net
            give_back()


def load(manifest: Manifest, folder: Path, threads: int) -> NcnnModel:
    ncnn: Any = importlib.import_module("ncnn")

    files = {Path(file.path).suffix: folder / file.path for file in manifest.files}
    if set(files) != {".param", ".bin"}:
        raise RuntimeFailure(f"ncnn: {manifest.name} holds {sorted(files)}, wanted one .param and one .bin")
    net = ncnn.Net()
    half = bool(manifest.runtime_options.get("fp16", False))
    option = net.opt
    option.num_threads = threads
    option.use_vulkan_compute = False
    option.use_fp16_packed = option.use_fp16_storage = option.use_fp16_arithmetic = half
    option.use_bf16_storage = False
    option.lightmode = True
    net.opt = option
    for what, call in ((".param", net.load_param), (".bin", net.load_model)):
        if (code := call(str(files[what]))) != 0:
            raise RuntimeFailure(f"ncnn: cannot load {files[what].name}: code {code}", hint="release it again")
    if manifest.input.name not in net.input_names() or manifest.output.name not in net.output_names():
        raise RuntimeFailure(
            f"ncnn: {files['.param'].name} has inputs {net.input_names()} and outputs {net.output_names()}, "
            f"the manifest names {manifest.input.name!r} and {manifest.output.name!r}"
        )
    return NcnnModel(ncnn, net, manifest)
