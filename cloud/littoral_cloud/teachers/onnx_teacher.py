"""A teacher in an ONNX file, from wherever: run by onnxruntime on the CPU, with nothing but what is in the file.

It is opened as every model from elsewhere is (cloud/littoral_cloud/foreign/opened.py): in a process of its own, with limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from littoral.digest import digest_of
from littoral.errors import BadInput, RuntimeFailure
from littoral.preparation import Input
from littoral.tensor_spec import FREE, TensorSpec
from littoral_cloud.data.dataset import Dataset, Inputs
from littoral_cloud.foreign.opened import ForeignModel, open_model
from littoral_cloud.foreign.running import filled_up
from littoral_cloud.recipes.recipe import Gives, OnnxRecipe
from littoral_cloud.teachers.checks import checked
from littoral_cloud.training.schedule import Logits

_AT_ONCE = 256  # images; a dynamic batch
_TYPES: Mapping[str, Any] = {"FP32": np.float32, "FP16": np.float16, "FP64": np.float64, "UINT8": np.uint8}


@dataclass(frozen=True, slots=True, eq=False)
class OnnxTeacher:
    name: str
    digest: str
    parameters: int
    model: ForeignModel
    given: Input
    output: str
    classes: int
    gives: Gives = "logits"
    seconds: float = 0.0

    @classmethod
    def load(cls, recipe: OnnxRecipe, dataset: Dataset, given: Input) -> OnnxTeacher:
        """Opens it, holds its input and output against the data set, and tries it on two examples.

        Raises:
            What open_model raises. BadInput: another shape than the data set's; the message names both. RuntimeFailure:
            onnxruntime cannot run it.
        """
        path = Path(recipe.onnx)
        model = open_model(path, what="teacher.onnx", threads=recipe.threads)
        try:
            output = _output(model, recipe.output, dataset.classes)
            _check_input(model, dataset)
            settings = {**recipe.resolved(), "onnx": "", "threads": 0}
            usual = settings == {**OnnxRecipe("").resolved(), "onnx": "", "threads": 0}
            file = _digest_of_file(path, model)
            digest = file if usual else digest_of(f"{file} {sorted(settings.items())}".encode())
            teacher = cls(path.stem, digest, model.parameters, model, given, output, dataset.classes, recipe.gives)
            teacher.logits(dataset.train_x[:2])
        except BaseException:
            model.close()
            raise
        return teacher

    def logits(self, x: Inputs) -> Logits:
        [entry] = self.model.inputs
        kind = _TYPES[entry.datatype]
        batch = entry.shape[0] if entry.shape[0] > 0 else _AT_ONCE
        parts = []
        for start in range(0, len(x), batch):
            count = len(x[start : start + batch])
            raw = filled_up(x[start : start + batch], entry.shape[0])
            prepared = raw if kind is np.uint8 else self.given.prepare(raw).astype(kind)
            try:
                answered = self.model.run({entry.name: prepared}, (self.output,))[self.output]
            except RuntimeFailure as error:
                raise RuntimeFailure(f"teacher.onnx: {self.name} cannot be run: {error.message}", hint=error.hint) from error
            parts.append(checked(answered[:count], count, self.classes, self.gives, f"teacher.onnx: {self.name}"))
        return np.concatenate(parts)


def _digest_of_file(path: Path, model: ForeignModel) -> str:
    """Of the file as it lies where it holds everything, so that what was taught by it before keeps its name."""
    data = path.read_bytes()
    return digest_of(data if len(data) >= len(model.data) else model.data)


def _check_input(model: ForeignModel, dataset: Dataset) -> None:
    path = model.path
    if len(model.inputs) != 1:
        named = ", ".join(entry.name for entry in model.inputs)
        raise BadInput(f"teacher.onnx: {path} has {len(model.inputs)} inputs ({named})", hint="one is wanted, for the images")
    [entry] = model.inputs
    if entry.datatype not in _TYPES:
        raise BadInput(f"teacher.onnx: {path} takes {entry.datatype}", hint=f"one of {', '.join(_TYPES)} is wanted")
    wanted = dataset.shape
    if entry.fits((entry.shape[0] if entry.shape else 0, *wanted)):
        return
    last = (*wanted[1:], wanted[0])
    turned = len(wanted) == 3 and wanted[0] != wanted[1] and entry.shape[1:] == last
    named = "(batch, channels, height, width)" if dataset.kind == "images" else f"(batch, {', '.join(map(str, wanted))})"
    raise BadInput(
        f"teacher.onnx: {path} takes {entry.sizes}, the {dataset.kind} of {dataset.name} are {list(wanted)}",
        hint="its channels come last: transpose them in a function teacher"
        if turned
        else f"{named} is wanted; bring the data to its shape in a function teacher",
    )


def _output(model: ForeignModel, wanted: str, classes: int) -> str:
    entries, path = {entry.name: entry for entry in model.outputs}, model.path
    if wanted and wanted not in entries:
        raise BadInput(f"teacher.output: {path} has no {wanted!r}", hint=f"it has {', '.join(entries)}")
    if not wanted and len(entries) != 1:
        raise BadInput(f"teacher.onnx: {path} has {len(entries)} outputs", hint=f"set output to one of {', '.join(entries)}")
    entry: TensorSpec = entries[wanted] if wanted else next(iter(entries.values()))
    if entry.shape and (len(entry.shape) != 2 or entry.shape[1] not in (FREE, classes)):
        raise BadInput(
            f"teacher.onnx: {path} gives {entry.name} of shape {entry.sizes}, the data set has {classes} classes",
            hint=f"(batch, {classes}) is wanted: a logit for each class",
        )
    return entry.name
