"""Execution providers: which are tried, what a machine has, what really ran."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest

from littoral.decoder import decode
from littoral.errors import BadInput, RuntimeFailure
from littoral_node.client.doctor import Verdict, runtime_findings
from littoral_node.config.settings import load_settings
from littoral_node.machine.runtime_facts import Missing, RuntimeFacts
from littoral_node.runtimes import REGISTRY, facts, load, ncnn_runtime, onnx_limits, onnx_runtime, ran_on, tensorrt_runtime
from littoral_node.runtimes.facts import looked_up
from littoral_node.runtimes.onnx_providers import wanted
from littoral_node.runtimes.using import SAFE, VARIABLE, Using, in_use, settle_on
from tests.kit.models import artifact
from tests.kit.stand_ins import TENSORRT, with_provider

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")


def test_what_is_allowed_and_built_is_tried_in_order_and_the_cpu_last(tmp_path: Path) -> None:
    built = [TENSORRT, CUDA, CPU]
    assert [name for name, _ in wanted(SAFE, built, tmp_path)] == [CUDA, CPU]
    assert [name for name, _ in wanted(("tensorrt", "cuda", "cpu"), built, tmp_path)] == [TENSORRT, CUDA, CPU]
    assert wanted(("cpu",), built, tmp_path) == [(CPU, {})]
    assert wanted(("vulkan", "coreml", "cpu"), built, tmp_path) == [(CPU, {})]


def test_settings_say_what_is_allowed(tmp_path: Path) -> None:
    assert load_settings(tmp_path, {}, {}).providers == SAFE
    assert load_settings(tmp_path, {"providers": "tensorrt,cuda"}, {}).providers == ("tensorrt", "cuda", "cpu")
    assert load_settings(tmp_path, {"providers": "cpu"}, {}).providers == ("cpu",)
    with pytest.raises(BadInput, match="--providers: 'gpu' is not known"):
        load_settings(tmp_path, {"providers": "gpu"}, {})


def test_what_was_settled_on_is_what_children_use(tmp_path: Path) -> None:
    assert in_use() == Using()
    settle_on(Using(("cuda",), tmp_path))
    assert in_use(dict(os.environ)) == Using(("cuda", "cpu"), tmp_path)


def test_a_session_says_what_ran_whatever_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle_on(Using(("cuda",), None))
    for works, ran in ((True, ("cuda", "cpu")), (False, ("cpu",))):
        asked: list[Any] = []
        monkeypatch.setitem(sys.modules, "onnxruntime", with_provider(CUDA, works=works, said=asked))
        model = load(artifact(tmp_path), tmp_path, 1)
        assert ran_on(model) == ran
        assert [name for name, _ in asked[-1]] == [CUDA, CPU]
        assert asked[-1][0][1]["use_tf32"] == "0"
        model.close()


def test_a_provider_that_fails_with_a_model_leaves_it_to_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = with_provider(CUDA)
    session = stand_in.InferenceSession

    def only_cpu(source: Any, options: Any, providers: list[tuple[str, dict[str, str]]]) -> Any:
        if len(providers) > 1:
            raise RuntimeError("CUDA out of memory")
        return session(source, options, providers)

    stand_in.InferenceSession = only_cpu
    monkeypatch.setitem(sys.modules, "onnxruntime", stand_in)
    settle_on(Using(("cuda",), None))
    assert ran_on(load(artifact(tmp_path), tmp_path, 1)) == ("cpu",)


def test_the_highest_onnx_is_what_this_onnxruntime_loads() -> None:
    assert onnx.load_from_string(onnx_limits.tiny(9, 18)).opset_import[0].version == 18
    onnx.checker.check_model(onnx.load_from_string(onnx_limits.tiny(9, 18)))
    found = onnx_runtime.look()
    for ir, opset, loads in (
        (found.highest_ir, found.highest_opset, True),
        (found.highest_ir + 1, found.highest_opset, False),
        (found.highest_ir, found.highest_opset + 1, False),
    ):
        model, options = onnx_limits.tiny(ir, opset), onnx_runtime.session_options(onnxruntime, 1)
        try:
            onnxruntime.InferenceSession(model, options, providers=[CPU])
            loaded = True
        except Exception:
            loaded = False
        assert loaded == loads, (ir, opset)
    assert onnx_limits.highest(lambda _: False) == (0, 0)


def test_a_provider_counts_only_where_a_session_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    settle_on(Using(("cuda",), None))
    for works in (True, False):
        monkeypatch.setitem(sys.modules, "onnxruntime", with_provider(CUDA, works=works))
        found = onnx_runtime.look()
        assert found.devices == (("cuda", "cpu") if works else ("cpu",))
        lacking = {missing.name: missing for missing in found.lacking}
        assert ("onnxruntime cuda" in lacking) == (not works)
        assert "was built without" in lacking["onnxruntime coreml"].reason
    assert "does not work here" in lacking["onnxruntime cuda"].reason
    settle_on(Using(("cpu",), None))
    monkeypatch.setitem(sys.modules, "onnxruntime", with_provider(CUDA))
    [cuda] = [missing for missing in onnx_runtime.look().lacking if missing.name == "onnxruntime cuda"]
    assert "not among the providers that this node allows" in cuda.reason
    assert "--providers cuda,cpu" in cuda.way_out


def test_vulkan_is_used_where_ncnn_finds_a_gpu_and_the_node_allows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "ncnn vulkan" in {missing.name for missing in ncnn_runtime.look().lacking}
    monkeypatch.setattr(ncnn_runtime, "gpu_count", lambda: 1)
    assert ncnn_runtime.look().devices == ("vulkan", "cpu")
    settle_on(Using(("cpu",), None))
    assert ncnn_runtime.look().devices == ("cpu",)
    assert "--providers vulkan,cpu" in ncnn_runtime.look().lacking[0].way_out


def test_tensorrt_is_told_precision_batches_and_where_its_engines_stay(tmp_path: Path) -> None:
    manifest = artifact(tmp_path, "tensorrt")
    found = tensorrt_runtime.provider_options(manifest, tmp_path / "kept")
    assert (found["trt_fp16_enable"], found["trt_int8_enable"]) == ("1", "0")
    assert found["trt_profile_min_shapes"] == "x:1x1x4x4"
    assert found["trt_profile_opt_shapes"] == "x:1x1x4x4"
    assert found["trt_profile_max_shapes"] == "x:4x1x4x4"
    assert found["trt_engine_cache_enable"] == found["trt_timing_cache_enable"] == "1"
    assert Path(found["trt_engine_cache_path"]).is_dir()
    assert Path(found["trt_timing_cache_path"]).is_relative_to(tmp_path / "kept")
    int8 = replace(manifest, runtime_options={"precision": "int8", "batch": [1, 8, 16]})
    assert tensorrt_runtime.provider_options(int8, None)["trt_int8_enable"] == "1"
    for wrong in ({"precision": "fp8"}, {"batch": [2, 4, 8]}, {"batch": [1, 8, 4]}, {"batch": "many"}):
        with pytest.raises(RuntimeFailure, match=f"runtime_options.{next(iter(wrong))}"):
            tensorrt_runtime.provider_options(replace(manifest, runtime_options=wrong), None)


def test_an_artifact_for_tensorrt_is_not_run_on_the_cpu_instead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = artifact(tmp_path, "tensorrt")
    monkeypatch.setitem(sys.modules, "onnxruntime", with_provider(TENSORRT, works=False))
    with pytest.raises(RuntimeFailure, match="fell back to cpu"):
        load(manifest, tmp_path, 1)
    with pytest.raises(RuntimeFailure, match="does not work here"):
        tensorrt_runtime.look()
    monkeypatch.setitem(sys.modules, "onnxruntime", with_provider(CUDA))
    with pytest.raises(RuntimeFailure, match=r"not available: onnxruntime .* was built without Tensorrt") as caught:
        load(manifest, tmp_path, 1)
    assert "pip install onnxruntime-gpu" in caught.value.hint


def test_facts_come_back_from_a_child_as_they_were() -> None:
    found = RuntimeFacts("1.2", 10, 21, ("cuda", "cpu"), (Missing("a", "b", "c"),))
    assert decode(RuntimeFacts, json.loads(json.dumps(asdict(found))), "facts") == found
    assert facts()["onnxruntime"].version == onnxruntime.__version__


@pytest.mark.parametrize(
    ("library", "reason"),
    [
        ("import os; os.abort()", "its import ended with SIGABRT (is it built for this machine?)"),
        (
            "import os, sys; print('of the library'); sys.stdout.flush(); os._exit(7)",
            "its import ended with exit code 7: of the library (is it built for this machine?)",
        ),
        ("raise OSError('libfoo.so.1 is not there')", "cannot be imported: libfoo.so.1 is not there"),
    ],
)
def test_a_library_that_ends_its_process_hides_no_other(
    library: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = facts()["onnxruntime"]  # remembered from now on: the broken library is only for what follows
    (tmp_path / "ncnn.py").write_text(library)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    found = looked_up(("ncnn", "onnxruntime"))
    assert found["ncnn"] == (None, reason)
    assert found["onnxruntime"] == (here, "")


def test_doctor_names_every_runtime_and_provider_with_a_reason_and_a_way() -> None:
    findings = runtime_findings()
    for name in REGISTRY:
        [said] = [f for f in findings if f.check == "runtime" and f.detail.startswith(name)]
        assert ("not available: " in said.detail) == (said.verdict is not Verdict.OK)
        assert (said.verdict is Verdict.OK) == (name in facts())
        assert said.hint or said.verdict is Verdict.OK
    lacking = [f for f in findings if f.check == "provider"]
    here = set(facts()["onnxruntime"].devices) | set(facts()["ncnn"].devices)
    for provider in {"tensorrt", "cuda", "coreml", "vulkan"} - here:
        [said] = [f for f in lacking if f": {provider}" in f.detail or f" {provider}:" in f.detail]
        assert "not available: " in said.detail
        assert said.hint
