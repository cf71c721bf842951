"""Weights on disk and on the wire: safetensors and named arrays, never pickle."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays
from torch import nn

from littoral.architectures import build
from littoral.digest import digest_of
from littoral.errors import BadInput, NotFound, unwritten
from littoral_cloud.training.seeding import seeded

Arrays = Mapping[str, npt.NDArray[Any]]
_WAY_OUT = "only safetensors files are read; write one with littoral_cloud.training.weights.save_weights"


def arrays_of(module: nn.Module) -> dict[str, npt.NDArray[Any]]:
    """The module's parameters and buffers by name, sorted, contiguous copies."""
    state = module.state_dict()
    return {name: np.array(state[name].detach().cpu().numpy(), order="C") for name in sorted(state)}


def weights_bytes(arrays: Arrays, metadata: Mapping[str, str] | None = None) -> bytes:
    """safetensors bytes: the same arrays give the same bytes."""
    data: bytes = save_arrays(
        {name: np.asarray(arrays[name], order="C") for name in sorted(arrays)}, dict(metadata) if metadata else None
    )
    return data


def file_bytes(arrays: Arrays, spec: Mapping[str, Any]) -> bytes:
    """As load_weights reads them: the weights, and the architecture's spec beside them."""
    return weights_bytes(arrays, {"architecture": json.dumps(dict(spec), sort_keys=True)})


def weights_digest(module: nn.Module) -> str:
    return digest_of(weights_bytes(arrays_of(module)))


def save_weights(path: Path, module: nn.Module, spec: Mapping[str, Any]) -> str:
    """Writes the weights and the architecture's spec beside them, whole or not at all. Gives the digest of the weights alone.

    Raises BadInput or NoSpace, naming the file, where it cannot be written.
    """
    arrays = arrays_of(module)
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_bytes(file_bytes(arrays, spec))
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise unwritten(f"weights: {path}", error, hint="name another folder") from error
    return digest_of(weights_bytes(arrays))


def load_weights(path: Path) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """The arrays and the architecture's spec in a file.

    Raises:
        NotFound: no such file. BadInput: pickled, truncated or not safetensors, or without a spec; names the file.
    """
    data = read_weights(path)
    arrays = arrays_from(data, what=str(path))
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    try:
        spec = json.loads(header["__metadata__"]["architecture"])
    except (KeyError, ValueError) as error:
        raise BadInput(f"weights: {path} does not say which architecture they are of", hint=_WAY_OUT) from error
    if not isinstance(spec, dict):
        raise BadInput(f"weights: {path} says {spec!r} where its architecture should be", hint=_WAY_OUT)
    return arrays, spec


def read_weights(path: Path) -> bytes:
    """The bytes of a weights file, unchecked. Raises NotFound, or BadInput where it cannot be read; names the file."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"weights: {path} does not exist", hint="train first, or give another path") from error
    except OSError as error:
        raise BadInput(f"weights: {path} cannot be read: {error.strerror}", hint="give a safetensors file") from error


def arrays_from(data: bytes, *, what: str = "weights") -> dict[str, npt.NDArray[Any]]:
    """The arrays in safetensors bytes. Raises BadInput."""
    if data[:2] == b"PK" or data[:1] == b"\x80":
        raise BadInput(f"weights: {what} is a pickled torch file, which is never loaded", hint=_WAY_OUT)
    try:
        arrays: dict[str, npt.NDArray[Any]] = load_arrays(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise BadInput(f"weights: {what} is damaged or not safetensors ({len(data)} bytes): {error}", hint=_WAY_OUT) from error
    return arrays


def module_of(spec: Mapping[str, Any], arrays: Arrays, *, channels: int, height: int, width: int, classes: int) -> nn.Module:
    """The network with these weights, for inference; what a federated run or a file gives back.

    Raises:
        BadInput: an array is missing, not wanted, of another shape, or holds a value that is not finite; names it.
    """
    with seeded(0):
        module = build(spec, channels=channels, height=height, width=width, classes=classes)
    wanted = module.state_dict()
    for name in sorted(set(wanted) ^ set(arrays)):
        verb = "is missing" if name in wanted else f"is not part of {spec.get('name')}"
        raise BadInput(f"weights.{name}: {verb}", hint="the architecture's spec must be the one that was trained")
    state = {}
    for name, tensor in wanted.items():
        array = np.asarray(arrays[name])
        if array.shape != tuple(tensor.shape):
            raise BadInput(
                f"weights.{name}: shape is {array.shape}, {spec.get('name')} has {tuple(tensor.shape)}",
                hint="the architecture's spec must be the one that was trained",
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise BadInput(f"weights.{name}: holds a value that is not finite", hint="training diverged; lower the learning rate")
        state[name] = torch.from_numpy(np.array(array)).to(tensor.dtype)
    module.load_state_dict(state)
    return module.eval()


def parameters_of(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
