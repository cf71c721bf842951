"""What an imported model is measured on and calibrated with: inputs by the names that its file gives them, and what is right.

An .npz file holds an array for each input under the input's own name, or `x` where there is one input, and `y` (more of them:
`y_...`), examples first in each. Every fifth example measures and the rest calibrates, or they come in two parts, NAME_train and
NAME_test. An input that is itself called `y` or `labels`, or as another array is, comes as `input_NAME`. For a classifier of
images any folder that `--data` takes elsewhere will do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from littoral.digest import PREFIX
from littoral.errors import BadData, BadInput
from littoral.signature import DATATYPES
from littoral.tensor_spec import FREE, TensorSpec
from littoral_cloud.data.dataset import TEST_EVERY, split_every
from littoral_cloud.data.npz import read_arrays
from littoral_cloud.data.sources import load_dataset
from littoral_cloud.foreign.served import with_ranks

Array = npt.NDArray[Any]
Prepare = Literal["raw", "unit", ""]
INPUT = "input_"
"""Before the name of an input, in an .npz file where that name alone would mean something else."""


@dataclass(frozen=True, slots=True)
class ByteScaling:
    """How bytes become the floats that a model takes: as they are ("raw"), over 255 ("unit"), or then less a mean and over a
    deviation, one for each channel. Left empty, bytes for a model of floats are refused: its training cannot be guessed."""

    scale: Prepare = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.scale not in ("raw", "unit", ""):
            raise BadInput(f"--prepare: {self.scale!r} is not known", hint="raw or unit")
        if len(self.mean) != len(self.std) or any(value <= 0 for value in self.std):
            raise BadInput(f"--mean {list(self.mean)}, --std {list(self.std)}", hint="as many of each, and each std over 0")

    @property
    def given(self) -> bool:
        return bool(self.scale or self.mean)

    def of(self, x: Array, axis: int) -> npt.NDArray[np.float32]:
        """`axis`: of the channels."""
        scaled = x.astype(np.float32) / np.float32(255 if self.scale == "unit" or (self.mean and not self.scale) else 1)
        if not self.mean:
            return scaled
        wide = [1] * x.ndim
        wide[axis] = -1
        if len(self.mean) not in (1, x.shape[axis]):
            raise BadInput(f"--mean: holds {len(self.mean)} values, the images have {x.shape[axis]} channels")
        shape = wide if len(self.mean) > 1 else [1] * x.ndim
        mean, std = (np.asarray(values, np.float32).reshape(shape) for values in (self.mean, self.std))
        prepared: npt.NDArray[np.float32] = (scaled - mean) / std
        return prepared


AS_IT_IS = ByteScaling()


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """`inputs` and `targets` have as many examples each, along their first axis; inputs are of the types that the model takes."""

    inputs: Mapping[str, Array]
    targets: Mapping[str, Array]

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))


@dataclass(frozen=True, slots=True, eq=False)
class ImportData:
    name: str
    digest: str
    measuring: Samples
    calibrating: Samples
    labels: tuple[str, ...]  # empty: the data do not say
    inputs: tuple[TensorSpec, ...]  # of the model, all with a shape


def load_samples(
    path: Path, inputs: Sequence[TensorSpec], preparation: ByteScaling, unshaped: Collection[str] = ()
) -> ImportData:
    """`unshaped`: inputs of which the file does not say how many sizes they have: as many as the data's.

    Raises BadData or BadInput where data and model do not fit together; names the input, its shape and the data's.
    """
    if path.is_dir():
        return _of_folder(path, inputs, preparation, unshaped)
    arrays = read_arrays(path)
    split, places = _places(arrays, inputs, str(path))
    ends = ("_test", "_train") if split else ("",)
    ranks = {spec.name: arrays[place + ends[0]].ndim for spec, place in zip(inputs, places, strict=True)}
    inputs = with_ranks(inputs, unshaped, ranks)
    rest = {name: array for name, array in arrays.items() if name not in {place + end for place in places for end in ends}}
    labels = tuple(str(label) for label in rest.pop("labels", ()))
    targets = sorted(name for name in rest if name.removesuffix("_test").split("_")[0] == "y" and (not split or "_test" in name))
    found: dict[str, Samples] = {}
    for end in ends:
        given = {spec: arrays[place + end] for spec, place in zip(inputs, places, strict=True)}
        count = next((len(array) for array in (*given.values(), *rest.values()) if array.ndim), 1)
        taken = {
            spec.name: _fitted(
                np.repeat(array, count) if array.ndim == len(spec.shape) == 0 else array,  # one for all examples
                *(spec, preparation, f"{path}: {spec.name}{end}"),
            )
            for spec, array in given.items()
        }
        right = {name.removesuffix("_test"): rest[name] for name in targets if end != "_train"}
        found[end] = Samples(taken, right)
        _check_counts(found[end], str(path))
    if split:
        measuring, calibrating = found["_test"], found["_train"]
    else:
        measuring, calibrating = _halves(found[""])
    return ImportData(path.stem, _digest(arrays), measuring, calibrating, labels, tuple(inputs))


def _places(arrays: Mapping[str, Array], inputs: Sequence[TensorSpec], path: str) -> tuple[bool, list[str]]:
    """Whether the file holds NAME_train and NAME_test, and the NAME of each input in it. Raises BadData where one is missing."""
    names = {spec.name for spec in inputs}
    alias = ["x"] if len(inputs) == 1 else []
    named = [[*(p for p in (f"{INPUT}{spec.name}", *alias) if p not in names), spec.name] for spec in inputs]
    parts = [next((p for p in places if f"{p}_test" in arrays and f"{p}_train" in arrays), "") for places in named]
    if all(parts):
        return True, parts
    whole = [next((place for place in places if place in arrays), "") for places in named]
    if all(whole):
        return False, whole
    split = any(f"{place}{end}" in arrays for places in named for place in places for end in ("_train", "_test"))
    missing = next(spec.name for spec, place in zip(inputs, parts if split else whole, strict=True) if not place)
    ends = [end for end in ("_train", "_test") if f"{missing}{end}" not in arrays] if split else [""]
    present = ", ".join(sorted(arrays)) or "nothing"
    raise BadData(f"{path}: holds {present}, and no {missing}{ends[0]}", hint=_layout(inputs))


def _of_folder(path: Path, inputs: Sequence[TensorSpec], preparation: ByteScaling, unshaped: Collection[str]) -> ImportData:
    dataset = load_dataset(path)
    if len(inputs) != 1:
        named = ", ".join(spec.name for spec in inputs)
        raise BadInput(f"data: {path} holds images, the model takes {len(inputs)} inputs ({named})", hint=_layout(inputs))
    [spec] = with_ranks(inputs, unshaped, {inputs[0].name: dataset.train_x.ndim})
    train, test = (
        {spec.name: _fitted(x, spec, preparation, f"{path}: {spec.name}", turn=True)} for x in (dataset.train_x, dataset.test_x)
    )
    measuring, calibrating = Samples(test, {"y": dataset.test_y}), Samples(train, {})
    return ImportData(dataset.name, dataset.digest, measuring, calibrating, dataset.labels, (spec,))


def _fitted(array: Array, spec: TensorSpec, preparation: ByteScaling, what: str, *, turn: bool = False) -> Array:
    """As the model takes it. `turn`: images may have their channels put last for it."""
    if array.dtype.kind not in "biuf" or array.ndim == 0 or len(array) == 0:  # no value in an example is another matter
        raise BadData(f"{what}: is {array.dtype} of shape {array.shape}", hint="give numbers, examples first")
    axis = 1
    if turn and array.ndim == 4 and not _takes(spec, array.shape):
        turned = np.ascontiguousarray(array.transpose(0, 2, 3, 1))
        array, axis = (turned, 3) if _takes(spec, turned.shape) else (array, 1)
    if not _takes(spec, array.shape):
        guess = "; this is a table, and the model is for images" if array.ndim == 2 and len(spec.shape) == 4 else ""
        raise BadInput(
            f"{what}: has shape {list(array.shape)}, the model takes {spec.datatype} {spec.sizes}",
            hint=f"bring the data to that shape, examples first{guess}",
        )
    kind = DATATYPES[spec.datatype]
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        place = [int(at) for at in np.argwhere(~np.isfinite(array))[0]]
        raise BadData(f"{what}: holds {array[tuple(place)]} at {place}", hint="fill it or leave that example out; counted from 0")
    if kind.kind == "f" and array.dtype == np.uint8:
        if not preparation.given:
            raise BadInput(
                f"{what}: holds bytes, the model takes {spec.datatype}",
                hint="say what it learnt from: --prepare unit or raw, or --mean and --std",
            )
        channels = axis if array.ndim != 4 or axis == 3 or array.shape[1] <= 4 or array.shape[3] > 4 else 3
        return preparation.of(array, channels if array.ndim > 1 else 0).astype(kind)
    limits = np.iinfo(kind) if kind.kind in "iu" else None
    if limits and (array.dtype.kind == "f" or (array.size and (array.min() < limits.min or array.max() > limits.max))):
        raise BadInput(f"{what}: holds {array.dtype} that {spec.datatype} cannot", hint=f"store it as {kind}")
    with np.errstate(over="ignore"):
        made = np.ascontiguousarray(array, kind)
    if made.dtype.kind == "f" and not np.isfinite(made).all():
        raise BadData(f"{what}: holds values too large for {spec.datatype}")
    return made


def _takes(spec: TensorSpec, shape: tuple[int, ...]) -> bool:
    """Examples first: of a tensor with a batch in its place, of one without in front of it."""
    if len(shape) == len(spec.shape):
        return spec.fits((spec.shape[0] if spec.shape else 0, *shape[1:]))
    return len(shape) == len(spec.shape) + 1 and spec.fits(shape[1:])


def _check_counts(samples: Samples, path: str) -> None:
    counts = {name: len(array) if array.ndim else 0 for name, array in (*samples.inputs.items(), *samples.targets.items())}
    if len(set(counts.values())) > 1:
        sizes = ", ".join(f"{count} in {name}" for name, count in counts.items())
        raise BadData(f"{path}: has {sizes}", hint="as many examples in each array, in one order")


def _halves(samples: Samples) -> tuple[Samples, Samples]:
    y = samples.targets.get("y")
    if y is not None and y.ndim == 1 and y.dtype.kind in "iuU":
        test = split_every(y, TEST_EVERY)
    else:
        test = np.arange(len(samples)) % TEST_EVERY == TEST_EVERY - 1
    if not test.any():
        test[-1:] = True

    def part(where: Array) -> Samples:
        return Samples({k: v[where] for k, v in samples.inputs.items()}, {k: v[where] for k, v in samples.targets.items()})

    return part(test), part(~test)


def _layout(inputs: Sequence[TensorSpec]) -> str:
    own = (f"{INPUT}{spec.name}" if spec.name in ("y", "labels") else spec.name for spec in inputs)
    names = "x" if len(inputs) == 1 else ", ".join(own)
    return f"an .npz file with {names} and y, examples first: docs/import.md"


def _digest(arrays: Mapping[str, Array]) -> str:
    hashed = hashlib.sha256(b"import\0")
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        little = array.astype(array.dtype.newbyteorder("<"))
        hashed.update(repr((name, little.dtype.str, little.shape)).encode() + little.tobytes())
    return PREFIX + hashed.hexdigest()


def chosen_sizes(specs: Sequence[TensorSpec], sizes: Mapping[str, tuple[int, ...]]) -> Mapping[str, tuple[int, ...]]:
    """A shape for each input where there are no data: what is free but the batch must be given.

    Raises BadInput, naming the input.
    """
    made = {}
    for spec in specs:
        if (given := sizes.get(spec.name)) is not None:
            if not spec.fits(given) or any(size < 0 for size in given):
                raise BadInput(f"--size: {spec.name}={','.join(map(str, given))}, the model takes {spec.sizes}")
            made[spec.name] = given
        elif FREE in spec.shape[1:]:
            raise BadInput(
                f"input {spec.name}: takes {spec.sizes}, and nothing says which sizes to try it with",
                hint=f"give --data, or --size {spec.name}=1,...",
            )
        else:
            made[spec.name] = tuple(2 if size == FREE else size for size in spec.shape)
    if unknown := sorted(set(sizes) - {spec.name for spec in specs}):
        raise BadInput(f"--size: the model has no input {unknown[0]!r}", hint=f"it has {', '.join(s.name for s in specs)}")
    return made
