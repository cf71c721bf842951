"""A node learns from rows of a table and from series as it does from images: the same message, the same labelled folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, RecordDict

from littoral.architectures import build, sizes_of
from littoral.errors import BadData
from littoral_cloud.data.dataset import Dataset
from littoral_cloud.federation.server_app import initial_arrays, train_config
from littoral_cloud.federation.worker import run_config_of
from littoral_cloud.training.preparation import input_of
from littoral_node.federation.labelled import read_labelled, split
from littoral_node.federation.task import task_from
from littoral_node.federation.training import LocalSchedule, judge, train
from tests.kit.federation import small_run
from tests.kit.measured import series, table

SERIES = {"name": "depthwise_1d", "stem": 8, "stem_kernel": 5, "widths": [8], "kernels": [5], "last": [8], "dilation": 1}


def config_of(data: Dataset, architecture: dict[str, Any]) -> dict[str, Any]:
    given = input_of(data)
    about = {"shape": given.shape, "scale": given.scale, "mean": given.mean, "std": given.std}
    run = run_config_of(small_run("r", "sha256:" + "0" * 64))
    return {**run, "input": json.dumps(about), "architecture": json.dumps(architecture), "classes": data.classes}


@pytest.mark.parametrize(
    ("data", "architecture"), [(table(), {"name": "perceptron", "widths": [8]}), (series(), SERIES)], ids=["table", "series"]
)
def test_a_round_teaches_rows_of_a_table_and_series(tmp_path: Path, data: Dataset, architecture: dict[str, Any]) -> None:
    np.savez(tmp_path / "a.npz", x=data.train_x.astype(np.float64), y=data.train_y)
    config = config_of(data, architecture)
    record = train_config(config)
    record["server-round"] = 1
    task = task_from(record)
    net = build(task.architecture, **sizes_of(task.architecture, task.input.shape), classes=task.classes)
    net.load_state_dict(initial_arrays(Context(1, 1, {}, RecordDict(), config)).to_torch_state_dict())
    (x, y), (held_x, held_y) = split(*read_labelled(tmp_path, task.input.shape))
    assert x.dtype == np.float32
    before, _ = judge(net, task.prepare(held_x), held_y)
    train(net, task.prepare(x), y, LocalSchedule(10, 1e-2, 16, 1, freeze_head=False))
    assert judge(net, task.prepare(held_x), held_y)[0] < 0.7 * before


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (np.full((5, 5), np.nan), r"x holds a value that is not finite: nan, is x\[0, 0\]"),
        (np.diag([0, 1e39, 0, 0, 0]), r"not finite: 1e\+39, which float32 cannot hold, is x\[1, 1\]"),
        (np.full((5, 5), 1e39, np.longdouble), r"which float32 cannot hold"),
        (np.zeros((5, 4)), r"one example has shape \(4,\), the model takes \(5,\)"),
        (np.array([["a"] * 5] * 5), "x must be numbers, is <U1"),
    ],
)
def test_rows_that_are_none_are_refused_by_the_file(tmp_path: Path, x: np.ndarray, said: str) -> None:
    np.savez(tmp_path / "a.npz", x=x, y=np.zeros(5, int))
    with pytest.raises(BadData, match=rf"a\.npz: .*{said}"):
        read_labelled(tmp_path, (5,))


def test_a_value_that_overflows_once_it_is_prepared_is_refused() -> None:
    data = table()
    record = train_config(config_of(data, {"name": "perceptron", "widths": [8]}))
    record["server-round"] = 1
    task = task_from({**record, "input": json.dumps({"shape": [5], "scale": 1.0, "mean": [0.0], "std": [1e-3]})})
    x = np.zeros((4, 5), np.float32)
    assert np.isfinite(task.prepare(x)).all()
    x[2, 3] = 3e38
    with pytest.raises(BadData, match=r"3.*e\+38 in example 2 is not finite in float32 once it is prepared"):
        task.prepare(x)
