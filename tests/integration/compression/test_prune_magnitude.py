"""The smallest weights become zeros while training goes on, layer by layer, and stay zeros."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from littoral.architectures import build
from littoral.errors import BadInput
from littoral_cloud.compression.dependency_graph import dependency_graph_of, layers_of
from littoral_cloud.compression.magnitude_pruning import Gradual, Magnitude, counts_of, erk, pruned_mask_of, smallest
from littoral_cloud.compression.method import Method
from littoral_cloud.data.dataset import Dataset
from littoral_cloud.training.checkpoint import Checkpoints
from littoral_cloud.training.constraint import Constraint
from littoral_cloud.training.schedule import Progress, Schedule, Step
from littoral_cloud.training.seeding import computing
from littoral_cloud.training.train import Trained, accuracy_of, logits_of, train_teacher
from littoral_cloud.training.trainer import Trainer
from tests.kit.images import bars
from tests.kit.weights import sparsity_of

QUICK = Schedule(batch=16, learning_rate=1e-2)
SPEC = {"name": "compact_cnn", "widths": [8, 16]}
PLAN = Magnitude(4, QUICK, 3, sparsity=0.8)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with computing(1):
        yield


@pytest.fixture(scope="module")
def data() -> Dataset:
    return bars()


@pytest.fixture(scope="module")
def student(data: Dataset) -> Trained:
    return train_teacher(data, SPEC, epochs=3, seed=1, schedule=QUICK, name="net")


@pytest.fixture(scope="module")
def pruned(student: Trained, data: Dataset) -> Trained:
    return PLAN.apply(student, Trainer(data))


def stop_at(step: int) -> Progress:
    def progress(told: Step) -> None:
        if told.step == step:
            raise KeyboardInterrupt

    return progress


def test_eight_weights_in_ten_become_zero_and_the_network_still_knows(student: Trained, pruned: Trained, data: Dataset) -> None:
    weights = torch.cat([layer.weight.detach().reshape(-1) for layer in layers_of(pruned.module).values()])
    assert float((weights == 0).float().mean()) >= 0.799, "0.8, rounded layer by layer"
    assert not (torch.signbit(weights) & (weights == 0)).any(), "-0 is a symbol of its own to whoever counts bytes"
    assert accuracy_of(logits_of(pruned.module, pruned.input, data.test_x), data.test_y) >= 0.9
    assert (pruned.name, pruned.spec) == ("net", student.spec)


def test_the_student_it_was_given_is_not_changed(student: Trained, pruned: Trained) -> None:
    before = student.digest
    assert before != pruned.digest
    assert Trained.of("net", student.module, student.spec, student.input, 0.0).digest == before


def test_no_layer_runs_dry_and_small_layers_keep_more_of_themselves(student: Trained, data: Dataset) -> None:
    shares = sparsity_of(Magnitude(2, QUICK, 3, sparsity=0.95).apply(student, Trainer(data)).module)
    assert max(shares.values()) < 1
    assert shares["features.conv2"] > shares["features.conv1"]
    assert shares["features.conv2"] > shares["classify"]


def test_each_layer_can_be_told_what_it_keeps(student: Trained, data: Dataset) -> None:
    pruned = Magnitude(2, QUICK, 3, keep={"features.conv2": 200, "classify": 0.5}).apply(student, Trainer(data))
    left = {name: int((layer.weight != 0).sum()) for name, layer in layers_of(pruned.module).items()}
    assert 150 < left["features.conv2"] <= 200
    assert left["classify"] <= 24
    assert left["features.conv1"] >= 60, "not named, no sparsity: it stays but for what nobody reads"


@pytest.mark.parametrize("stopped_at", [1, 9, 28, 29, 40, 48])
def test_a_pruning_that_is_stopped_ends_with_the_same_weights(
    student: Trained, pruned: Trained, data: Dataset, tmp_path: Path, stopped_at: int
) -> None:
    kept = Checkpoints(tmp_path, every=1)
    with pytest.raises(KeyboardInterrupt):
        PLAN.apply(student, Trainer(data, checkpoints=kept, progress=stop_at(stopped_at)))
    assert (tmp_path / "net-magnitude.safetensors").is_file()
    told: list[int] = []
    again = PLAN.apply(student, Trainer(data, checkpoints=kept, progress=lambda step: told.append(step.step)))
    assert told == list(range(stopped_at + 1, 49))
    assert again.digest == pruned.digest


@pytest.mark.slow
def test_kill_9_in_the_middle_of_a_pruning_changes_nothing(pruned: Trained, tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from littoral_cloud.training.checkpoint import Checkpoints\n"
        "from littoral_cloud.training.schedule import Schedule\n"
        "from littoral_cloud.training.trainer import Trainer\n"
        "from littoral_cloud.compression.magnitude_pruning import Magnitude\n"
        "from littoral_cloud.training.train import train_teacher\n"
        "from tests.kit.images import bars\n"
        "quick = Schedule(batch=16, learning_rate=1e-2)\n"
        "net = train_teacher(bars(), {'name': 'compact_cnn', 'widths': [8, 16]}, epochs=3, seed=1, schedule=quick, name='net')\n"
        "die = lambda step: os.kill(os.getpid(), signal.SIGKILL) if step.step == int(sys.argv[2]) else None\n"
        "trainer = Trainer(bars(), checkpoints=Checkpoints(Path(sys.argv[1]), every=4), progress=die)\n"
        "print(Magnitude(4, quick, 3, sparsity=0.8).apply(net, trainer).digest)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(tmp_path), "23"], capture_output=True, text=True, check=False)
    assert killed.returncode == -9, killed.stderr
    resumed = subprocess.run([sys.executable, "-c", program, str(tmp_path), "0"], capture_output=True, text=True, check=True)
    assert resumed.stdout.strip() == pruned.digest


def test_zeros_rise_with_the_cube_of_the_time_left_then_stay() -> None:
    net = build({"name": "perceptron", "widths": [40, 30]}, channels=1, height=12, width=12, classes=3)
    size = net.get_parameter("layer1.weight").numel()
    gradual = Gradual({"layer1": size // 10}, 0.1, 0.6, 5, dependency_graph_of(net, (1, 12, 12)))
    gradual.attach(net)
    zeros = []
    for step in range(1, 101):
        gradual.before_step(net, step, 100)
        with torch.no_grad():
            net.get_parameter("layer1.weight").add_(0.001)
        gradual.after_step(net, step, 100)
        zeros.append(float((net.get_parameter("layer1.weight") == 0).float().mean()))
    assert zeros[9] == 0
    assert zeros[59] == pytest.approx(0.9, abs=0.01)
    assert set(zeros[59:]) == {zeros[59]}
    assert zeros[34] == pytest.approx(0.9 * (1 - 0.5**3), abs=0.01), "half of the time, seven eighths of the way"
    assert zeros == sorted(zeros)


def test_a_weight_that_was_pruned_too_early_comes_back() -> None:
    net = build({"name": "perceptron", "widths": [8, 8]}, channels=1, height=4, width=4, classes=3)
    gradual = Gradual({"layer2": 32}, 0.0, 1.0, 1, dependency_graph_of(net, (1, 4, 4)))
    gradual.attach(net)
    weight = net.get_parameter("layer2.weight")
    for step in range(1, 6):
        gradual.before_step(net, step, 10)
        gradual.after_step(net, step, 10)
    place = tuple((weight == 0).nonzero()[0])
    gradual.before_step(net, 6, 10)
    with torch.no_grad():
        weight[place] += 5.0  # the gradient under the mask wants it after all
    gradual.after_step(net, 6, 10)
    assert weight[place] > 4


def test_what_is_zero_stays_zero_under_another_training(pruned: Trained, data: Dataset) -> None:
    module = copy.deepcopy(pruned.module)
    before = {name: layer.weight == 0 for name, layer in layers_of(module).items()}
    constraint: Constraint = pruned_mask_of(module)
    Trainer(data).teach(module, name="again", epochs=2, schedule=QUICK, seed=9, constraint=constraint)
    for name, layer in layers_of(module).items():
        assert (layer.weight[before[name]] == 0).all()
        assert (layer.weight[~before[name]] != 0).all()


def test_two_masks_have_two_keys() -> None:
    net = build(SPEC, channels=1, height=12, width=12, classes=3)
    first = pruned_mask_of(net).key
    with torch.no_grad():
        net.get_parameter("classify.weight")[0, 0] = 0
    assert pruned_mask_of(net).key != first == first


def test_it_is_a_method_whose_settings_are_json() -> None:
    method: Method = Magnitude(2, QUICK, 1, sparsity=0.5, keep={"classify": 3})
    assert json.loads(json.dumps(method.resolved()))["keep"] == {"classify": 3}
    assert method.resolved()["kind"] == method.kind == "magnitude"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "neither sparsity nor keep"),
        ({"sparsity": 1.0}, "magnitude.sparsity: 1.0"),
        ({"sparsity": float("nan")}, "magnitude.sparsity: nan"),
        ({"sparsity": 0.5, "begin": 0.6}, "begin 0.6, end 0.6"),
        ({"sparsity": 0.5, "end": 1.2}, "end 1.2"),
        ({"sparsity": 0.5, "every": 0}, "magnitude.every: 0"),
    ],
)
def test_a_setting_out_of_range_is_named(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        Magnitude(1, QUICK, 1, **settings)


@pytest.mark.parametrize(
    ("keep", "words"),
    [
        ({"features.conv3": 5}, "no layer 'features.conv3' .*features.conv"),
        ({"features.norm1": 5}, "no layer 'features.norm1'"),
        ({"classify": 0}, "keep.classify: 0 of 48"),
        ({"classify": 49}, "49 of 48"),
        ({"classify": 1.5}, "1.5 of 48"),
        ({"classify": -0.5}, "-0.5 of 48"),
        ({"classify": True}, "keep.classify: True"),
        ({"classify": float("inf")}, "keep.classify: inf"),
        ({"classify": "half"}, "keep.classify: 'half'"),
    ],
)
def test_a_share_that_does_not_fit_the_network_names_the_layer(keep: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        counts_of(build(SPEC, channels=1, height=12, width=12, classes=3), None, keep)


@given(
    st.dictionaries(st.text(min_size=1), st.lists(st.integers(1, 40), min_size=2, max_size=4).map(tuple), min_size=1, max_size=8),
    st.floats(0.01, 1.0),
)
@settings(max_examples=200, deadline=None)
def test_the_shares_of_layers_add_up_and_none_is_empty(shapes: dict[str, tuple[int, ...]], density: float) -> None:
    counts = erk(shapes, density)
    sizes = {name: int(np.prod(shape)) for name, shape in shapes.items()}
    assert counts.keys() == shapes.keys()
    assert all(1 <= counts[name] <= sizes[name] for name in shapes)
    assert abs(sum(counts.values()) - density * sum(sizes.values())) <= len(shapes) + 1e-6 * sum(sizes.values())


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=60), st.data())
@settings(max_examples=100, deadline=None)
def test_exactly_so_many_weights_go_and_none_is_larger_than_one_that_stays(values: list[float], draw: st.DataObject) -> None:
    weight = torch.tensor(values)
    count = draw.draw(st.integers(0, len(values)))
    gone = smallest(weight, count)
    assert int(gone.sum()) == count
    if 0 < count < len(values):
        assert weight[gone].abs().max() <= weight[~gone].abs().min()
