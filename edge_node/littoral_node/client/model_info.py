"""A model's inputs and outputs by its manifest: from a node's metadata, or from a manifest in a folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from littoral.errors import Unavailable
from littoral.tensor_spec import TensorSpec


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One served model. `shape` has no batch axis. `resize` is (method, fit); None: images must have the model's size.

    `own`: a network of ours, which takes pixels as they are; False: an imported model, which takes its file's own tensors.
    """

    model: str
    version: str
    task: str
    labels: tuple[str, ...]
    output: str
    shape: tuple[int, ...]
    resize: tuple[str, str] | None
    inputs: tuple[TensorSpec, ...]
    own: bool

    @property
    def images(self) -> bool:
        return len(self.shape) == 3


def model_info_from(metadata: Mapping[str, Any]) -> ModelInfo:
    """From the protocol's model metadata as serving.tensors writes it. Raises Unavailable where another server wrote it."""
    try:
        ours = metadata["parameters"]
        resize = ours["resize"]
        outputs = [output["name"] for output in metadata["outputs"]]
        return ModelInfo(
            model=str(metadata["name"]),
            version=str(metadata["versions"][0]),
            task=str(ours["task"]),
            labels=tuple(map(str, ours["labels"])),
            output=str(ours["output"]),
            shape=tuple(map(int, ours["shape"])),
            resize=(str(resize["method"]), str(resize["fit"])) if resize else None,
            inputs=tuple(TensorSpec(each["name"], each["datatype"], tuple(each["shape"])) for each in metadata["inputs"]),
            own=outputs == [ours["output"], "label"],
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise Unavailable(
            f"model metadata: not of a node of this version: {error!r}",
            hint="is it littoral-node, and as new as this one?",
        ) from error
