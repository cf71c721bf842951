"""The Open Inference Protocol's requests and answers, version 2, as values: JSON tensors, and tensors in binary form.

https://github.com/open-inference/open-inference-protocol: specification/protocol/inference_rest.md. Tensors in binary form are
the extension that Triton and its clients speak: the JSON, `Inference-Header-Content-Length` bytes long, then the tensors' bytes,
little endian, each as long as its parameter `binary_data_size` says. Our own models have one input and two outputs: logits (FP32,
(n, classes)) and `label` (INT64, (n,)), the index of the largest. One that was imported has the inputs and outputs of its file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from littoral.errors import BadInput
from littoral.manifest import Manifest
from littoral.preparation import Input
from littoral.resize import MOST
from littoral.signature import DATATYPES, MOST_VALUES, Signature
from littoral.tensor_spec import FREE, TensorSpec
from littoral_node.serving.values import Array, from_bytes, from_json, kind_of, shown

MAX_BATCH = 256
_STATELESS = "each request is answered by itself"
_NO_MEMORY = "shared memory is not here: send and ask for data, JSON or binary"
LABEL = "label"
_WHOLE = {int}  # and not bool
_NEUTRAL: tuple[Any, ...] = (None, False, 0, "", {}, [])
"""What a parameter says that asks for nothing."""
_NOT_HERE: Mapping[str, str] = {
    "classification": "the label and the logits are outputs; a client sorts them",
    "priority": "requests are answered in the order in which they come",
    "sequence_end": _STATELESS,
    "sequence_id": _STATELESS,
    "sequence_start": _STATELESS,
    "shared_memory_byte_size": _NO_MEMORY,
    "shared_memory_offset": _NO_MEMORY,
    "shared_memory_region": _NO_MEMORY,
    "timeout": "a client that waits no longer closes its connection or cancels its call",
}
"""Parameters of the protocol's extensions that are not followed here, and what there is in their place."""


@dataclass(frozen=True, slots=True)
class Request:
    inputs: Mapping[str, Array]  # by name, as the client sent them
    outputs: tuple[tuple[str, bool], ...]  # name, in binary form
    id: str | None

    @property
    def raw(self) -> Array:
        """Of a model with one input, (n, *shape)."""
        return next(iter(self.inputs.values()))


Asked = Callable[[Manifest], Request]
"""Reads what was asked, as the model that will answer takes it. Raises BadInput, naming the field."""


def metadata(name: str, manifest: Manifest, manifest_digest: str) -> dict[str, Any]:
    """The protocol's model metadata. -1 stands for the batch, and for any other size that a client chooses.

    `parameters` are ours: what a client needs to make an example of a file and words of an answer, as the manifest says it.
    """
    about = {
        "name": name,
        "versions": [manifest_digest],
        "platform": manifest.runtime,
        "parameters": {
            "task": manifest.task,
            "labels": manifest.output.labels,
            "output": manifest.output.name,
            "shape": manifest.input.shape,
            "resize": manifest.input.resize,
        },
    }
    if manifest.signature is not None:
        return {**about, "inputs": manifest.signature.inputs, "outputs": manifest.signature.outputs}
    outputs = [
        TensorSpec(manifest.output.name, "FP32", (FREE, len(manifest.output.labels))),
        TensorSpec(LABEL, "INT64", (FREE,)),
    ]
    return {**about, "inputs": [_described(manifest.input)], "outputs": outputs}


def _described(given: Input) -> TensorSpec:
    """Images that the node resizes may have any number of channels, height and width that it can."""
    shape = (FREE, FREE, FREE) if given.resize else given.shape
    return TensorSpec(given.name, "UINT8" if given.images else "FP32", (FREE, *shape))


def asked(body: Any, tail: memoryview | None = None, *, truths: bool = True) -> Asked:
    """See `read`."""
    return partial(read, body, tail=tail, truths=truths)


