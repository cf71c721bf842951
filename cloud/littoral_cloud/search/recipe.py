"""A recipe with a [search] table: the students to vary, what may differ between trials, and the settings of the search.

docs/search.md tells how to write one. The values of a trial make an ordinary recipe, which the ordinary factory carries out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from littoral import decoder
from littoral.digest import digest_of, hex_of
from littoral.errors import BadInput, FleetError
from littoral_cloud.data.dataset import Dataset
from littoral_cloud.factory.checks import check_recipe
from littoral_cloud.recipes.recipe import Production, StudentRecipe
from littoral_cloud.recipes.recipe_file import SEARCH, TOP, recipe_from, text_of, toml_from
from littoral_cloud.search.space import START, STUDENT, Choices, Dimension, Params, check_paths, resolved, space_from

Objective = Literal["accuracy", "bytes", "macs", "latency"]
DEFAULT = "small"
INT8 = "onnx-int8"
MOST_TRIALS = 10_000


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """The settings of a search: the keys of [search] besides its space."""

    trials: int = 40
    batch: int = 8  # trials whose values are drawn at once, from the outcomes of the batches before
    rungs: tuple[float, ...] = (0.25, 1.0)  # fractions of the epochs; after each but the last the better half goes on
    held_out: float = 0.1  # of the training examples of each class: they judge trials, and nothing trains on them
    seed: int = 1
    sampler: Literal["tpe", "random"] = "tpe"
    objectives: tuple[Objective, ...] = ("accuracy", "bytes", "macs", "latency")  # of the front
    steer: tuple[Objective, ...] = ("accuracy", "bytes", "macs")  # for drawing and halving: the same at each measurement
    patience: int = 2  # batches without a better student inside the budget, after which the search ends
    settle: int = 0  # batches that gain nothing, after which the search ends; 0: it makes all its trials
    gain: float = 0.01  # worth having: accuracy higher by this fraction, or a third fewer bytes or MACs

    def __post_init__(self) -> None:
        for name, most in (("trials", MOST_TRIALS), ("batch", 1000), ("patience", 1000)):
            if not 1 <= getattr(self, name) <= most:
                raise BadInput(f"{name}: {getattr(self, name)}", hint=f"1 to {most:,}")
        if not self.rungs or self.rungs[-1] != 1 or list(self.rungs) != sorted(set(self.rungs)) or self.rungs[0] <= 0:
            raise BadInput(f"rungs: {list(self.rungs)}", hint="rising fractions over 0, the last one 1, as in [0.25, 1.0]")
        if not 0 <= self.settle <= 1000 or not 0 <= self.gain < 1:
            raise BadInput(f"settle {self.settle}, gain {self.gain}", hint="settle from 0, gain a fraction")
        if not 0 < self.held_out <= 0.5:
            raise BadInput(f"held_out: {self.held_out}", hint="over 0, at most 0.5: a fraction of the training images")
        for name in ("objectives", "steer"):
            named = getattr(self, name)
            if "accuracy" not in named or len(named) < 2 or len(set(named)) != len(named):
                raise BadInput(f"{name}: {list(named)}", hint="accuracy and one or more of bytes, macs, latency, none twice")


@dataclass(frozen=True, slots=True)
class SearchRecipe:
    """What to search. Two with the same `digest` over the same data are one search."""

    what: str  # its name in messages
    body: Mapping[str, Any]  # of the TOML file, without [search]
    space: Mapping[str, Dimension]  # by path; `student` among them where there are several to begin from
    settings: SearchSettings
    folder: Path = Path()  # to which its relative paths refer
    start: Production | None = None  # the recipe of `train`, whose students are the first trials; see starting.py

    @property
    def starts(self) -> Mapping[str, tuple[StudentRecipe, str]]:
        """The students of the first trials, each in one variant, by the name of the artifact."""
        found = {}
        for student in self.start.students if self.start else ():
            variant = INT8 if INT8 in student.variants else student.variants[0]
            found[f"{student.name}-{variant}"] = (student, variant)
        return found

    @property
    def model(self) -> str:
        return str(self.body["model"])

    def digest(self, data: str, teacher: str = "") -> str:
        """A digest of all that decides the values of trials, but not their number.

        Args:
            data: the digest of the data set. teacher: the digest of a teacher from outside.
        """
        free = ("trials", "patience", "objectives", "settle", "gain")
        settings = {key: value for key, value in asdict(self.settings).items() if key not in free}
        space = {path: asdict(dimension) for path, dimension in self.space.items()}
        body = {key: value for key, value in self.body.items() if key not in ("about", "model", "at_once")}
        what = [body, space, settings, data, teacher, _teacher_files(self.body.get("teacher", {}), self.folder)]
        what += [self.start.resolved()] if self.start else []
        return digest_of(json.dumps(what, sort_keys=True).encode())

    def name(self, data: str, teacher: str = "") -> str:
        """A short digest, for folders and keys."""
        return hex_of(self.digest(data, teacher))[:16]

    def without_teacher(self) -> SearchRecipe:
        """For a teacher from outside: no manifest then names the recipe's."""
        return replace(self, body={key: value for key, value in self.body.items() if key != "teacher"})

    def production(self, params: Params, *, rung: int = -1, name: str | None = None) -> Production:
        """The recipe of one trial, with one student of one variant.

        Args:
            params: values by path; for a missing path, the student's own.
            rung: the fraction of the epochs; the last one is all of them.
            name: of the student; None: its own.

        Raises BadInput like a recipe that is written by hand.
        """
        if START in params:
            return self._starting(params[START], rung, name)
        table, variant = self._base(params)
        table = {**resolved(table, params), "variants": [variant]}
        if name is not None:
            table["name"] = name
        _shorten(table, self.settings.rungs[rung])
        body = {**self.body, "student": [table], "at_once": 1}
        return recipe_from(body, what=self.what, folder=self.folder)

    def _starting(self, start: str, rung: int, name: str | None) -> Production:
        student, variant = self.starts[start]
        student = replace(student, name=name or student.name, variants=(variant,))
        epochs = max(1, math.ceil(student.epochs * self.settings.rungs[rung]))
        whole = recipe_from({**self.body, "at_once": 1}, what=self.what, folder=self.folder)
        return replace(whole, students=(replace(student, epochs=epochs),))

    def same(self, params: Params) -> str:
        """Equal for values that make the same student; paths that do not apply to it may differ."""
        if START in params:
            return json.dumps(dict(params))
        table, variant = self._base(params)
        return json.dumps([resolved(table, params), variant], sort_keys=True)

    def _base(self, params: Params) -> tuple[Mapping[str, Any], str]:
        starts = _starts(self.body)
        return starts[params.get(STUDENT, next(iter(starts)))]

    def check(self, dataset: Dataset) -> None:
        """Checks the students, the ends of each range and each choice against the data. Raises BadInput, naming the path."""
        if self.start is not None:
            check_recipe(self.start, dataset)
        starts = list(_starts(self.body)) if STUDENT in self.space else [""]
        for start in starts:
            begin = {STUDENT: start} if start else {}
            check_recipe(self.production(begin), dataset)
            for path, dimension in self.space.items():
                for value in dimension.ends():
                    try:
                        check_recipe(self.production({**begin, path: value}), dataset)
                    except FleetError as error:
                        raise BadInput(
                            f"{self.what}: {SEARCH}.space.{path}: {value!r} does not go: {error.message}", hint=error.hint
                        ) from error


