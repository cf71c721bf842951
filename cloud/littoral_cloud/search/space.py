"""The search space: paths into a student's table, and the values that each may have.

    [search.space]
    width = { low = 0.5, high = 1.5 }
    architecture = { choices = ["compact_cnn", "mobilenet_v1"] }
    "channels.ratio" = { low = 0.1, high = 0.6, step = 0.1 }

A path is a key of [[student]], the kind of a method and one of its keys, or `width` or `resolution`. A student or architecture
without such a key ignores the value, so students of different kinds share one space.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from typing import Any, get_type_hints

from littoral import decoder, type_words
from littoral.architectures import REGISTRY, parameters_of_build, small_spec
from littoral.errors import BadInput
from littoral_cloud.compression.methods import METHODS, method_class
from littoral_cloud.recipes.recipe import StudentRecipe

WIDTH, RESOLUTION, STUDENT, ARCHITECTURE = "width", "resolution", "student", "architecture"
START = "start"
"""The path of a first trial, whose values are not drawn: the name of the student that the search begins with."""
_NOT_SEARCHED = ("name", "methods", "variants", "threads")
_WIDE: Mapping[str, tuple[str, ...]] = {
    "compact_cnn": ("widths",),
    "depthwise_1d": ("stem", "widths", "last"),
    "lenet5": ("maps", "hidden"),
    "lenet_300_100": ("hidden",),
    "perceptron": ("widths",),
    "recurrent_cnn": ("maps",),
    "residual": ("widths",),
    "squeezenet": ("stem", "expands"),
}
"""The keys that `width` multiplies, in architectures without a `multiplier`."""


@dataclass(frozen=True, slots=True)
class Choices:
    """One of several values, of any type that TOML has."""

    options: tuple[Any, ...]

    def ends(self) -> Sequence[Any]:
        return self.options


@dataclass(frozen=True, slots=True)
class Range:
    """A number between two others, both included; whole numbers where `low` and `high` are."""

    low: float
    high: float
    log: bool = False  # evenly over the orders of magnitude
    step: float | None = None

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int) and isinstance(self.step, int | None)

    def ends(self) -> Sequence[Any]:
        return (self.low, self.high)


Dimension = Choices | Range
Params = Mapping[str, Any]
"""One value for each path."""


def space_from(table: Mapping[str, Any], at: str) -> dict[str, Dimension]:
    """The dimensions of a [search.space] table by path. Raises BadInput for an impossible one, naming the path."""
    found = {path: _dimension(entry, f"{at}.{path}") for path, entry in _leaves(table, at)}
    if not found:
        raise BadInput(f"{at}: is empty", hint="name at least one key that may differ, for example width")
    return found


def _leaves(table: Mapping[str, Any], at: str, before: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(path, table) for each dimension: TOML reads a path without quotation marks as tables in tables."""
    for key, value in table.items():
        path = f"{before}{key}"
        if not isinstance(value, Mapping):
            raise BadInput(
                f"{at}.{path}: {value!r}",
                hint="write { choices = [...] } or { low = ..., high = ... }, or leave it to the student",
            )
        if not value or {"choices", "low", "high"} & set(value):
            yield path, value
        else:
            yield from _leaves(value, at, f"{path}.")


def _dimension(table: Mapping[str, Any], at: str) -> Dimension:
    if "choices" in table:
        decoder.refuse_unknown(table, ("choices",), at)
        options = table["choices"]
        if not isinstance(options, list) or len(options) < 1:
            raise BadInput(f"{at}.choices: {options!r}", hint="a list of one value or more")
        texts = [text_of(option) for option in options]
        if twice := [text for text in texts if texts.count(text) > 1]:
            raise BadInput(f"{at}.choices: {twice[0]} is there twice", hint="name each value once")
        return Choices(tuple(options))
    decoder.refuse_unknown(table, ("choices", "low", "high", "log", "step"), at)
    decoder.decode(Range, table, at)
    found = Range(table["low"], table["high"], table.get("log", False), table.get("step"))
    if found.low >= found.high:
        raise BadInput(f"{at}: from {found.low} to {found.high} lies nothing", hint="low must be under high")
    if found.log and found.low <= 0:
        raise BadInput(f"{at}: log with low = {found.low}", hint="a logarithm wants low over 0")
    if found.step is not None and (found.log or not 0 < found.step <= found.high - found.low):
        raise BadInput(f"{at}: step = {found.step}", hint="over 0, at most high - low, and not together with log")
    return found


