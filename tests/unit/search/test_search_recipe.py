"""A recipe with a [search]: what it becomes, and every way in which it is refused."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from littoral.architectures import REGISTRY
from littoral.errors import BadData, BadInput, NotFound
from littoral_cloud.data.dataset import Dataset, assemble
from littoral_cloud.recipes.recipe_file import parse_recipe
from littoral_cloud.search import compress, search_from, search_named
from littoral_cloud.search.recipe import SearchRecipe
from littoral_cloud.search.space import Choices, resolved
from littoral_cloud.search.trial import SearchData
from tests.kit.images import bars
from tests.kit.search import body, tiny

TWO: dict[str, Any] = {
    "model": "bars",
    "student": [
        {
            "name": "code",
            "architecture": {"name": "compact_cnn", "widths": [4, 8]},
            "epochs": 4,
            "variants": ["onnx", "ncnn"],
            "method": [{"kind": "weight-sharing", "epochs": 3, "bits": 4}],
        },
        {
            "name": "cut",
            "architecture": {"name": "mobilenet_v1", "stem": 4, "widths": [8], "strides": [2]},
            "epochs": 4,
            "variants": ["onnx-int8"],
            "method": [{"kind": "channels", "epochs": 2, "ratio": 0.5}],
        },
    ],
}


def two(**space: Any) -> SearchRecipe:
    return search_from({**copy.deepcopy(TWO), "search": {"space": space}}, what="two.toml")


def test_several_students_and_variants_are_one_more_thing_that_may_differ() -> None:
    recipe = two(width={"low": 0.5, "high": 2.0})
    assert recipe.space["student"] == Choices(("code-onnx", "code-ncnn", "cut-onnx-int8"))
    [student] = recipe.production({"student": "code-ncnn", "width": 2.0}, name="code-7").students
    assert (student.name, student.variants) == ("code-7", ("ncnn",))
    assert student.architecture == {"name": "compact_cnn", "widths": [8, 16]}
    [student] = recipe.production({"student": "cut-onnx-int8", "width": 0.5}).students
    assert student.architecture["multiplier"] == 0.5


def test_what_a_student_does_not_have_is_passed_over() -> None:
    recipe = two(**{"weight-sharing.bits": {"low": 2, "high": 5}, "channels.ratio": {"low": 0.1, "high": 0.5}})
    values = {"weight-sharing.bits": 3, "channels.ratio": 0.25}
    [code] = recipe.production({"student": "code-onnx", **values}).students
    [cut] = recipe.production({"student": "cut-onnx-int8", **values}).students
    assert [m.resolved()["kind"] for m in code.methods] == ["weight-sharing"]
    assert (code.methods[0].resolved()["bits"], cut.methods[0].resolved()["ratio"]) == (3, 0.25)
    # So a value that only the other one has makes no other student.
    same = recipe.same({"student": "code-onnx", **values})
    assert same == recipe.same({"student": "code-onnx", **values, "channels.ratio": 0.4})
    assert same != recipe.same({"student": "code-onnx", **values, "weight-sharing.bits": 4})


def test_every_kind_of_path_finds_its_place() -> None:
    recipe = two(
        architecture={"choices": ["compact_cnn", {"name": "mobilenet_v1", "stem": 4, "widths": [8], "strides": [2]}]},
        resolution={"choices": [1.0, 0.5]},
        temperature={"low": 1.0, "high": 8.0},
        schedule={"learning_rate": {"low": 1e-3, "high": 1e-2, "log": True}, "augment": {"rotation": {"low": 1.0, "high": 9.0}}},
        export={"calibration": {"method": {"choices": ["minmax", "entropy"]}}},
    )
    [student] = recipe.production(
        {
            "student": "code-onnx",
            "architecture": "compact_cnn",
            "resolution": 0.5,
            "temperature": 2.0,
            "schedule.learning_rate": 5e-3,
            "schedule.augment.rotation": 3.0,
            "export.calibration.method": "entropy",
        }
    ).students
    assert student.architecture == {"name": "compact_cnn", "widths": [16, 32, 48, 48], "resolution": 0.5}
    assert (student.temperature, student.schedule.learning_rate) == (2.0, 5e-3)
    assert student.schedule.augment is not None
    assert student.schedule.augment.rotation == 3.0
    assert student.export.calibration.method == "entropy"
    assert getattr(student.methods[0], "schedule").learning_rate == 5e-3  # noqa: B009 - a method inherits it


@pytest.mark.parametrize("name", sorted(set(REGISTRY) - {"linear"}))  # which has no width
def test_every_architecture_can_be_made_wider(name: str) -> None:
    student = {"architecture": {"name": name}}
    wider, same = (resolved(student, {"width": by})["architecture"] for by in (2.0, 1.0))
    assert {key for key in wider if wider[key] != same[key]}


def test_a_rung_is_a_fraction_of_every_epoch() -> None:
    recipe = tiny(rungs=[0.25, 1.0])
    assert [recipe.production({}, rung=r).students[0].epochs for r in (0, 1)] == [1, 4]
    recipe = search_from(
        {**copy.deepcopy(TWO), "search": {"rungs": [0.5, 1.0], "space": {"width": {"low": 0.5, "high": 1.0}}}}, what="t"
    )
    [short] = recipe.production({}, rung=0).students
    assert (short.epochs, short.methods[0].resolved()["epochs"]) == (2, 2)


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({"temprature": {"low": 1.0, "high": 2.0}}, r"search\.space\.temprature: is not known.*did you mean temperature\?"),
        (
            {"schedule": {"learning_rat": {"low": 1.0, "high": 2.0}}},
            r"learning_rat: is not known.*did you mean schedule\.learning_rate",
        ),
        ({"chanels.ratio": {"low": 0.1, "high": 0.2}}, r"chanels\.ratio: is not known.*did you mean channels\.ratio"),
        (
            {"qat.examples": {"low": 1, "high": 2}},
            r"qat\.examples: is not known.*KIND\.KEY of one of its methods \(channels, weight-sharing\)",
        ),
        ({"width": {"low": 2.0, "high": 0.5}}, r"search\.space\.width: from 2\.0 to 0\.5 lies nothing"),
        ({"width": {"low": 0.0, "high": 0.5, "log": True}}, r"search\.space\.width: log with low = 0\.0"),
        ({"width": {"low": 0.1, "high": 0.5, "step": 0.9}}, r"search\.space\.width: step = 0\.9"),
        ({"width": {"low": 0.1, "hihg": 0.5}}, r"search\.space\.width\.hihg: is not known.*did you mean high"),
        ({"width": {"low": 0.1}}, r"search\.space\.width\.high: is missing"),
        ({"width": {"low": "a", "high": 2}}, r"search\.space\.width\.low: 'a' is a text"),
        ({"width": {"choices": []}}, r"search\.space\.width\.choices: \[\]"),
        ({"width": {"choices": [1.0, 2.0, 1.0]}}, r"search\.space\.width\.choices: 1\.0 is there twice"),
        ({"width": 1.0}, r"search\.space\.width: 1\.0.*write \{ choices"),
        ({}, r"search\.space: is empty"),
    ],
)
def test_a_space_that_cannot_be_is_refused_by_its_path(space: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput) as refused:
        two(**space)
    assert re.search(said, str(refused.value)), str(refused.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"trails": 3}, "search.trails: is not known"),
        ({"trials": 0}, "trials: 0"),
        ({"rungs": [0.5]}, r"rungs: \[0.5\]"),
        ({"held_out": 0.0}, "held_out: 0.0"),
        ({"objectives": ["bytes", "macs"]}, "objectives"),
        ({"sampler": "grid"}, "search.sampler: 'grid'"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        tiny(**settings)


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({"temperature": {"low": -1.0, "high": 2.0}}, "search.space.temperature: -1.0 does not go"),
        ({"architecture.widths": {"choices": [[4, 8], [4, 0]]}}, r"search.space.architecture.widths: \[4, 0\] does not go"),
        ({"architecture": {"choices": ["compact_cnn", "resnet"]}}, "search.space.architecture: 'resnet' does not go"),
        ({"resolution": {"low": 0.5, "high": 2.0}}, "search.space.resolution: 2.0 does not go"),
        ({"epochs": {"low": 0, "high": 2}}, "search.space.epochs: 0 does not go"),
    ],
)
def test_an_end_that_no_student_can_have_is_named_before_anything_is_trained(space: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        compress(None, bars(), recipe=tiny(space=space))


def test_a_search_is_not_a_recipe_for_train_and_a_recipe_is_not_a_search() -> None:
    with pytest.raises(BadInput, match=r"search: is for a search.*littoral-cloud compress"):
        parse_recipe('model = "a"\n[search]\n', what="mine.toml")
    plain = body()
    del plain["search"]
    with pytest.raises(BadInput, match=r"search: is missing.*littoral-cloud train"):
        search_from(plain, what="mine.toml")
    with pytest.raises(NotFound, match="did you mean small"):
        search_named("smal")


def test_the_shipped_search_can_be_read_and_fits_mnist_sized_images() -> None:
    recipe = search_named("small")
    assert set(recipe.space) >= {"student", "architecture", "width", "resolution", "channels.ratio", "weight-sharing.bits"}
    assert set(recipe.space) >= {"alpha", "beta", "temperature"}
    recipe.check(bars(size=28))


def test_a_limit_that_only_a_node_can_measure_is_refused() -> None:
    with pytest.raises(BadInput, match="budget: rss is measured on nodes"):
        compress(None, bars(), "rss<=8MB", recipe=tiny())


def test_held_out_images_are_of_every_class_and_nobody_is_trained_on_them() -> None:
    source = bars(240)
    order = np.argsort(source.train_y, kind="stable")  # as an image folder has them: one class after another
    held = SearchData.of(_with(source, source.train_x[order], source.train_y[order]), 0.25)
    judged, trained = held.bench.dataset.test_x, held.dataset.train_x
    assert len(judged) + len(trained) == len(source.train_y)
    assert np.bincount(held.bench.dataset.test_y).min() >= 15
    assert not {image.tobytes() for image in judged} & {image.tobytes() for image in trained}
    assert held.dataset.test_x is not judged


def test_a_class_with_one_training_image_is_named() -> None:
    source = bars(240)
    keep = np.concatenate([np.flatnonzero(source.train_y != 1), np.flatnonzero(source.train_y == 1)[:1]])
    with pytest.raises(BadData, match=r"one has too few.*'standing'"):
        compress(None, _with(source, source.train_x[keep], source.train_y[keep]), recipe=tiny())


def test_a_class_missing_in_a_split_is_named_before_anything_is_trained(tmp_path: Path) -> None:
    source = bars(240)
    keep = source.test_y != 2
    arrays = {"x_test": source.test_x[keep], "y_test": source.test_y[keep]}
    np.savez(tmp_path / "bars.npz", x_train=source.train_x, y_train=source.train_y, labels=np.array(source.labels), **arrays)
    with pytest.raises(BadData, match="no example of 'none' in the test split"):
        compress(None, tmp_path / "bars.npz", recipe=tiny())


def _with(source: Dataset, x: Any, y: Any) -> Dataset:
    return assemble("bars", x, y, source.test_x, source.test_y, labels=source.labels)
