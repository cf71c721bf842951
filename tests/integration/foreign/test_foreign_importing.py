"""Models of every kind become artifacts that say what they take, give and are worth; what does not fit is refused in words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from littoral.errors import BadData, BadInput, FleetError, NotFound
from littoral.manifest import Manifest
from littoral.metric import Metric
from littoral_cloud.foreign.importing import import_model
from littoral_cloud.foreign.labels import read_labels
from littoral_cloud.foreign.metrics import METRICS, measure_named
from littoral_cloud.foreign.plan import ImportPlan
from littoral_cloud.foreign.samples import ByteScaling
from littoral_cloud.packaging.package import Packaged
from tests.kit.foreign import house_prices, houses, made, peaks, write
from tests.kit.images import bars
from tests.kit.measured import rows
from tests.kit.teachers import linear_onnx

DATA = bars()
REGRESSION = ImportPlan("houses", task="regression")


def fitted() -> np.ndarray:
    """Weights of a linear model that tells bars apart; (144, 3)."""
    x = (DATA.train_x / 255).reshape(len(DATA.train_x), -1)
    weights: np.ndarray = np.linalg.lstsq(x, np.eye(3)[DATA.train_y], rcond=None)[0].astype(np.float32)
    return weights


def of(folder: Path, model: Any, plan: ImportPlan, told: list[str] | None = None, **arrays: np.ndarray) -> list[Packaged]:
    data = None
    if arrays:
        data = folder / "d.npz"
        np.savez(data, **arrays)
    return import_model(write(folder / "m.onnx", model), plan, data=data, tell=(told if told is not None else []).append)


def images() -> dict[str, np.ndarray]:
    return {"x_train": DATA.train_x, "y_train": DATA.train_y, "x_test": DATA.test_x, "y_test": DATA.test_y}


@pytest.mark.slow
def test_a_classifier_is_measured_quantized_and_says_its_own_tensors(tmp_path: Path) -> None:
    plan = ImportPlan("bars", labels=DATA.labels, preparation=ByteScaling("unit"))
    whole, small = of(tmp_path, linear_onnx(fitted()), plan, **images())
    for packaged in (whole, small):
        manifest = packaged.manifest
        assert Manifest.decode(manifest.encode()).encode() == manifest.encode()
        assert (manifest.schema, manifest.task, manifest.metric, manifest.output.labels) == (
            2,
            "classification",
            None,
            DATA.labels,
        )
        assert manifest.accuracy == 1.0
        assert manifest.class_accuracy == (1.0, 1.0, 1.0)
        assert manifest.accuracy_examples == 48
        assert manifest.signature is not None
        assert [(s.name, s.datatype, s.shape) for s in manifest.signature.inputs] == [("images", "FP32", (-1, 1, 12, 12))]
        assert manifest.sketch.edges
        assert manifest.lineage is not None
        assert manifest.lineage.roles == ("data", "base")
    assert (whole.manifest.name, small.manifest.name) == ("m-onnx", "m-onnx-int8")
    assert small.files["model.onnx"] != whole.files["model.onnx"]
    again = of(tmp_path, linear_onnx(fitted()), plan, **images())
    assert [p.manifest.encode() for p in again] == [whole.manifest.encode(), small.manifest.encode()]


def test_several_inputs_of_several_types_and_an_error_of_prices(tmp_path: Path) -> None:
    [whole, *_] = of(tmp_path, house_prices(), REGRESSION, **houses(noise=0.0))
    manifest = whole.manifest
    assert manifest.metric is not None
    assert (manifest.metric.name, manifest.metric.higher_is_better) == ("rmse", False)
    assert manifest.metric.value < 1e-5
    assert (manifest.output.name, manifest.output.labels, manifest.accuracy) == ("price", (), 0.0)
    assert manifest.sketch.edges == ()
    assert manifest.signature is not None
    assert [s.name for s in manifest.signature.outputs] == ["price", "cheap"]
    assert manifest.signature.probe.outputs["cheap"].datatype == "BOOL"


@pytest.mark.parametrize("batch", ["n", 1, 7])
def test_a_batch_of_any_kind_gives_one_worth(tmp_path: Path, batch: int | str) -> None:
    [whole, *_] = of(tmp_path, house_prices(batch), REGRESSION, **houses(noise=0.5))
    assert whole.manifest.metric is not None
    assert whole.manifest.metric.value == pytest.approx(0.2778, abs=1e-3)


@pytest.mark.parametrize("name", ["mae", "r2", "tests.kit.foreign:off_by"])
def test_the_metric_is_the_one_that_was_named(tmp_path: Path, name: str) -> None:
    plan = ImportPlan("houses", task="regression", metric=name)
    [whole, *_] = of(tmp_path, house_prices(), plan, **houses())
    metric = whole.manifest.metric
    assert metric is not None
    assert (metric.name, metric.higher_is_better) == (name, name == "r2")
    assert 0.1 < metric.value < 3 if name != "r2" else metric.value > 0.98


def test_a_detector_of_any_number_of_things_is_judged_by_a_function(tmp_path: Path) -> None:
    signals = np.zeros((20, 9), np.float32)
    for i, signal in enumerate(signals):
        signal[: i % 4] = 1
    plan = ImportPlan("peaks", task="detection", metric="tests.kit.foreign:peaks_found")
    told: list[str] = []
    [whole] = of(tmp_path, peaks(), plan, told, x=signals, y=np.arange(20) % 4)
    assert whole.manifest.metric == Metric("tests.kit.foreign:peaks_found", 1.0, True)
    assert told == ["int8: inputs without a batch are not calibrated; it is released as it is"]


def test_without_data_nothing_is_measured_and_the_manifest_says_so(tmp_path: Path) -> None:
    [whole] = of(tmp_path, linear_onnx(), ImportPlan("bars", name="given"))
    manifest = whole.manifest
    assert (manifest.name, manifest.accuracy_examples, manifest.output.labels) == ("given-onnx", 0, ("0", "1", "2"))
    assert manifest.remarks == ("was not measured: it was imported without data",)
    model = made([helper.make_node("Identity", ["x"], ["y"])], [("x", 1, ["n", "steps"])], [("y", 1, ["n", "steps"])])
    with pytest.raises(BadInput, match=r"input x: takes \[any, any\]"):
        of(tmp_path, model, ImportPlan("p", task="custom"))
    [sized] = of(tmp_path, model, ImportPlan("p", task="custom", sizes={"x": (1, 5)}))
    assert sized.manifest.signature is not None
    assert sized.manifest.signature.probe.inputs["x"].shape == (1, 5)


def test_a_large_input_has_a_small_probe(tmp_path: Path) -> None:
    nodes = [helper.make_node("GlobalAveragePool", ["x"], ["m"]), helper.make_node("Flatten", ["m"], ["y"])]
    model = made(nodes, [("x", TensorProto.FLOAT, [1, 3, 640, 640])], [("y", TensorProto.FLOAT, [1, 3])])
    [whole] = of(tmp_path, model, ImportPlan("large"))
    assert len(whole.manifest.encode()) < 200_000


def refused(folder: Path, model: Any, plan: ImportPlan, **arrays: np.ndarray) -> FleetError:
    with pytest.raises(FleetError) as caught:
        of(folder, model, plan, **arrays)
    return caught.value


def test_a_table_for_a_model_of_images_is_refused_by_both_shapes(tmp_path: Path) -> None:
    x, y = rows(30)
    error = refused(tmp_path, linear_onnx(), ImportPlan("bars"), x=x, y=y)
    assert isinstance(error, BadInput)
    assert "has shape [30, 5], the model takes FP32 [any, 1, 12, 12]" in error.message
    assert "this is a table, and the model is for images" in error.hint


def wrong_data() -> Sequence[Any]:
    x, y = DATA.test_x, DATA.test_y
    floats = (x / 255).astype(np.float32)
    holed, infinite = floats.copy(), floats.copy()
    holed[3, 0, 2, 1], infinite[0, 0, 0, 0] = np.nan, np.inf
    unit = {"preparation": ByteScaling("unit")}
    raises, words, nan = (f"tests.kit.foreign:{name}" for name in ("that_raises", "that_gives_words", "that_gives_nan"))
    normal = ByteScaling("", (1, 2, 3), (1, 1, 1))
    return [
        (BadInput, "images: holds bytes, the model takes FP32", {}, {"x": x, "y": y}),
        (BadData, "images: holds nan at [3, 0, 2, 1]", {}, {"x": holed, "y": y}),
        (BadData, "images: holds inf at [0, 0, 0, 0]", {}, {"x": infinite, "y": y}),
        (BadData, "has 48 in images, 47 in y", unit, {"x": x, "y": y[:-1]}),
        (BadData, "holds pictures, y, and no images", unit, {"pictures": x, "y": y}),
        (BadInput, "y: runs from 0 to 7, the model knows 3 classes", unit, {"x": x, "y": np.where(y == 2, 7, y)}),
        (BadInput, "y: 'bar' is none of the model's labels", unit, {"x": x, "y": np.array(["bar"] * 48)}),
        (BadInput, "y: is float64 of shape (9,)", unit, {"x": x, "y": y + 0.5}),
        (BadInput, "data: hold no y", unit, {"x": x}),
        (BadInput, "labels: 2 different ones, and the model has 3 classes", {**unit, "labels": ("a", "b")}, {"x": x, "y": y}),
        (BadInput, "--output: the model has no 'scores'", {**unit, "output": "scores"}, {"x": x, "y": y}),
        (BadInput, "--mean: holds 3 values, the images have 1 channels", {"preparation": normal}, {"x": x, "y": y}),
        (BadInput, "metric: detection has none of its own", {"task": "detection"}, {"x": floats, "y": y}),
        (BadInput, "metric: 'acuracy' is not known", {"metric": "acuracy"}, {"x": floats, "y": y}),
        (NotFound, "metric: there is no module 'nowhere'", {"metric": "nowhere:f"}, {"x": floats, "y": y}),
        (NotFound, "has no 'goodness'", {"metric": "tests.kit.foreign:goodness"}, {"x": floats, "y": y}),
        (BadInput, "tests.kit.foreign:that_raises raised KeyError: 'boxes'", {"metric": raises}, {"x": floats, "y": y}),
        (BadInput, "gave str, not a number", {"metric": words}, {"x": floats, "y": y}),
        (BadInput, "that_gives_nan is nan", {"metric": nan}, {"x": floats, "y": y}),
    ]


@pytest.mark.parametrize(
    ("kind", "said", "plan", "arrays"), wrong_data(), ids=lambda value: value[:40] if isinstance(value, str) else ""
)
def test_what_does_not_fit_is_said(tmp_path: Path, kind: type, said: str, plan: dict[str, Any], arrays: dict[str, Any]) -> None:
    error = refused(tmp_path, linear_onnx(), ImportPlan("bars", **plan), **arrays)
    assert isinstance(error, kind)
    assert said in error.message
    assert error.hint or "mean" in said


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ({"task": "guessing"}, "task: 'guessing' is not known"),
        ({"task": "regression", "metric": "accuracy"}, "metric: accuracy is of classification"),
        ({"metric": "rmse"}, "metric: rmse is of regression"),
    ],
)
def test_a_plan_that_is_none_is_refused(plan: dict[str, str], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        ImportPlan("m", **plan)


def test_a_regression_of_another_shape_and_one_value_are_said(tmp_path: Path) -> None:
    data = houses()
    error = refused(tmp_path, house_prices(), REGRESSION, **{**data, "y": np.stack([data["y"]] * 2, 1)})
    assert "output price: has shape (8, 1), y (8, 2)" in error.message
    error = refused(tmp_path, house_prices(), ImportPlan("h", task="regression", metric="r2"), **{**data, "y": np.ones(40)})
    assert "y: has one value only" in error.message


def test_texts_and_maps_are_not_served(tmp_path: Path) -> None:
    text = made(
        [helper.make_node("Identity", ["x"], ["y"])], [("x", TensorProto.STRING, ["n"])], [("y", TensorProto.STRING, ["n"])]
    )
    error = refused(tmp_path, text, ImportPlan("m", task="custom"))
    assert "input x is tensor(string), which nodes do not serve" in error.message


def test_labels_are_read_one_a_line(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text("hot\n\n cold \n")
    assert read_labels(tmp_path / "l.txt") == ("hot", "cold")
    (tmp_path / "l.txt").write_text("\n")
    with pytest.raises(BadInput, match="is empty"):
        read_labels(tmp_path / "l.txt")
    with pytest.raises(BadInput, match="cannot be read"):
        read_labels(tmp_path / "gone.txt")


def test_the_metrics_by_hand() -> None:
    answers = {"o": np.float32([[2, 0], [0, 1], [3, 1], [0, 1]])}
    targets = {"y": np.array([0, 1, 1, 1])}
    values = {name: measure_named(name).metric(answers, targets, "o").value for name in ("accuracy", "worst-class")}
    assert values == {"accuracy": 0.75, "worst-class": 2 / 3}
    answers, targets = {"o": np.float32([[1], [2], [5]])}, {"y": np.array([1.0, 3.0, 5.0])}
    values = {name: measure_named(name).metric(answers, targets, "o").value for name in ("rmse", "mae", "r2")}
    assert values == pytest.approx({"rmse": (1 / 3) ** 0.5, "mae": 1 / 3, "r2": 1 - 1 / 8})
    assert set(METRICS) == {"accuracy", "worst-class", "rmse", "mae", "r2"}