def names() -> list[str]:
    """The names of the searches that come with Littoral."""
    return sorted(entry.name.removesuffix(".toml") for entry in _shipped().iterdir())


def search_named(recipe: str | Path, *, model: str | None = None) -> SearchRecipe:
    """A search by its name, or from a TOML file by its path. Raises NotFound, BadInput as recipe_file.recipe_named."""
    text, what, folder = text_of(str(recipe), _shipped(), names(), "search")
    return search_from(toml_from(text, what), what=what, model=model, folder=folder)


def search_from(body: Mapping[str, Any], *, what: str, model: str | None = None, folder: Path = Path()) -> SearchRecipe:
    """A search from the values in a TOML file. Raises BadInput: names the file, the key, and the nearest one that is known."""
    table = body.get(SEARCH)
    if not isinstance(table, Mapping):
        raise BadInput(f"{what}: {SEARCH}: is missing", hint="add a [search.space], or use littoral-cloud train")
    rest = {key: value for key, value in body.items() if key != SEARCH}
    decoder.refuse_unknown(rest, (*TOP, SEARCH), f"{what}: recipe")
    rest = rest | ({"model": model} if model else {})
    recipe_from(rest, what=what, folder=folder)  # refuses all that is wrong with the students as they are written
    names = [field.name for field in decoder.settable(SearchSettings)]
    decoder.refuse_unknown(table, [*names, "space"], f"{what}: {SEARCH}")
    settings = decoder.decode(SearchSettings, {k: v for k, v in table.items() if k != "space"}, f"{what}: {SEARCH}")
    space = space_from(_table(table.get("space", {}), what), f"{what}: {SEARCH}.space")
    check_paths(space, rest["student"], f"{what}: {SEARCH}.space")
    starts = _starts(rest)
    if len(starts) > 1:
        space = {STUDENT: Choices(tuple(starts)), **space}
    return SearchRecipe(what, rest, space, settings, folder)


def with_trials(recipe: SearchRecipe, trials: int | None) -> SearchRecipe:
    """The same search with this number of trials; None: with its own. Raises BadInput."""
    return recipe if trials is None else replace(recipe, settings=replace(recipe.settings, trials=trials))


def _shipped() -> Any:
    return resources.files("littoral_cloud") / "recipes" / "builtin" / SEARCH


def _table(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise BadInput(f"{what}: {SEARCH}.space: {value!r}", hint=f"write [{SEARCH}.space] and a line for each key")
    return value


def _starts(body: Mapping[str, Any]) -> dict[str, tuple[Mapping[str, Any], str]]:
    """The students that trials vary: (table, variant) by the name of the artifact."""
    default: Sequence[str] = (INT8,)
    return {
        f"{table['name']}-{variant}": (table, variant) for table in body["student"] for variant in table.get("variants", default)
    }


def _teacher_files(teacher: Mapping[str, Any], folder: Path) -> list[str]:
    """Digests of the files of a teacher: another file of the same name is another teacher."""
    tables = [teacher, *teacher.get("member", [])]
    places = [folder / table[key] for table in tables for key in ("onnx", "weights") if key in table]
    return [digest_of(place.read_bytes()) for place in places if place.is_file()]


def _shorten(table: dict[str, Any], fraction: float) -> None:
    """Fewer epochs of the student and of its methods, at least one each."""
    for part in (table, *table.get("method", [])):
        if isinstance(part.get("epochs"), int) and part["epochs"] >= 1:  # else the recipe's own check refuses it
            part["epochs"] = max(1, math.ceil(part["epochs"] * fraction))
