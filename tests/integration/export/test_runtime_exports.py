"""What is written for runtimes that this machine does not have, as far as it can be looked at without them."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from littoral.errors import Unavailable
from littoral.manifest import FULL_RANGE, Manifest
from littoral.mlpackage import MODEL, WEIGHTS, laid_out, taken_from
from littoral_cloud.data.dataset import Dataset
from littoral_cloud.export import coreml
from littoral_cloud.export.coreml_reading import constants_of, spec_of
from littoral_cloud.export.exported import Exported, folded
from littoral_cloud.packaging.package import EXPORTERS, Bench, Packaged, candidates_from
from littoral_cloud.training.schedule import Schedule
from littoral_cloud.training.train import Trained, train_teacher
from tests.kit.images import bars


@functools.cache
def data() -> Dataset:
    return bars(240)


@functools.cache
def bench() -> Bench:
    return Bench.of(data())


@functools.cache
def network() -> Trained:
    spec = {"name": "compact_cnn", "widths": [8, 16]}
    return train_teacher(data(), spec, epochs=2, seed=1, schedule=Schedule(batch=16, learning_rate=1e-2))


@functools.cache
def exported(variant: str) -> Exported:
    made: Exported = EXPORTERS[variant](network().module, bench().input, calibration=bench().calibration)
    return made


@functools.cache
def packaged(variant: str) -> Packaged:
    [made] = candidates_from(network(), bench(), [variant], model="m", name="n")
    return made


def arrays(variant: str) -> dict[str, np.ndarray]:
    model = onnx.load_from_string(exported(variant).files["model.onnx"])
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


@pytest.mark.parametrize(("variant", "stored"), [("coreml", np.float32), ("coreml-fp16", np.float16)])
def test_a_core_ml_package_has_the_networks_names_shapes_and_weights(variant: str, stored: type) -> None:
    artifact = exported(variant)
    assert set(artifact.files) == {MODEL, WEIGHTS}
    description = spec_of(artifact.files).description
    [given], [answer] = description.input, description.output
    assert (given.name, answer.name) == ("input", "logits")
    assert tuple(given.type.multiArrayType.shape) == (1, *data().shape)
    assert tuple(answer.type.multiArrayType.shape) == (1, data().classes)
    assert not description.metadata.userDefined
    weights = [p.detach().numpy() for p in folded(network().module).parameters()]
    assert weights
    held = [np.sort(array.ravel()) for array in constants_of(artifact.files).values() if array.dtype == stored]
    for wanted in weights:
        assert any(np.array_equal(array, np.sort(wanted.astype(stored).ravel())) for array in held), wanted.shape


def test_a_package_is_the_same_whatever_its_manifest_json_says(tmp_path: Path) -> None:
    import coremltools

    for name, content in exported("coreml").files.items():
        (tmp_path / name).write_bytes(content)
    one, other = (laid_out(tmp_path, tmp_path / f"{name}.mlpackage") for name in ("one", "other"))
    assert (one / "Manifest.json").read_bytes() == (other / "Manifest.json").read_bytes()
    (other / "Manifest.json").write_text("{}")
    assert taken_from(one) == taken_from(other) == exported("coreml").files
    assert coremltools.utils.load_spec(str(one)).description.output[0].name == "logits"  # coremltools finds its way by it
    with coreml.quiet():
        model = coremltools.models.MLModel(str(one), skip_model_load=True)
    assert Path(model.weights_dir).is_dir()


def test_without_coremltools_the_way_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "coremltools", None)
    with pytest.raises(Unavailable, match="coremltools is not installed") as caught:
        coreml.export(network().module, bench().input, calibration=bench().calibration)
    assert "littoral[coreml]" in caught.value.hint


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variant", "runtime", "options", "remark"),
    [
        ("coreml-fp16", "coreml", {"compute_units": "ALL"}, "Core ML did not run it"),
        ("tensorrt-int8", "tensorrt", {"precision": "int8", "batch": [1, 1, 32]}, "TensorRT did not run it"),
    ],
)
def test_a_manifest_says_that_its_runtime_did_not_run_it(
    variant: str, runtime: str, options: dict[str, object], remark: str
) -> None:
    manifest = packaged(variant).manifest
    assert (manifest.runtime, manifest.runtime_options) == (runtime, options)
    assert any(remark in said for said in manifest.remarks)
    assert manifest.accuracy > 0.8
    assert manifest.recipe.get("calibration") == ("minmax" if "int8" in variant else None)
    assert manifest.requires == ({} if runtime == "coreml" else {"opset": 18, "ir": 9})
    assert Manifest.decode(manifest.encode()) == manifest


def test_int8_for_tensorrt_is_symmetric_and_leaves_weights_and_biases_float() -> None:
    model = onnx.load_from_string(exported("tensorrt-int8").files["model.onnx"])
    held = arrays("tensorrt-int8")
    quantizers = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    assert len(quantizers) > 4
    for node in quantizers:
        if len(node.input) > 2 and node.input[2]:
            zero = held[node.input[2]]
            assert zero.dtype == np.int8
            assert not zero.any()
    assert not [name for name, array in held.items() if array.dtype == np.int32 and array.ndim == 1 and array.size > 8]
    assert any(array.dtype == np.float32 and array.ndim == 4 for array in held.values())


def test_full_range_has_weights_of_8_bits_and_says_what_it_requires() -> None:
    reduced, full = arrays("onnx-int8"), arrays("onnx-int8-full")
    widest = [
        max(int(np.abs(array.astype(int)).max()) for array in of.values() if array.dtype == np.int8 and array.ndim > 1)
        for of in (reduced, full)
    ]
    assert widest[0] <= 64
    assert widest[1] >= 127
    assert exported("onnx-int8").requires == {"opset": 18, "ir": 9}
    assert exported("onnx-int8-full").requires == {"opset": 18, "ir": 9, FULL_RANGE: 1}


def test_a_program_that_is_not_known_here_is_not_passed_over() -> None:
    class Odd(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.erf(x.flatten(1))

    artifact = coreml.export(Odd(), bench().input, calibration=bench().calibration)
    with pytest.raises(Exception, match="operation 'erf' is not known"):
        coreml.infer(artifact, bench().calibration[:1])
