"""How a served model is asked, to be pasted: curl, and tritonclient, with this very model's inputs.

Written from the manifest alone, so that the commands and the docs say the same. The values are the first
example of the model's own probe where they are few, else one of them repeated: the model has answered them before.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from littoral.manifest import Manifest
from littoral.signature import datatype_of

FEW = 64
"""Values that are written one by one."""
_MARK = "\0"


@dataclass(frozen=True, slots=True)
class Where:
    """A node: HOST:PORT of REST and of gRPC ("": it is off), and its folder ("": not known here)."""

    http: str
    grpc: str = ""
    folder: str = ""


USUAL = Where("127.0.0.1:8080", "127.0.0.1:8081")
"""Where a node listens by default."""


def snippets(model: str, manifest: Manifest, where: Where) -> str:
    """All of it, for a terminal.

    Args:
        model: the name under which it is served.
    """
    parts = [curl(model, manifest, where.http)]
    if where.grpc:
        parts.append(f"python - <<'END'\n{triton(model, manifest, where.grpc)}END\n")
    if where.folder and manifest.signature is None:
        what = "photo.jpg" if manifest.input.images else "rows.csv"
        parts.append(f"littoral-node infer {what} --data {shlex.quote(where.folder)}\n")
    return "\n".join(parts)


def curl(model: str, manifest: Manifest, http: str) -> str:
    """One line for sh. A long body goes through a pipe: an argument of a program is at most 128 KiB on Linux."""
    tensors, long = [], []
    for name, array in _example(manifest):
        few = array.size <= FEW
        data: Any = array.reshape(-1).tolist() if few else _MARK
        if not few:
            long.append(f"$(yes {json.dumps(array.flat[0].item())} | head -n {array.size} | paste -sd, -)")
        tensors.append({"name": name, "shape": list(array.shape), "datatype": datatype_of(array), "data": data})
    pieces = json.dumps({"inputs": tensors}).split(json.dumps(_MARK))
    body = shlex.quote(pieces[0])
    for values, piece in zip(long, pieces[1:], strict=True):
        body = f"{body[:-1]}['\"{values}\"']{shlex.quote(piece)[1:]}"
    url = f"http://{http}/v2/models/{model}/infer"
    return f"printf %s {body} | curl -s {url} -d @-\n" if long else f"curl -s {url} -d {body}\n"


def triton(model: str, manifest: Manifest, grpc: str) -> str:
    """A program in Python."""
    lines = [
        "import numpy as np",
        "import tritonclient.grpc as triton  # pip install 'tritonclient[grpc]'; triton.http asks the REST port alike",
        "",
        f"with triton.InferenceServerClient({_quoted(grpc)}) as client:",
        "    inputs = []",
    ]
    for name, array in _example(manifest):
        kind = f"np.{array.dtype.name}" if array.dtype.kind != "b" else "np.bool_"
        few = array.size <= FEW
        made = f"np.array({array.tolist()!r}, {kind})" if few else f"np.full({array.shape}, {array.flat[0].item()!r}, {kind})"
        lines += [
            f"    x = {made}",
            f"    inputs.append(triton.InferInput({_quoted(name)}, x.shape, {_quoted(datatype_of(array))}))",
            "    inputs[-1].set_data_from_numpy(x)",
        ]
    output = "label" if manifest.signature is None else manifest.output.name
    lines.append(f"    print(client.infer({_quoted(model)}, inputs).as_numpy({_quoted(output)}))")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """As Python and JSON both write it."""
    return json.dumps(text, ensure_ascii=False)


def _example(manifest: Manifest) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """Every input, with one example of it; all of the probe where it has no batch."""
    signature = manifest.signature
    if signature is None:
        first = manifest.probe.input_array(manifest.input.shape)[:1]
        yield manifest.input.name, first.round(4) if first.dtype.kind == "f" else first
        return
    for spec in signature.inputs:
        array = signature.probe.inputs[spec.name].filled()
        yield spec.name, array[:1] if signature.batched else array
