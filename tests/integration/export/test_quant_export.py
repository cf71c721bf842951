"""What is in an exported file: shared values as they are, ranges by the method that was chosen, the opset that was asked for."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from google.protobuf.message import Message
from torch import nn

from littoral.errors import BadInput, RuntimeFailure
from littoral.preparation import Input
from littoral_cloud.compression.weight_sharing import WeightSharing
from littoral_cloud.data.dataset import Dataset
from littoral_cloud.export.exported import Calibration, Exported, Options
from littoral_cloud.export.int8 import export_int8, export_int8_dynamic
from littoral_cloud.export.lean import stripped
from littoral_cloud.export.onnx import export, infer
from littoral_cloud.packaging.package import Bench, candidates_from
from littoral_cloud.recipes.recipe_file import parse_recipe
from littoral_cloud.training.schedule import Schedule
from littoral_cloud.training.train import Trained, logits_of, train_teacher
from littoral_cloud.training.trainer import Trainer
from tests.kit.images import bars

PLAN = Schedule(batch=16, learning_rate=1e-2)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return bars()


@pytest.fixture(scope="module")
def bench(data: Dataset) -> Bench:
    return Bench.of(data)


@pytest.fixture(scope="module")
def net(data: Dataset) -> Trained:
    return train_teacher(data, {"name": "residual", "widths": [4, 8], "depths": [1, 1]}, epochs=3, seed=1, schedule=PLAN)


def graph_of(artifact: Exported) -> onnx.GraphProto:
    return onnx.load_from_string(artifact.files["model.onnx"]).graph


def test_shared_weights_are_in_the_file_bit_for_bit(net: Trained, data: Dataset, bench: Bench) -> None:
    shared = WeightSharing(epochs=1, schedule=PLAN, seed=1, bits=3, rate=0.02).apply(net, Trainer(data))
    artifact = export(shared.module, shared.input, calibration=bench.calibration)
    held = sorted(
        np.sort(onnx.numpy_helper.to_array(tensor).reshape(-1)).tobytes()
        for tensor in graph_of(artifact).initializer
        if tensor.data_type == onnx.TensorProto.FLOAT
    )
    wanted = sorted(np.sort(p.detach().numpy().reshape(-1)).tobytes() for p in shared.module.parameters())
    assert held == wanted
    for tensor in graph_of(artifact).initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.ndim > 1:
            assert len(np.unique(values[values != 0])) <= 8
            assert not np.signbit(values[values == 0]).any()


WRITTEN = {
    "AttributeProto": {"name", "type", "i", "f", "ints"},
    "Dimension": {"dim_value", "dim_param"},
    "GraphProto": {"name", "node", "initializer", "input", "output"},
    "ModelProto": {"ir_version", "opset_import", "graph"},
    "NodeProto": {"op_type", "input", "output", "attribute"},
    "OperatorSetIdProto": {"domain", "version"},
    "Tensor": {"elem_type", "shape"},
    "TensorProto": {"name", "dims", "data_type", "raw_data"},
    "TensorShapeProto": {"dim"},
    "TypeProto": {"tensor_type"},
    "ValueInfoProto": {"name", "type"},
}


def fields_in(message: Message, found: dict[str, set[str]]) -> dict[str, set[str]]:
    for field, value in message.ListFields():
        found.setdefault(message.DESCRIPTOR.name, set()).add(field.name)
        for part in value if not isinstance(value, str | bytes) and hasattr(value, "__iter__") else [value]:
            if isinstance(part, Message):
                fields_in(part, found)
    return found


def test_nothing_else_is_left_in_a_file(net: Trained, bench: Bench) -> None:
    artifact = export(net.module, net.input, calibration=bench.calibration)
    assert list(artifact.files) == ["model.onnx"]
    model = onnx.load_from_string(artifact.files["model.onnx"])
    for kind, names in fields_in(model, {}).items():
        assert names <= WRITTEN[kind], kind
    assert [o.domain for o in model.opset_import] == [""]
    names = [name for node in model.graph.node for name in (*node.input, *node.output)]
    assert max(len(name) for name in names if name not in ("input", "logits")) <= 2
    assert [tensor.name for tensor in model.graph.initializer] == list(
        dict.fromkeys(name for name in names if name in {tensor.name for tensor in model.graph.initializer})
    )
    attributes = {(node.op_type, a.name) for node in model.graph.node for a in node.attribute}
    assert ("Conv", "dilations") not in attributes
    assert ("Conv", "kernel_shape") not in attributes
    assert ("Gemm", "alpha") not in attributes
    weights = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    assert artifact.bytes - weights < 1_000


@pytest.mark.slow
def test_what_changed_after_an_export_is_in_the_next_one(net: Trained, bench: Bench) -> None:
    module = copy.deepcopy(net.module)
    first = export(module, net.input, calibration=bench.calibration)
    export_int8(module, net.input, calibration=bench.calibration)  # begins with the same graph, and changes it
    assert export(module, net.input, calibration=bench.calibration) == first
    with torch.no_grad():
        next(module.parameters()).mul_(2)
    second = export(module, net.input, calibration=bench.calibration)
    assert second != first
    assert second == export(copy.deepcopy(module), net.input, calibration=bench.calibration)
    newer = export(module, net.input, calibration=bench.calibration, options=Options(opset=21, ir=10))
    assert onnx.load_from_string(newer.files["model.onnx"]).opset_import[0].version == 21


@pytest.mark.parametrize(("opset", "ir"), [(13, 7), (17, 8), (18, 9), (21, 10)])
def test_an_older_or_newer_opset_is_written_when_a_recipe_says_so(
    net: Trained, data: Dataset, bench: Bench, opset: int, ir: int
) -> None:
    options = Options(opset=opset, ir=ir)
    artifact = export(net.module, net.input, calibration=bench.calibration, options=options)
    model = onnx.load_from_string(artifact.files["model.onnx"])
    assert (model.ir_version, model.opset_import[0].version) == (ir, opset)
    assert artifact.requires == {"opset": opset, "ir": ir}
    wanted = logits_of(net.module, net.input, data.test_x)
    assert np.abs(infer(artifact, bench.test) - wanted).max() < 1e-5 * np.abs(wanted).max()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"opset": 12}, "opset: 12"),
        ({"opset": 99}, "opset: 99"),
        ({"opset": 21, "ir": 9}, "ir: 9 with opset 21"),
        ({"ir": 99}, "ir: 99"),
    ],
)
def test_an_opset_and_an_ir_that_cannot_be_are_refused(settings: dict[str, int], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Options(**settings)


class Columns(nn.Module):
    """Ends in an operator that ONNX has from opset 18 on."""

    def __init__(self) -> None:
        super().__init__()
        self.fold = nn.Fold(4, 2, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fold(x.reshape(-1, 4, 4)).flatten(1)


def test_an_operator_that_the_older_opset_lacks_is_named() -> None:
    given = Input("input", (1, 4, 4), 1.0, (0.0,), (1.0,))
    calibration = np.zeros((1, 1, 4, 4), np.float32)
    assert export(Columns().eval(), given, calibration=calibration).bytes > 0
    with pytest.raises(RuntimeFailure, match=r"opset 17.*Col2Im") as refused:
        export(Columns().eval(), given, calibration=calibration, options=Options(opset=17))
    assert "leave out opset" in refused.value.hint


def test_what_lies_outside_the_file_is_refused(net: Trained, bench: Bench) -> None:
    model = onnx.load_from_string(export(net.module, net.input, calibration=bench.calibration).files["model.onnx"])
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    with pytest.raises(RuntimeFailure, match="lies outside the file"):
        stripped(model)


def test_dynamic_int8_quantizes_convolutions_and_needs_no_calibration(net: Trained, data: Dataset, bench: Bench) -> None:
    artifact = export_int8_dynamic(net.module, net.input, calibration=bench.calibration[:0])
    kinds = [node.op_type for node in graph_of(artifact).node]
    assert (kinds.count("ConvInteger"), kinds.count("MatMulInteger"), kinds.count("Conv")) == (6, 1, 0)
    wanted, given = logits_of(net.module, net.input, data.test_x), infer(artifact, bench.test)
    assert np.abs(given - wanted).max() < 0.05 * np.abs(wanted).max()
    assert (given.argmax(1) == wanted.argmax(1)).mean() >= 0.97
    weights = [t for t in graph_of(artifact).initializer if len(t.dims) == 4]
    assert {t.data_type for t in weights} == {onnx.TensorProto.UINT8}


def input_step(artifact: Exported) -> float:
    """The step to which inputs are rounded."""
    graph = graph_of(artifact)
    first = next(node for node in graph.node if node.op_type == "QuantizeLinear" and node.input[0] == "input")
    scale = next(tensor for tensor in graph.initializer if tensor.name == first.input[1])
    return float(onnx.numpy_helper.to_array(scale))


def test_ranges_are_found_by_the_method_that_was_chosen(
    net: Trained, data: Dataset, bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = bench.calibration
    whole = export_int8(net.module, net.input, calibration=shown)
    assert input_step(whole) == pytest.approx((shown.max() - shown.min()) / 255, rel=1e-5)
    wanted = logits_of(net.module, net.input, data.test_x)
    for how, least, most in [
        (Calibration("percentile", percentile=99.0), 0.5, 0.99),
        (Calibration("entropy"), 0.2, 1.01),
    ]:
        other = export_int8(net.module, net.input, calibration=shown, options=Options(calibration=how))
        assert least < input_step(other) / input_step(whole) < most, how
        assert (infer(other, bench.test).argmax(1) == wanted.argmax(1)).mean() >= 0.9, how
    assert capsys.readouterr().out == ""


def test_weights_of_static_int8_are_7_bit_wide_so_that_no_cpu_overflows(net: Trained, bench: Bench) -> None:
    graph = graph_of(export_int8(net.module, net.input, calibration=bench.calibration))
    codes = [onnx.numpy_helper.to_array(t) for t in graph.initializer if t.data_type == onnx.TensorProto.INT8 and len(t.dims) > 1]
    assert len(codes) == 7
    assert max(int(np.abs(array).max()) for array in codes) <= 64


def test_a_recipe_says_how_files_are_written_and_the_manifest_repeats_it(net: Trained, data: Dataset, bench: Bench) -> None:
    text = """
        model = "bars"
        [[student]]
        name = "small"
        epochs = 1
        architecture = { name = "residual", widths = [4, 8], depths = [1, 1] }
        variants = ["onnx-int8"]
        export = { opset = 17, ir = 8, calibration = { method = "percentile", examples = 20 } }
    """
    plan = parse_recipe(text, what="r.toml").students[0]
    assert plan.export == Options(17, 8, Calibration("percentile", 20))
    assert json.loads(json.dumps(plan.resolved()))["export"]["calibration"]["examples"] == 20
    [packaged] = candidates_from(net, bench, plan.variants, model="bars", name="small", options=plan.export)
    said: dict[str, Any] = dict(packaged.manifest.recipe)
    assert said == {"variant": "onnx-int8", "calibration": "percentile", "calibration_examples": 20}
    assert packaged.manifest.requires == {"opset": 17, "ir": 8}
    with pytest.raises(BadInput, match=r"student\[small\]\.export\.calibration\.method"):
        parse_recipe(text.replace("percentile", "guess"), what="r.toml")
    with pytest.raises(BadInput, match=r"calibration\.examples: 0"):
        parse_recipe(text.replace("20", "0"), what="r.toml")