def read(body: Any, manifest: Manifest, tail: memoryview | None = None, *, truths: bool = True) -> Request:
    """A request's JSON, parsed, and what followed it. Raises BadInput, naming the field, what was wanted and what came.

    Args:
        truths: whether true or false stands anywhere in the JSON.
    """
    if not isinstance(body, dict):
        raise BadInput(
            f"body: must be a JSON object, is {kind_of(body)}",
            hint='{"inputs": [{"name": ..., "shape": ..., "datatype": ..., "data": ...}]}',
        )
    given_id = body.get("id")
    if given_id is not None and not isinstance(given_id, str):
        raise BadInput(f"id: must be text, is {kind_of(given_id)}")
    binary = _parameters(body, "", "binary_data_output").get("binary_data_output", False)
    if not isinstance(binary, bool):
        raise BadInput(f"parameters.binary_data_output: must be true or false, is {shown(binary)}")
    signature = manifest.signature
    known = (manifest.output.name, LABEL) if signature is None else tuple(spec.name for spec in signature.outputs)
    outputs = _outputs(body.get("outputs"), known, binary)
    given = body.get("inputs")
    if signature is not None:
        return Request(_inputs(given, signature, tail, truths), outputs, given_id)
    return Request({manifest.input.name: _input(given, manifest, tail, truths)}, outputs, given_id)


def _input(inputs: Any, manifest: Manifest, tail: memoryview | None, truths: bool) -> Array:
    if not isinstance(inputs, list):
        raise BadInput(f"inputs: must be a list with the tensor {manifest.input.name!r}, is {kind_of(inputs)}")
    if len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise BadInput(f"inputs: must hold exactly one tensor, {manifest.input.name!r}, holds {len(inputs)} things")
    tensor = inputs[0]
    if tensor.get("name") != manifest.input.name:
        raise BadInput(f"inputs[0].name: {shown(tensor.get('name'))}, this model's input is {manifest.input.name!r}")
    datatype = tensor.get("datatype")
    if not isinstance(datatype, str) or datatype not in DATATYPES:
        raise BadInput(f"inputs[0].datatype: {shown(datatype)} is not taken", hint=f"one of {', '.join(DATATYPES)}")
    shape = _shape(tensor.get("shape"), manifest.input, datatype)
    values, left = _values(tensor, "inputs[0]", shape, datatype, tail, truths)
    if left is not None:
        _check_used(left, tail)
    return values


def _inputs(given: Any, signature: Signature, tail: memoryview | None, truths: bool) -> dict[str, Array]:
    """Every input of a model that was imported, each once, in the datatype and shape that it takes."""
    names = [spec.name for spec in signature.inputs]
    if not isinstance(given, list) or not all(isinstance(tensor, dict) for tensor in given):
        raise BadInput(f"inputs: must be a list of tensors, {', '.join(names)}; is {kind_of(given)}")
    sent = [tensor.get("name") for tensor in given]
    if len(sent) != len(names) or any(name not in sent for name in names):
        raise BadInput(f"inputs: {shown(sent)} must name each input of this model once", hint=f"it has {', '.join(names)}")
    specs, found, left = {spec.name: spec for spec in signature.inputs}, {}, tail
    for i, tensor in enumerate(given):
        at, spec = f"inputs[{i}]", specs[tensor["name"]]
        if tensor.get("datatype") != spec.datatype:
            raise BadInput(f"{at}.datatype: {shown(tensor.get('datatype'))}, {spec.name} is {spec.datatype}")
        shape = _whole_numbers(tensor.get("shape"), f"{at}.shape")
        if not spec.fits(shape) or any(size < 0 for size in shape) or math.prod(size or 1 for size in shape) > MOST_VALUES:
            raise BadInput(f"{at}.shape: {shown(list(shape))}, {spec.name} takes {spec.sizes}")
        if signature.batched and shape[0] < 1:
            raise BadInput(f"{at}.shape: {shown(list(shape))}, {spec.name} takes {spec.sizes}, from one example on")
        found[spec.name], left = _values(tensor, at, shape, spec.datatype, left, truths)
    _check_used(left, tail)
    batches = {array.shape[0] for spec, array in zip(specs.values(), (found[name] for name in specs), strict=True) if spec.shape}
    if signature.batched and (len(batches) > 1 or max(batches) > MAX_BATCH):
        raise BadInput(f"inputs: have {sorted(batches)} examples", hint=f"as many in each, 1 to {MAX_BATCH}")
    return found


