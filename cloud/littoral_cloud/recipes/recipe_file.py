"""A recipe in a TOML file: read strictly, so that a mistyped key is refused by name before anything is trained.

docs/recipes.md says how to write one. The recipes in cloud/littoral_cloud/recipes/builtin/ go by their names.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any, cast

from littoral import decoder, type_words
from littoral.errors import BadInput, NotFound
from littoral_cloud.compression.methods import METHODS, method_from
from littoral_cloud.recipes.recipe import (
    DEMO,
    TINY,
    AnyTeacherRecipe,
    EnsembleRecipe,
    FunctionRecipe,
    Member,
    OnnxRecipe,
    Production,
    SoloRecipe,
    StudentRecipe,
    TeacherRecipe,
    WeightsRecipe,
)

MOST_BYTES = 1 << 20
BUILT_IN: Mapping[str, Production] = {"demo": DEMO, "tiny": TINY}
SOURCES: Mapping[str, type[Any]] = {
    "architecture": TeacherRecipe,
    "onnx": OnnxRecipe,
    "weights": WeightsRecipe,
    "function": FunctionRecipe,
}
"""What kind of teacher a table describes, by the key that it holds."""

USUAL: Mapping[str, str] = {"images": "demo", "table": "table", "series": "series"}
"""The recipe for a data set of each kind where none is named."""

TOP = ("about", "model", "at_once", "teacher", "student")
SEARCH = "search"
"""The table that makes of a recipe the beginning of a search (cloud/littoral_cloud/search)."""
_ENSEMBLE = ("member", "combine", "temperature")


def names() -> list[str]:
    """Of the recipes that come with Littoral."""
    shipped = [entry.name.removesuffix(".toml") for entry in _shipped().iterdir() if entry.name.endswith(".toml")]
    return sorted({*shipped, *BUILT_IN})


def recipe_named(recipe: str, *, model: str | None = None) -> Production:
    """A recipe by its name, or from a TOML file by its path.

    Args:
        model: the name under which nodes serve the students; None: as the recipe says.

    Raises:
        NotFound: neither a name nor a file. BadInput: the file is not a recipe; names the file, the key and what is known.
    """
    if recipe in BUILT_IN:
        found = BUILT_IN[recipe]
        return replace(found, model=model) if model else found
    text, what, folder = text_of(recipe, _shipped(), names(), "recipe")
    return parse_recipe(text, what=what, model=model, folder=folder)


def text_of(recipe: str, shipped: Any, known: Sequence[str], kind: str) -> tuple[str, str, Path]:
    """A recipe's text by its name or path, what messages call it, and the folder where its relative paths begin.

    Args:
        shipped: the folder of those that go by a name, `known`.
        kind: for messages: "recipe" or "search".

    Raises what recipe_named raises.
    """
    path = Path(recipe)
    if path.suffix == ".toml" or "/" in recipe:
        return read_text(path, known), recipe, path.parent
    file = shipped / f"{recipe}.toml"
    if not file.is_file():
        raise NotFound(
            f"{kind}: {recipe!r} is not known",
            hint=f"{type_words.nearest(recipe, known)}a path to a .toml file, or one of {', '.join(known)}",
        )
    return file.read_text(encoding="utf-8"), f"{recipe}.toml", Path()


def about(recipe: str) -> str:
    """One sentence on a recipe that comes with Littoral."""
    if recipe in BUILT_IN:
        return {"demo": "three small students for MNIST in about a minute", "tiny": "one tiny student in seconds: a first look"}[
            recipe
        ]
    return str(tomllib.loads((_shipped() / f"{recipe}.toml").read_text(encoding="utf-8"))["about"])


def read_text(path: Path, known: Sequence[str]) -> str:
    """What is in a recipe's file; `known`: what goes by a name. Raises NotFound; BadInput where it is too large or unreadable."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BadInput(f"recipe: {path} holds {path.stat().st_size:,} bytes", hint=f"at most {MOST_BYTES:,}")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise NotFound(f"recipe: {path} does not exist", hint=f"give a .toml file, or one of {', '.join(known)}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"recipe: {path} cannot be read: {error}") from error


def parse_recipe(
    text: str,
    *,
    what: str,
    model: str | None = None,
    folder: Path = Path(),
    methods: Mapping[str, str] = METHODS,
) -> Production:
    """A recipe from TOML.

    Args:
        what: how messages call it.
        folder: where relative paths in it begin.
        methods: what a student.method may be, by kind.
    """
    body = toml_from(text, what)
    if SEARCH in body:
        raise BadInput(f"{what}: {SEARCH}: is for a search", hint=f"littoral-cloud compress {what}; or take [{SEARCH}] out")
    return recipe_from(body, what=what, model=model, folder=folder, methods=methods)


