from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from littoral.architectures import build
from littoral.errors import BadInput, NotFound
from littoral_cloud.training.weights import (
    arrays_from,
    arrays_of,
    load_weights,
    module_of,
    save_weights,
    weights_bytes,
    weights_digest,
)

SPEC = {"name": "compact_cnn", "widths": [4, 8]}
SIZE = {"channels": 1, "height": 8, "width": 8, "classes": 3}


def network() -> torch.nn.Module:
    return build(SPEC, **SIZE)


def test_what_was_saved_is_loaded_and_named_by_its_digest(tmp_path: Path) -> None:
    module = network()
    digest = save_weights(tmp_path / "w.safetensors", module, SPEC)
    assert digest == weights_digest(module)
    arrays, spec = load_weights(tmp_path / "w.safetensors")
    assert spec == SPEC
    again = module_of(spec, arrays, **SIZE)
    assert weights_digest(again) == digest
    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(again(x), module.eval()(x))


def test_a_pickled_file_is_refused_before_anything_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save(network().state_dict(), path)
    with pytest.raises(BadInput, match=r"w\.pt is a pickled torch file, which is never loaded") as refused:
        load_weights(path)
    assert "safetensors" in refused.value.hint


def test_a_damaged_file_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, network(), SPEC)
    whole = path.read_bytes()
    for data in (b"", whole[:20], whole[:-7], b"\xff" * 64):
        path.write_bytes(data)
        with pytest.raises(BadInput, match=r"w\.safetensors is damaged"):
            load_weights(path)
    with pytest.raises(NotFound):
        load_weights(tmp_path / "none")


@given(st.binary(max_size=200), st.binary(max_size=40), st.integers(0, 1 << 62))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_bytes_a_file_holds_it_is_refused_by_name(tmp_path: Path, body: bytes, header: bytes, length: int) -> None:
    path = tmp_path / "w.safetensors"
    for data in (body, length.to_bytes(8, "little") + header + body, len(header).to_bytes(8, "little") + header):
        path.write_bytes(data)
        with pytest.raises(BadInput, match=r"w\.safetensors"):
            load_weights(path)


@pytest.mark.parametrize("said", ["5", "null", "[]", '"compact_cnn"'])
def test_an_architecture_that_is_no_object_is_refused(tmp_path: Path, said: str) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(weights_bytes(arrays_of(network()), {"architecture": said}))
    with pytest.raises(BadInput, match="where its architecture should be"):
        load_weights(path)


def test_a_file_that_cannot_be_read_or_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match=r"file/w\.safetensors cannot be written: Not a directory"):
        save_weights(tmp_path / "file" / "w.safetensors", network(), SPEC)
    (tmp_path / "folder").mkdir()
    with pytest.raises(BadInput, match="folder cannot be written: Is a directory"):
        save_weights(tmp_path / "folder", network(), SPEC)
    with pytest.raises(BadInput, match="folder cannot be read: Is a directory"):
        load_weights(tmp_path / "folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_weights_without_their_architecture_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(weights_bytes(arrays_of(network())))
    with pytest.raises(BadInput, match="does not say which architecture"):
        load_weights(path)
    assert set(arrays_from(path.read_bytes())) == set(network().state_dict())


def test_arrays_that_are_not_this_networks_are_refused_by_name() -> None:
    arrays = arrays_of(network())
    with pytest.raises(BadInput, match=r"weights\.classify\.bias: is missing"):
        module_of(SPEC, {k: v for k, v in arrays.items() if k != "classify.bias"}, **SIZE)
    with pytest.raises(BadInput, match=r"weights\.extra: is not part of compact_cnn"):
        module_of(SPEC, {**arrays, "extra": np.zeros(1)}, **SIZE)
    with pytest.raises(BadInput, match=r"weights\.classify\.bias: shape is \(5,\), compact_cnn has \(3,\)"):
        module_of(SPEC, {**arrays, "classify.bias": np.zeros(5, np.float32)}, **SIZE)
    with pytest.raises(BadInput, match=r"weights\.classify\.bias: holds a value that is not finite"):
        module_of(SPEC, {**arrays, "classify.bias": np.full(3, np.nan, np.float32)}, **SIZE)
