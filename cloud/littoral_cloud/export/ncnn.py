"""ncnn: a .param with the graph, a .bin with the weights; float32, or float16 in half the bytes.

pnnx (https://github.com/pnnx/pnnx) turns TorchScript into both. It writes seven files beside its input and prints to stderr,
so it runs as a child in a folder of its own. float16 is the form of the stored weights: the node calculates in float32
(`runtime_options`), because float16 arithmetic differs between CPUs.
"""

from __future__ import annotations

import importlib
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from littoral.errors import NoSpace, RuntimeFailure, Unavailable
from littoral.preparation import Input
from littoral_cloud.export.exported import DEFAULTS, OUTPUT_NAME, Exported, Logits, Options, Prepared, folded
from littoral_cloud.export.lacking import layer_lacking

PARAM = "model.param"
BIN = "model.bin"
_PNNX_SECONDS = 300.0
_FILES, _SPARE_BYTES = 6, 1_000_000  # files with all weights while pnnx works, and bytes of the others
_WAY_OUT = "use another layer in its place, or another architecture for ncnn nodes"


def export(
    module: nn.Module, given: Input, *, calibration: Prepared, options: Options = DEFAULTS, half: bool = False
) -> Exported:
    """float32 weights, or with `half` float16; see Exporter."""
    network = folded(module)
    try:
        param, weights = _converted(network, given, half=half)
    except RuntimeFailure as error:
        layer = layer_lacking(network, given.shape, lambda cut: _converted(cut, given, half=half))
        raise RuntimeFailure(f"ncnn: layer {layer} cannot be exported: {error.message}", hint=error.hint) from error
    return Exported("ncnn", {PARAM: param.encode(), BIN: weights}, {"fp16": False}, {})


def _converted(network: nn.Module, given: Input, *, half: bool) -> tuple[str, bytes]:
    """The contents of .param and .bin of a folded network. Raises RuntimeFailure."""
    with tempfile.TemporaryDirectory(prefix="littoral-ncnn-") as scratch:
        folder = Path(scratch)
        _check_room(folder, network)
        with warnings.catch_warnings(), torch.inference_mode():
            # pnnx reads TorchScript; torch announces the end of tracing, not its replacement here.
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            try:
                traced: Any = torch.jit.trace(network, torch.zeros(1, *given.shape))  # type: ignore[no-untyped-call]
            except RuntimeError as error:
                raise RuntimeFailure(f"torch cannot run it: {error}") from error
            traced.save(str(folder / "model.pt"))
        shape = ",".join(map(str, (1, *given.shape)))
        _run_pnnx(folder, "model.pt", f"inputshape=[{shape}]", f"fp16={int(half)}")
        param, weights = folder / "model.ncnn.param", folder / "model.ncnn.bin"
        if not param.is_file() or not weights.is_file():
            raise RuntimeFailure("pnnx wrote no network", hint=_WAY_OUT)
        return _named(param.read_text(), given.name), weights.read_bytes()


def _check_room(folder: Path, network: nn.Module) -> None:
    """Raises NoSpace where the disk is too full: torch and pnnx give no clear error then."""
    needed = _FILES * sum(p.numel() * 4 for p in network.parameters()) + _SPARE_BYTES
    if (free := shutil.disk_usage(folder).free) < needed:
        raise NoSpace(f"ncnn: an export needs {needed:,} bytes in {folder.parent}, {free:,} are free", hint="or set TMPDIR")


def _run_pnnx(folder: Path, *arguments: str) -> None:
    found = find_spec("pnnx")
    if found is None or found.origin is None:
        raise Unavailable("ncnn: pnnx is not installed", hint="pip install 'littoral[cloud]'")
    # Importing the package would load torch again: its binary is enough.
    binary = Path(found.origin).with_name("pnnx")
    try:
        done = subprocess.run(
            [str(binary), *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PNNX_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(
            f"ncnn: pnnx did not run to its end: {error}", hint="see whether this machine has memory to spare"
        ) from error
    if done.returncode != 0:
        raise RuntimeFailure(f"pnnx ended with {done.returncode}: {done.stderr[-500:].strip()}", hint=_WAY_OUT)


def _named(param: str, input_name: str) -> str:
    """The .param text with the manifest's names in place of pnnx's blobs in0 and out0, and with single spaces.

    Lines are: kind, name, number of inputs, number of outputs, that many blobs, parameters. Raises RuntimeFailure for a layer
    that ncnn does not have: pnnx writes those with torch's names, such as torch.lgamma or aten::erfinv.
    """
    names = {"in0": input_name, "out0": OUTPUT_NAME}
    magic, counts, *layers = param.splitlines()
    lines = [magic, counts]
    for layer in layers:
        kind, name, inputs, outputs, *rest = layer.split()
        if not kind.isalnum():
            raise RuntimeFailure(f"ncnn has no layer for {kind}", hint=_WAY_OUT)
        blobs = int(inputs) + int(outputs)
        rest[:blobs] = [names.get(blob, blob) for blob in rest[:blobs]]
        lines.append(" ".join([kind, names.get(name, name), inputs, outputs, *rest]))
    return "\n".join(lines) + "\n"


def infer(exported: Exported, prepared: Prepared, *, threads: int = 1, optimised: bool = True) -> Logits:
    """Logits from ncnn, one input after another. `optimised=False` turns off its faster algorithms: another rounding."""
    with opened(exported, threads=threads, optimised=optimised) as one:
        return np.stack([one(row) for row in prepared])


@contextmanager
def opened(
    exported: Exported, *, name: str = "the artifact", threads: int = 1, optimised: bool = True
) -> Iterator[Callable[[Prepared], Logits]]:
    """An artifact loaded in ncnn, as a function from one input, (*input.shape), to its logits, (classes,).

    Raises RuntimeFailure, naming it, from ncnn's return codes; ncnn itself raises nothing.
    """
    ncnn: Any = importlib.import_module("ncnn")  # only an export of this kind needs it; it has no types

    with tempfile.TemporaryDirectory(prefix="littoral-ncnn-") as scratch:
        for path, data in exported.files.items():
            Path(scratch, path).write_bytes(data)
        net = ncnn.Net()
        option = net.opt
        option.num_threads = threads
        option.use_vulkan_compute = False
        option.use_fp16_packed = option.use_fp16_storage = option.use_fp16_arithmetic = bool(exported.runtime_options["fp16"])
        option.use_bf16_storage = False
        option.use_winograd_convolution = option.use_sgemm_convolution = option.use_packing_layout = optimised
        net.opt = option
        if net.load_param(str(Path(scratch, PARAM))) != 0 or net.load_model(str(Path(scratch, BIN))) != 0:
            raise RuntimeFailure(f"ncnn: cannot load {name}")
    input_name = net.input_names()[0]

    def one(row: Prepared) -> Logits:
        memory = np.ascontiguousarray(row)  # ncnn reads it without a copy
        with net.create_extractor() as run:
            if run.input(input_name, ncnn.Mat(memory)) != 0:
                raise RuntimeFailure(f"ncnn: {name} does not take {input_name}")
            code, logits = run.extract(OUTPUT_NAME)
            if code != 0:
                raise RuntimeFailure(f"ncnn: inference of {name} ended with {code}")
            return np.array(logits, dtype=np.float32).reshape(-1)

    try:
        yield one
    finally:
        net.clear()
