"""Kinds of models that users bring: each becomes what it promises, or is refused in words that say what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from littoral.answers import fault_of
from littoral.errors import BadData, BadInput
from littoral.manifest import Manifest
from littoral.tensor_spec import TensorSpec
from littoral_cloud.foreign.importing import import_model
from littoral_cloud.foreign.inspecting import inspected
from littoral_cloud.foreign.plan import ImportPlan
from littoral_cloud.foreign.samples import AS_IT_IS, load_samples
from littoral_cloud.packaging.package import Packaged
from tests.kit import graphs
from tests.kit.foreign import houses, made, write
from tests.kit.graphs import Case

CLASSIFIER = ImportPlan("m")


def imported(folder: Path, case: Case, plan: ImportPlan = CLASSIFIER, told: list[str] | None = None) -> list[Packaged]:
    model, arrays = case
    np.savez(folder / "d.npz", **arrays)
    return import_model(
        write(folder / "m.onnx", model), plan, data=folder / "d.npz", tell=(told if told is not None else []).append
    )


def size(packaged: Packaged) -> int:
    return packaged.manifest.artifact_bytes


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "share", "how"),
    [
        (graphs.hidden_layer(constants=True), 0.35, "all"),
        (graphs.hidden_layer(cast=True), 0.7, "all"),  # of halves
        (graphs.with_weights_as_inputs(), 0.35, "all"),
        (graphs.masked(), 0.6, "layers"),
    ],
    ids=["constants", "cast", "inputs too", "masked"],
)
def test_int8_is_small_and_as_good_wherever_the_weights_are(tmp_path: Path, case: Case, share: float, how: str) -> None:
    told: list[str] = []
    made = imported(tmp_path, case, told=told)
    assert told == []
    whole, small = made
    assert small.manifest.recipe["import"]["quantized"] == how
    assert size(small) < share * size(whole)
    assert whole.manifest.accuracy == 1.0
    assert small.manifest.accuracy > 0.95
    assert whole.manifest.parameters == small.manifest.parameters > 2_000
    assert whole.manifest.signature is not None
    assert [spec.name for spec in whole.manifest.signature.inputs] == ["x"]


@pytest.mark.parametrize(
    ("case", "said"),
    [
        (graphs.tokens(), "int8: is no smaller: "),
        (graphs.column_in_millions(), "of what it is worth (accuracy 1 to "),
        (graphs.from_scikit_learn([0, 1, 2], zipmap=False), "int8: it has no layer whose weights would be smaller"),
    ],
    ids=["tokens", "column in millions", "scikit-learn"],
)
def test_an_int8_that_brings_nothing_or_loses_too_much_is_left_out(tmp_path: Path, case: Case, said: str) -> None:
    told: list[str] = []
    [whole] = imported(tmp_path, case, told=told)
    assert (whole.manifest.accuracy, whole.manifest.remarks) == (1.0, ())
    assert said in told[-1]
    assert "it is released as it is" in told[-1]


def test_what_int8_lost_is_said_where_it_is_wanted_all_the_same(tmp_path: Path) -> None:
    _, small = imported(tmp_path, graphs.column_in_millions(), ImportPlan("m", int8_loss=1.0))
    assert small.manifest.accuracy < 0.9
    assert any(remark.startswith("lost ") for remark in small.manifest.remarks)
    with pytest.raises(BadInput, match="--int8-loss: 2 is no share"):
        ImportPlan("m", int8_loss=2)


def test_a_classifier_is_measured_on_the_classes_that_the_data_hold(tmp_path: Path) -> None:
    [whole, *_] = imported(tmp_path, graphs.ten_classes(0, 3, 7))
    manifest = Manifest.decode(whole.manifest.encode())
    assert manifest == whole.manifest
    assert manifest.remarks == ("3 of 10 classes measured: the data have no others",)
    assert (manifest.class_accuracy, manifest.accuracy_by_label) == ((), {"0": 1.0, "3": 1.0, "7": 1.0})
    assert manifest.worst_class == ("0", 1.0)
    [one, *_] = imported(tmp_path, graphs.ten_classes(4))
    assert one.manifest.remarks == ("1 of 10 classes measured: the data have no others",)


def test_a_model_that_answers_no_numbers_is_refused_or_carries_that(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"1\d of 19 examples are answered with values in y that are not numbers") as refused:
        imported(tmp_path, graphs.logarithm(0))
    assert "--yes" in refused.value.hint
    [whole, *_] = imported(tmp_path, graphs.logarithm(0), ImportPlan("m", anyway=True))
    assert any("examples are answered with values in y that are not numbers" in remark for remark in whole.manifest.remarks)
    with pytest.raises(BadInput, match="19 of 19 examples"):
        imported(tmp_path, graphs.logarithm(-1e6), ImportPlan("m", anyway=True))
    few, *_ = imported(tmp_path, graphs.logarithm(5))
    assert "3 of 19 examples are answered with values in y that are not numbers: such a request fails" in few.manifest.remarks
    signature = few.manifest.signature
    assert signature is not None
    assert np.isfinite(signature.probe.outputs["y"].values()).all()


def test_a_probe_asks_what_has_an_answer_also_where_there_are_no_data(tmp_path: Path) -> None:
    model = made([helper.make_node("Log", ["x"], ["y"])], [("x", 1, ["n", 4])], [("y", 1, ["n", 4])])
    [whole] = import_model(write(tmp_path / "m.onnx", model), CLASSIFIER)
    assert whole.manifest.signature is not None
    assert (whole.manifest.signature.probe.inputs["x"].values() > 0).all()
    never = made([helper.make_node("Log", ["x"], ["a"]), helper.make_node("Sub", ["a", "a"], ["b"]),
                  helper.make_node("Div", ["b", "b"], ["y"])], [("x", 1, ["n", 4])], [("y", 1, ["n", 4])])  # fmt: skip
    with pytest.raises(BadInput, match="on the inputs of its probe, answers y with values that are not numbers"):
        import_model(write(tmp_path / "m.onnx", never), CLASSIFIER)


def test_minus_infinity_is_an_answer(tmp_path: Path) -> None:
    told: list[str] = []
    [whole, *_] = imported(tmp_path, graphs.logarithm_of_chances(), told=told)
    assert (whole.manifest.accuracy, whole.manifest.remarks) == (1.0, ())
    assert whole.manifest.signature is not None
    assert np.isneginf(whole.manifest.signature.probe.outputs["y"].values()).any()


def test_who_learnt_nothing_carries_the_remark(tmp_path: Path) -> None:
    model, arrays = graphs.ten_classes(*range(10))
    [whole, *_] = imported(tmp_path, (model, {**arrays, "y": np.arange(len(arrays["y"])) % 10}))
    assert [remark.split(":")[0] for remark in whole.manifest.remarks] == ["learnt nothing"]
    from tests.kit.foreign import house_prices

    data = houses(100)
    wrong = {**data, "y": data["y"][::-1].copy()}
    [prices, *_] = imported(tmp_path, (house_prices(), wrong), ImportPlan("m", task="custom", metric="rmse"))
    assert "always answering the mean of y has" in prices.manifest.remarks[0]


@pytest.mark.parametrize("zipmap", [False, True])
@pytest.mark.parametrize("classes", [["cat", "dog", "eel"], [1, 2, 3]])
def test_scikit_learns_classifiers_bring_their_labels(tmp_path: Path, classes: Any, zipmap: bool) -> None:
    told: list[str] = []
    plan = ImportPlan("m", output="maps" if zipmap else "")  # by the name that it has in the file
    [whole] = imported(tmp_path, graphs.from_scikit_learn(classes, zipmap=zipmap), plan, told=told)
    manifest, signature = whole.manifest, whole.manifest.signature
    assert (manifest.accuracy, manifest.output) == (1.0, type(manifest.output)("chances", tuple(map(str, classes))))
    assert signature is not None
    texts = classes[0] == "cat"
    assert [spec.name for spec in signature.outputs] == (["chances"] if texts else ["label", "chances"])
    assert any("output label is tensor(string), which nodes do not serve: it is left out" in words for words in told) == texts
    assert any(words.startswith("output maps is a map") for words in told) == zipmap


def test_an_output_that_is_judged_must_be_one_that_is_served(tmp_path: Path) -> None:
    case = graphs.from_scikit_learn(["a", "b"], zipmap=False)
    with pytest.raises(BadInput, match=r"output label is tensor\(string\)") as refused:
        imported(tmp_path, case, ImportPlan("m", output="label"))
    assert "--output: chances" in refused.value.hint


def test_labels_of_the_data_go_by_name_whatever_their_order(tmp_path: Path) -> None:
    model, arrays = graphs.from_scikit_learn(["cat", "dog", "eel"], zipmap=False)
    names = np.array(["eel", "cat", "dog"])
    y = np.array([list(names).index(label) for label in arrays["y"]])
    [whole] = imported(tmp_path, (model, {"x": arrays["x"], "y": y, "labels": names}))
    assert (whole.manifest.accuracy, whole.manifest.output.labels) == (1.0, ("cat", "dog", "eel"))


def test_a_folder_that_holds_some_of_the_classes_by_their_numbers(tmp_path: Path) -> None:
    model, arrays = graphs.ten_classes(0, 3, 7)
    names = np.array(["0", "3", "7"])
    y = np.searchsorted([0, 3, 7], arrays["y"])
    [whole, *_] = imported(tmp_path, (model, {"x": arrays["x"], "y": y, "labels": names}))
    assert (whole.manifest.accuracy, len(whole.manifest.output.labels)) == (1.0, 10)


def test_a_negative_size_is_free_and_an_output_without_a_shape_gets_one(tmp_path: Path) -> None:
    model, arrays = graphs.hidden_layer()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = -7
    [whole, small] = imported(tmp_path, (model, arrays))
    for packaged in (whole, small):
        assert packaged.manifest.signature is not None
        assert [spec.shape for spec in packaged.manifest.signature.inputs] == [(-1, 64)]
    counted = made(
        [helper.make_node("NonZero", ["x"], ["places"]), helper.make_node("Squeeze", ["places", "axes"], ["y"])],
        [("x", 1, [5])],
        [],
        [("axes", np.int64([0]))],
    )
    counted.graph.output.add(name="y").type.tensor_type.elem_type = TensorProto.INT64
    [whole] = import_model(write(tmp_path / "c.onnx", counted), ImportPlan("m", task="custom"))
    assert whole.manifest.signature is not None
    assert [spec.shape for spec in whole.manifest.signature.outputs] == [(-1,)]


def test_an_input_without_a_shape_has_that_of_its_data(tmp_path: Path) -> None:
    model, arrays = graphs.ten_classes(*range(10))
    model.graph.input[0].type.tensor_type.ClearField("shape")
    [whole, *_] = imported(tmp_path, (model, arrays))
    assert whole.manifest.accuracy == 1.0
    assert whole.manifest.signature is not None
    assert [spec.shape for spec in whole.manifest.signature.inputs] == [(-1, -1)]
    with pytest.raises(BadInput, match="input x has no shape in the file") as refused:
        import_model(tmp_path / "m.onnx", CLASSIFIER)
    assert "--size x=1,..." in refused.value.hint
    [sized] = import_model(tmp_path / "m.onnx", ImportPlan("m", sizes={"x": (2, 64)}))
    assert sized.manifest.signature is not None
    assert sized.manifest.signature.probe.inputs["x"].shape == (2, 64)


def test_operators_without_a_version_are_said_in_our_words() -> None:
    model = made([helper.make_node("Relu", ["x"], ["y"])], [("x", 1, [1])], [("y", 1, [1])])
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    with pytest.raises(BadInput, match="uses Relu and does not say which version of ONNX's own operators") as refused:
        inspected(model.SerializeToString(), Path("m.onnx"), "model")
    assert "make_opsetid('', 18)" in refused.value.hint


def test_sequences_are_left_out_and_every_output_of_such_a_kind_refused(tmp_path: Path) -> None:
    split = made(
        [helper.make_node("SplitToSequence", ["x"], ["parts"], axis=0), helper.make_node("Relu", ["x"], ["y"])],
        [("x", 1, ["n", 2])],
        [("y", 1, ["n", 2])],
    )
    parts = helper.make_value_info("parts", helper.make_sequence_type_proto(helper.make_tensor_type_proto(1, ["k", 2])))
    split.graph.output.append(parts)
    told: list[str] = []
    [whole] = import_model(write(tmp_path / "m.onnx", split), ImportPlan("m", task="custom"), tell=told.append)
    assert whole.manifest.signature is not None
    assert [spec.name for spec in whole.manifest.signature.outputs] == ["y"]
    assert told == ["output parts is seq(tensor(float)), which nodes do not serve: it is left out"]
    del split.graph.output[0]
    with pytest.raises(BadInput, match="output parts is seq"):
        import_model(write(tmp_path / "m.onnx", split), ImportPlan("m", task="custom"))


def voice() -> Case:
    """A detector of voices: a batch of sound, a state without one in front, and the sampling rate, which has no size at all."""
    nodes = [
        helper.make_node("Cast", ["sr"], ["rate"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["sound", "axes"], ["mean"], keepdims=1),
        helper.make_node("Mul", ["mean", "rate"], ["y"]),
        helper.make_node("ReduceSum", ["state"], ["total"], keepdims=0),
        helper.make_node("Identity", ["state"], ["next"]),
    ]
    inputs = [("sound", 1, ["batch", 8]), ("state", 1, [2, "batch", 3]), ("sr", TensorProto.INT64, [])]
    outputs = [("y", 1, ["batch", 1]), ("total", 1, []), ("next", 1, [2, "batch", 3])]
    sound = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)
    state = np.ones((40, 2, 1, 3), np.float32)
    model = made(nodes, inputs, outputs, [("axes", np.int64([1]))])
    return model, {"sound": sound, "state": state, "sr": np.int64(16000), "y": sound.mean(1) * 16000}


def test_an_input_without_a_size_beside_one_with_a_batch(tmp_path: Path) -> None:
    told: list[str] = []
    [whole] = imported(tmp_path, voice(), ImportPlan("m", task="regression"), told=told)
    metric, signature = whole.manifest.metric, whole.manifest.signature
    assert metric is not None
    assert metric.value < 1e-2
    assert signature is not None
    assert {name: packed.shape for name, packed in signature.probe.inputs.items()} == {
        **{"sound": (1, 8), "state": (2, 1, 3), "sr": ()},
    }
    assert signature.probe.outputs["total"].shape == ()
    assert told == ["int8: inputs without a batch are not calibrated; it is released as it is"]


def test_a_number_for_all_beside_the_scores_is_no_reason_not_to_measure_them(tmp_path: Path) -> None:
    model, arrays = graphs.hidden_layer()
    model.graph.node.append(helper.make_node("ReduceSum", ["y"], ["total"], keepdims=0))
    model.graph.output.append(helper.make_tensor_value_info("total", 1, []))
    [whole, *_] = imported(tmp_path, (model, arrays))
    assert whole.manifest.accuracy == 1.0


def test_an_error_counts_the_answers_that_are_finite_and_says_how_many_are_not(tmp_path: Path) -> None:
    model = made([helper.make_node("Reciprocal", ["x"], ["y"])], [("x", 1, ["n", 1])], [("y", 1, ["n", 1])])
    x = np.arange(0, 50, dtype=np.float32)[:, None] % 10
    with np.errstate(divide="ignore"):
        right = np.where(x == 0, 0, 1 / x)[:, 0]
    [whole, *_] = imported(tmp_path, (model, {"x_train": x, "x_test": x, "y_test": right}), ImportPlan("m", task="regression"))
    assert whole.manifest.metric is not None
    assert whole.manifest.metric.value < 1e-6
    assert whole.manifest.remarks == (
        "5 of 50 examples are answered with values in y that are not finite: they are not in its measure",
    )


def sampled(folder: Path, names: list[str], **arrays: Any) -> Any:
    np.savez(folder / "d.npz", **arrays)
    specs = [TensorSpec(name, "FP32", (-1, 2)) for name in names]
    return load_samples(folder / "d.npz", specs, AS_IT_IS)


def test_names_of_inputs_and_of_other_arrays_do_not_collide(tmp_path: Path) -> None:
    a, b, right = np.zeros((10, 2)), np.ones((10, 2)), np.arange(10)
    for names, arrays in (
        (["y"], {"x": a, "y": right}),
        (["y"], {"input_y": a, "y": right}),
        (["labels"], {"labels": a, "y": right}),
        (["y_hat"], {"y_hat": a, "y": right}),
        (["x"], {"input_x": a, "x": b, "y": right}),
        (["a", "y"], {"a": a, "input_y": b, "y": right}),
        (["a", "a_test"], {"a": a, "a_test": b, "y": right}),
        (["a", "a_test", "a_train"], {"a": a, "a_test": b, "a_train": b, "y": right}),
        (["y", "input_y"], {"input_y": b, "y": a, "y_": right}),
    ):
        found = sampled(tmp_path, names, **arrays)
        assert list(found.measuring.inputs) == names
        assert not found.measuring.inputs[names[0]].any(), names
        assert all(array.all() for array in list(found.measuring.inputs.values())[1:])
        [target] = found.measuring.targets.values()
        assert target.ndim == 1, names
    apart = sampled(tmp_path, ["y"], input_y_train=a, input_y_test=b, y_test=right)
    assert list(apart.measuring.targets) == ["y"]
    assert apart.measuring.inputs["y"].all()
    with pytest.raises(BadData, match=r"holds a, y, and no b"):
        sampled(tmp_path, ["a", "b"], a=a, y=right)
    with pytest.raises(BadData, match=r"holds a_train, y_test, and no a_test"):
        sampled(tmp_path, ["a"], a_train=a, y_test=right)


def test_one_definition_of_an_answer(tmp_path: Path) -> None:
    [whole, *_] = imported(tmp_path, graphs.logarithm_of_chances())
    manifest = whole.manifest
    good = np.zeros((1, 3), np.float32)
    assert fault_of(manifest, {"y": good}) == ""
    assert fault_of(manifest, {"y": good - np.inf}) == ""
    assert fault_of(manifest, {"y": good * np.nan}) == "answers y with values that are not numbers"
    assert fault_of(manifest, {"y": good.astype(np.float64)}).startswith("answers y with float64 (1, 3), the manifest names FP32")
    assert fault_of(manifest, {"y": good[0]}).startswith("answers y with float32 (3,)")
    assert fault_of(manifest, {}) == "answers without y"


def test_the_teacher_of_a_recipe_still_sees_the_file_as_it_is() -> None:
    model, _ = graphs.hidden_layer(constants=True)
    data = model.SerializeToString()
    found = inspected(data, Path("m.onnx"), "teacher.onnx")
    assert onnx.load_model_from_string(data) == found.model
    assert found.parameters == 64 * 128 + 128 * 8