def toml_from(text: str, what: str) -> dict[str, Any]:
    """Raises BadInput where it is not TOML."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"{what}: is not TOML: {error}") from error


def recipe_from(
    body: Mapping[str, Any],
    *,
    what: str,
    model: str | None = None,
    folder: Path = Path(),
    methods: Mapping[str, str] = METHODS,
) -> Production:
    """A recipe from the values in a TOML file: see parse_recipe."""
    decoder.refuse_unknown(body, TOP, f"{what}: recipe")
    for key, kind in (("about", str), ("model", str), ("at_once", int), ("teacher", dict)):
        if key in body and (not isinstance(body[key], kind) or isinstance(body[key], bool)):
            raise BadInput(f"{what}: {key}: {body[key]!r}", hint=f"it must be {type_words.described(kind)}")
    named = model or body.get("model", "")
    if not named:
        raise BadInput(f"{what}: model: is missing", hint="give --model, or write it in the recipe")
    teacher = _teacher(body["teacher"], f"{what}: teacher", folder) if "teacher" in body else None
    students = tuple(_student(table, at, methods) for table, at in _tables(body, "student", f"{what}: student"))
    try:
        return Production(named, teacher, students, body.get("at_once", 2))
    except BadInput as error:
        raise BadInput(f"{what}: {error.message}", hint=error.hint) from error


def _student(table: Mapping[str, Any], at: str, methods: Mapping[str, str]) -> StudentRecipe:
    known = [field.name for field in decoder.settable(StudentRecipe) if field.name != "methods"]
    decoder.refuse_unknown(table, [*known, "method"], at)
    rest = {key: value for key, value in table.items() if key != "method"}
    plain = decoder.decode(StudentRecipe, rest, at, given={"methods": ()})
    entries = _tables(table, "method", f"{at}.method")
    made = tuple(method_from(e, where, student=table, registry=methods) for e, where in entries)
    try:
        return replace(plain, methods=made)
    except BadInput as error:
        raise BadInput(f"{at}: {error.message}", hint=error.hint) from error


def _teacher(table: Mapping[str, Any], at: str, folder: Path) -> AnyTeacherRecipe:
    if "member" not in table:
        return _solo(table, at, folder)
    decoder.refuse_unknown(table, _ENSEMBLE, at)
    members = []
    for entry, where in _tables(table, "member", f"{at}.member"):
        weight = {key: value for key, value in entry.items() if key == "weight"}
        solo = _solo({key: value for key, value in entry.items() if key != "weight"}, where, folder)
        members.append(decoder.decode(Member, weight, where, given={"teacher": solo}))
    shared = {key: value for key, value in table.items() if key != "member"}
    return decoder.decode(EnsembleRecipe, shared, at, given={"members": tuple(members)})


def _solo(table: Mapping[str, Any], at: str, folder: Path) -> SoloRecipe:
    sources = [key for key in SOURCES if key in table]
    if len(sources) != 1:
        named = " and ".join(sources) or f"none, but {', '.join(table) or 'nothing'}"
        unknown = next((close for key in table if (close := type_words.nearest(key, [*SOURCES, "member"]))), "")
        raise BadInput(f"{at}: holds {named}", hint=f"{unknown}exactly one of {', '.join(SOURCES)}, or member for an ensemble")
    found = decoder.decode(SOURCES[sources[0]], table, at)
    if isinstance(found, OnnxRecipe):
        return replace(found, onnx=str(folder / found.onnx))
    if isinstance(found, WeightsRecipe):
        return replace(found, weights=str(folder / found.weights))
    return cast(SoloRecipe, found)


def _tables(table: Mapping[str, Any], key: str, at: str) -> list[tuple[Mapping[str, Any], str]]:
    """The tables of an array of tables, each with what messages call it: its name where it has one, else its place."""
    found = table.get(key, [])
    if not isinstance(found, list) or not all(isinstance(entry, Mapping) for entry in found):
        raise BadInput(f"{at}: is {type_words.described(type(found))}", hint=f"write [[{at.rpartition(': ')[2]}]] once for each")
    return [(entry, f"{at}[{entry.get('name', place)}]") for place, entry in enumerate(found, 1)]


def _shipped() -> Any:
    return resources.files("littoral_cloud") / "recipes" / "builtin"
