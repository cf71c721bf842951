"""One type for every labelled data set, of any source: images, tables or time series.

What it is can be seen from its arrays, and nothing else says it: whole numbers of three or four dimensions are images, two
dimensions are a table, floats of three dimensions are series. docs/data.md has every layout with an example.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from littoral.digest import PREFIX
from littoral.errors import BadData, BadInput
from littoral.preparation import Resize
from littoral_cloud.data.labels import Labels, indices, labels_from

Images = npt.NDArray[np.uint8]
Inputs = npt.NDArray[Any]  # uint8 images, or float32 of a table or of series
Kind = Literal["images", "table", "series"]

TEST_EVERY = 5
"""Where a source has no test split of its own: of each class, in the source's order, every fifth example is a test example."""


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Labelled inputs: x as Dataset has them, y (n,) int64, indices into the data set's labels."""

    x: Inputs
    y: Labels

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """A labelled data set with a train and a test split.

    `train_x` and `test_x` are images, uint8 (n, C, H, W), a table, float32 (n, features), or series, float32 (n, channels,
    steps); `train_y` and `test_y` are int64 (n,), indices into `labels`. `digest` names the content of all four arrays and the
    labels, so equal digests mean equal data, however it was stored.
    """

    name: str
    train_x: Inputs
    train_y: Labels
    test_x: Inputs
    test_y: Labels
    labels: tuple[str, ...]
    digest: str
    resize: Resize | None = None  # how images were brought to their size; a node does the same with what its clients send
    notes: tuple[str, ...] = ()  # what a person who trains on it should know
    reading: tuple[str, ...] = ()  # how its source was read, and what of it was left out; for people, and no part of its content

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example: (channels, height, width), (features,) or (channels, steps)."""
        return self.train_x.shape[1:]

    @property
    def kind(self) -> Kind:
        return kind_of(self.shape)

    @property
    def classes(self) -> int:
        return len(self.labels)

    @property
    def train(self) -> Examples:
        return Examples(self.train_x, self.train_y)

    @property
    def test(self) -> Examples:
        return Examples(self.test_x, self.test_y)

    def hold_back(self, count: int) -> tuple[Dataset, Examples]:
        """Takes the last `count` training examples away, in the order of the source.

        Returns:
            The data set without them (with a digest of its own), and the examples that were taken away.

        Raises:
            BadInput: `count` is negative, or leaves a class without a training example.
        """
        if not 0 <= count < len(self.train_y):
            raise BadInput(
                f"hold back: {count} of {len(self.train_y)} training examples of {self.name}",
                hint="hold back fewer than there are",
            )
        if count == 0:
            return self, Examples(self.train_x[:0], self.train_y[:0])
        rest = self._again(self.name, self.train_x[:-count], self.train_y[:-count], self.test_x, self.test_y)
        return rest, Examples(self.train_x[-count:], self.train_y[-count:])

    def without(self, out: npt.NDArray[np.bool_]) -> Dataset:
        """The data set without some of its training examples, True where one goes. Raises BadData where a class has none left."""
        return self._again(self.name, self.train_x[~out], self.train_y[~out], self.test_x, self.test_y)

    def first(self, train: int, test: int) -> Dataset:
        """The first examples of each split: a smaller set to try a recipe on."""
        return self._again(self.name, self.train_x[:train], self.train_y[:train], self.test_x[:test], self.test_y[:test])

    def for_validation(self, count: int) -> Dataset:
        """The last `count` training examples take the place of the test split: what choices are made on."""
        rest, held = self.hold_back(count)
        return self._again(f"{self.name}-validation", rest.train_x, rest.train_y, held.x, held.y)

    def judged_on_every(self, every: int) -> tuple[Dataset, Dataset]:
        """Of each class every `every`-th training example is held out, in the order of the source.

        Returns:
            The data set without them, and the same with them in the place of the test split.

        Raises:
            BadData: a class has too few training examples for both.
        """
        out = split_every(self.train_y, every)
        x, y = self.train_x[~out], self.train_y[~out]
        rest = self._again(self.name, x, y, self.test_x, self.test_y)
        return rest, self._again(f"{self.name}-held-out", x, y, self.train_x[out], self.train_y[out])

    def _again(self, name: str, train_x: Inputs, train_y: Labels, test_x: Inputs, test_y: Labels) -> Dataset:
        """Other examples of the same."""
        made = assemble(name, train_x, train_y, test_x, test_y, labels=self.labels)
        return replace(made, resize=self.resize, notes=self.notes, reading=self.reading)


def kind_of(shape: tuple[int, ...]) -> Kind:
    """What an example of this shape is."""
    kinds: dict[int, Kind] = {1: "table", 2: "series"}
    return kinds.get(len(shape), "images")


def assemble(
    name: str,
    train_x: npt.NDArray[Any],
    train_y: npt.NDArray[Any],
    test_x: npt.NDArray[Any],
    test_y: npt.NDArray[Any],
    *,
    labels: Sequence[str] | None = None,
) -> Dataset:
    """Checks four arrays and makes a Dataset of them.

    Args:
        name: what messages call it; usually the file or folder.
        train_x, test_x: images, (n, H, W) or (n, C, H, W) of whole numbers from 0 to 255; a table, (n, features) of any
            numbers; or series, (n, channels, steps) of floats.
        train_y, test_y: (n,), see labels_from. With `labels`, indices into it; without, the sorted different values become the
            labels.
        labels: the classes' names, in order.

    Raises:
        BadData: counts or shapes do not match, values are out of range or not finite, a split is empty, there are fewer than
            two classes, two have one name, or a class has no example in one of the splits.
    """
    train_x, test_x = inputs_from(f"{name}: training", train_x), inputs_from(f"{name}: test", test_x)
    kind, other = kind_of(train_x.shape[1:]), kind_of(test_x.shape[1:])
    if train_x.shape[1:] != test_x.shape[1:]:
        raise BadData(
            f"{name}: training {kind} are {_size(train_x)}, test {other} {_size(test_x)}",
            hint="both splits need one shape of an example, and one kind of number",
        )
    train_y, test_y = labels_from(f"{name}: training", train_y), labels_from(f"{name}: test", test_y)
    for split, x, y in (("training", train_x, train_y), ("test", test_x, test_y)):
        if len(x) != len(y):
            many = "images" if kind == "images" else "examples"
            raise BadData(f"{name}: {len(x)} {split} {many} but {len(y)} {split} labels", hint="one label for each, in one order")
        if len(x) == 0:
            raise BadData(
                f"{name}: the {split} split is empty", hint="a data set needs examples to learn from and to be measured on"
            )
    train_y, test_y, names = indices(name, train_y, test_y, labels)
    return Dataset(name, train_x, train_y, test_x, test_y, names, _digest(train_x, train_y, test_x, test_y, names))


def split_every(y: npt.NDArray[Any], every: int = TEST_EVERY) -> npt.NDArray[np.bool_]:
    """True where an example belongs to the test split: of each class, in order, every `every`-th (and the last of a class
    that has fewer), so that every class with two examples is in both splits."""
    y = np.asarray(y)
    test = np.zeros(len(y), dtype=bool)
    for value in np.unique(y):
        places = np.flatnonzero(y == value)
        test[places[every - 1 :: every] if len(places) >= every else places[-1:]] = True
    return test


def inputs_from(what: str, x: npt.NDArray[Any]) -> Inputs:
    """Images as uint8 (n, C, H, W), a table as float32 (n, features), series as float32 (n, channels, steps).

    Args:
        what: whose they are, for messages: "NAME: training".

    Raises:
        BadData: the shape is none of these, or a value is out of range or not finite; names the first one's place.
    """
    x = np.asarray(x)
    if x.dtype.kind not in "iubf":
        raise BadData(f"{what}: values are {x.dtype}", hint="numbers are wanted; text columns become numbers first")
    if x.ndim == 2 or (x.ndim == 3 and x.dtype.kind == "f"):
        return _measured(what, x)
    return _images(f"{what} images", x)


def _measured(what: str, x: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """A table or series."""
    if 0 in x.shape[1:]:
        raise BadData(f"{what} inputs: shape is {x.shape}", hint="it must be (n, features), or (n, channels, steps)")
    with np.errstate(over="ignore"):  # what is too large for float32 becomes infinite, and is refused
        values = np.ascontiguousarray(x, dtype=np.float32)
    if not (finite := np.isfinite(values)).all():
        row, column, *step = (int(at) for at in np.argwhere(~finite)[0])
        where = f"channel {column}, step {step[0]}" if step else f"column {column}"
        raise BadData(
            f"{what} inputs: row {row}, {where} is {x[(row, column, *step)]}; {int((~finite).sum())} values are not finite",
            hint="fill them or leave those rows out; counted from 0, as float32",
        )
    return values


def _images(what: str, x: npt.NDArray[Any]) -> Images:
    if x.ndim == 3:
        x = x[:, None]
    if x.ndim != 4 or 0 in x.shape[1:]:
        raise BadData(
            f"{what}: shape is {x.shape}",
            hint="images: (n, height, width) or (n, channels, height, width); table: (n, features); series: (n, channels, steps)",
        )
    if x.shape[1] > 4 >= x.shape[3]:
        raise BadData(f"{what}: shape {x.shape} has its channels last", hint="transpose to (n, channels, height, width)")
    if x.dtype.kind not in "iub":
        raise BadData(
            f"{what}: values are {x.dtype}", hint="raw pixels are wanted, 0 to 255 as uint8: (x * 255).round().astype('uint8')"
        )
    if x.dtype != np.uint8 and x.size and (x.min() < 0 or x.max() > 255):
        raise BadData(f"{what}: values run from {x.min()} to {x.max()}", hint="raw pixels are wanted, 0 to 255 as uint8")
    return np.ascontiguousarray(x, dtype=np.uint8)


def _size(x: Inputs) -> str:
    return "x".join(str(d) for d in x.shape[1:])


def _digest(train_x: Inputs, train_y: Labels, test_x: Inputs, test_y: Labels, labels: tuple[str, ...]) -> str:
    kind = () if train_x.dtype == np.uint8 else ("<f4",)  # images were there first, and keep their digests
    hashed = hashlib.sha256(repr((train_x.shape, test_x.shape, labels, *kind)).encode())
    for array in (_little(train_x), train_y.astype("<i8"), _little(test_x), test_y.astype("<i8")):
        hashed.update(np.ascontiguousarray(array).data)
    return PREFIX + hashed.hexdigest()


def _little(x: Inputs) -> Inputs:
    return x if x.dtype == np.uint8 else x.astype("<f4")
