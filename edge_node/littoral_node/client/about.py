"""What a model takes and gives, as its manifest says it: by a node's metadata, or by a manifest at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from littoral.errors import Unavailable
from littoral.signature import TensorSpec


@dataclass(frozen=True, slots=True)
class About:
    """One served model. `shape` leaves the batch out; `resize` is (method, fit), None: sizes must be the model's own.

    `own`: one of our networks, whose pixels are sent as they are; False: it was imported, and takes its file's own tensors.
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


def about_from(metadata: Mapping[str, Any]) -> About:
    """From the protocol's model metadata as serving.tensors gives it. Raises Unavailable where it is another server's."""
    try:
        ours = metadata["parameters"]
        resize = ours["resize"]
        outputs = [output["name"] for output in metadata["outputs"]]
        return About(
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
            f"model metadata: is not what a node of this version says: {error!r}",
            hint="is it littoral-node, and as new as this one?",
        ) from error