def text_of(value: Any) -> str:
    """A choice as JSON text, for the journal. Raises BadInput."""
    try:
        return json.dumps(value, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise BadInput(f"choices: {value!r} is not a number, a text, true, false, a list or a table") from error


def known_paths(students: Sequence[Mapping[str, Any]]) -> list[str]:
    """All paths that these students may have in their space."""
    paths = [WIDTH, RESOLUTION]
    for name, kind in get_type_hints(StudentRecipe).items():
        if name not in _NOT_SEARCHED:
            paths += [name, *_inside(name, kind)]
    names = {str(_spec(student).get("name")) for student in students} | set(REGISTRY)
    paths += [f"{ARCHITECTURE}.{key}" for name in sorted(names & set(REGISTRY)) for key in parameters_of_build(name)]
    for kind in {str(method.get("kind")): None for student in students for method in student.get("method", [])}:
        if kind in METHODS:
            hints = get_type_hints(method_class(kind))
            for field in decoder.settable(method_class(kind)):
                paths += [f"{kind}.{field.name}", *_inside(f"{kind}.{field.name}", hints[field.name])]
    return list(dict.fromkeys(paths))


def _inside(path: str, kind: Any) -> list[str]:
    """The paths inside a field that is or may be a table of known keys."""
    for option in (kind, *getattr(kind, "__args__", ())):
        if is_dataclass(option):
            hints = get_type_hints(option)
            found = [(f"{path}.{field.name}", hints[field.name]) for field in decoder.settable(option)]
            return [name for inner, hint in found for name in (inner, *_inside(inner, hint))]
    return []


def check_paths(space: Mapping[str, Dimension], students: Sequence[Mapping[str, Any]], at: str) -> None:
    """Raises BadInput for the first path that no student has, with the nearest known one."""
    known = known_paths(students)
    for path in space:
        if path not in known and not path.startswith("saliency.keep"):
            near = type_words.nearest(path, known)
            kinds = ", ".join(sorted({str(m.get("kind")) for s in students for m in s.get("method", [])})) or "none"
            raise BadInput(
                f"{at}.{path}: is not known",
                hint=f"{near}a key of [[student]], width, resolution, or KIND.KEY of one of its methods ({kinds})",
            )


def resolved(student: Mapping[str, Any], params: Params) -> dict[str, Any]:
    """The student's table with the values of a trial; it ignores those that do not apply."""
    table = copy.deepcopy(dict(student))
    # The architecture before its parameters, the multipliers last.
    rank = {ARCHITECTURE: 0, WIDTH: 2, RESOLUTION: 2}
    for path in sorted((p for p in params if p != STUDENT), key=lambda p: (rank.get(p, 1), p)):
        _put(table, path, params[path])
    return table


def _put(table: dict[str, Any], path: str, value: Any) -> None:
    first, _, rest = path.partition(".")
    if path == ARCHITECTURE:
        table[ARCHITECTURE] = small_spec(value) if isinstance(value, str) else copy.deepcopy(value)
    elif path in (WIDTH, RESOLUTION) or first == ARCHITECTURE:
        spec = _spec(table)
        table[ARCHITECTURE] = spec
        if path == WIDTH:
            _widen(spec, value)
        elif (key := RESOLUTION if path == RESOLUTION else rest) in parameters_of_build(str(spec.get("name"))):
            spec[key] = copy.deepcopy(value)
    elif rest and (method := next((m for m in table.get("method", []) if m.get("kind") == first), None)) is not None:
        _set(method, rest.split("."), value)
    elif not rest or first not in METHODS:
        _set(table, path.split("."), value)


def _set(table: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    for key in keys[:-1]:
        table = table.setdefault(key, {})
    table[keys[-1]] = copy.deepcopy(value)


def _spec(student: Mapping[str, Any]) -> dict[str, Any]:
    spec = student.get(ARCHITECTURE, {})
    return dict(spec) if isinstance(spec, Mapping) else {}


def _widen(spec: dict[str, Any], by: float) -> None:
    """Multiplies the channels of an architecture, each at least 1."""
    name = str(spec.get("name"))
    if isinstance(by, bool) or not isinstance(by, int | float) or not (math.isfinite(by) and by > 0):
        raise BadInput(f"{WIDTH}: {by!r}", hint="a number over 0, by which the channels are multiplied")
    known = parameters_of_build(name)
    if "multiplier" in known:
        spec["multiplier"] = round(spec.get("multiplier", known["multiplier"]) * by, 4)
        return
    for key in _WIDE.get(name, ()):
        wide = spec.get(key, known[key])
        spec[key] = [_times(each, by) for each in wide] if isinstance(wide, list | tuple) else _times(wide, by)


def _times(channels: Any, by: float) -> int:
    return max(1, round(float(channels) * by))