def _values(
    tensor: Mapping[str, Any], at: str, shape: tuple[int, ...], datatype: str, tail: memoryview | None, truths: bool
) -> tuple[Array, memoryview | None]:
    """One tensor, and what of the bytes behind the JSON is left for the next."""
    size = _parameters(tensor, at, "binary_data_size").get("binary_data_size")
    if size is None:
        return from_json(tensor.get("data"), shape, datatype, at, truths=truths), tail
    if "data" in tensor:
        raise BadInput(f"{at}.data: is given, and parameters.binary_data_size too: one or the other")
    wanted, there = math.prod(shape) * DATATYPES[datatype].itemsize, len(tail) if tail is not None else 0
    if size != wanted or type(size) is not int:
        raise BadInput(f"{at}.parameters.binary_data_size: {shown(size)}, {datatype} {list(shape)} takes {wanted}")
    if there < wanted:
        raise BadInput(
            f"body: {there} bytes follow the JSON, the input takes {wanted}",
            hint="Inference-Header-Content-Length: bytes of the JSON",
        )
    if tail is None:  # of a tensor without values nothing follows
        return from_bytes(b"", shape, datatype, at), None
    return from_bytes(tail[:wanted], shape, datatype, at), tail[wanted:]


def _check_used(left: memoryview | None, tail: memoryview | None) -> None:
    """Raises BadInput where bytes follow the JSON that no input has taken."""
    if left and tail is not None and len(left) == len(tail):
        raise BadInput(f"body: {len(tail)} bytes follow the JSON, and no input has a parameter binary_data_size")
    if left and tail is not None:
        raise BadInput(
            f"body: {len(tail)} bytes follow the JSON, the input takes {len(tail) - len(left)}",
            hint="Inference-Header-Content-Length: bytes of the JSON",
        )


def _shape(given: Any, wanted: Input, datatype: str) -> tuple[int, ...]:
    shape = _whole_numbers(given, "inputs[0].shape")
    if shape and 1 <= shape[0] <= MAX_BATCH and (shape[1:] == wanted.shape or _resizable(shape, wanted, datatype)):
        return shape
    sized = f", or UINT8 [n, 1 or 3, height, width], sides up to {MOST}" if wanted.resize else ""
    raise BadInput(
        f"inputs[0].shape: {shown(given)}, wanted [n, {', '.join(map(str, wanted.shape))}] with n from 1 to {MAX_BATCH}{sized}"
    )


def _whole_numbers(given: Any, at: str) -> tuple[int, ...]:
    if not isinstance(given, list) or not set(map(type, given)) <= _WHOLE:
        raise BadInput(f"{at}: {shown(given)} must be a list of whole numbers")
    return tuple(given)


def _resizable(given: tuple[int, ...], wanted: Input, datatype: str) -> bool:
    if wanted.resize is None or datatype != "UINT8" or len(given) != 4:
        return False
    return given[1] in (1, 3) and all(1 <= side <= MOST for side in given[2:])


def _outputs(given: Any, known: tuple[str, ...], binary: bool) -> tuple[tuple[str, bool], ...]:
    if given is None or given == []:
        return tuple([(name, binary) for name in known])
    if not isinstance(given, list) or not all(isinstance(o, dict) and isinstance(o.get("name"), str) for o in given):
        raise BadInput(f"outputs: {shown(given)} must be a list of objects with a name")
    names = [o["name"] for o in given]
    if len(set(names)) != len(names) or not set(names) <= set(known):
        raise BadInput(
            f"outputs: {shown(names)} must name outputs of this model, each once", hint=f"it has {' and '.join(known)}"
        )
    wanted = []
    for index, output in enumerate(given):
        own = _parameters(output, f"outputs[{index}]", "binary_data").get("binary_data", binary)
        if not isinstance(own, bool):
            raise BadInput(f"outputs[{index}].parameters.binary_data: must be true or false, is {shown(own)}")
        wanted.append((output["name"], own))
    return tuple(wanted)


def _parameters(holder: Mapping[str, Any], at: str, known: str) -> Mapping[str, Any]:
    """Of what stands at `at`. Raises BadInput for one that is not `known`: what it asks for would not be done."""
    given = holder.get("parameters")
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise BadInput(f"{at}{'.' if at else ''}parameters: must be an object, is {kind_of(given)}")
    for name, value in given.items():
        if name == known or (name in _NOT_HERE and value in _NEUTRAL) or (name == "content_type" and value == "np"):
            continue
        raise BadInput(
            f"{at}{'.' if at else ''}parameters.{name[:40]}: {shown(value)} is not followed here",
            hint=_NOT_HERE.get(name, f"leave it out; {known} is taken here"),
        )
    return given
