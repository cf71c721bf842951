"""Optimal Brain Damage: so many weights are left, the loss hardly notices, and kill -9 changes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from littoral.errors import BadInput
from littoral_cloud.compression.dependency_graph import layers_of
from littoral_cloud.compression.saliency_pruning import Saliency
from littoral_cloud.training.checkpoint import Checkpoints
from littoral_cloud.training.schedule import Schedule, Step
from littoral_cloud.training.train import accuracy_of, logits_of, train_teacher
from littoral_cloud.training.trainer import Trainer
from littoral_cloud.training.weights import weights_digest
from tests.kit.images import bars

SPEC = {"name": "lenet_300_100", "hidden": [24, 12]}
QUICK = Schedule(batch=16, learning_rate=1e-2)


def left(module: torch.nn.Module) -> int:
    return sum(int((layer.weight != 0).sum()) for layer in layers_of(module).values())


def test_a_tenth_of_the_weights_does_nearly_what_all_did() -> None:
    data = bars(600)
    student = train_teacher(data, SPEC, epochs=3, seed=1, schedule=QUICK)
    pruned = Saliency(epochs=4, schedule=QUICK, seed=2, keep=0.1, every=5).apply(student, Trainer(data))
    total = sum(layer.weight.numel() for layer in layers_of(student.module).values())
    assert 0 < left(pruned.module) <= round(0.1 * total)
    assert left(student.module) > 0.9 * total  # the one before it is as it was
    assert accuracy_of(logits_of(pruned.module, pruned.input, data.test_x), data.test_y) > 0.9
    assert not any((layer.weight == 0).logical_and(layer.weight.signbit()).any() for layer in layers_of(pruned.module).values())


def test_what_is_gone_stays_gone_in_a_second_pruning() -> None:
    data = bars()
    student = train_teacher(data, SPEC, epochs=1, seed=1, schedule=QUICK)
    once = Saliency(epochs=1, schedule=QUICK, seed=2, keep=600, every=3).apply(student, Trainer(data))
    twice = Saliency(epochs=1, schedule=QUICK, seed=3, keep=300, every=3).apply(once, Trainer(data))
    for name, layer in layers_of(twice.module).items():
        assert not ((layer.weight != 0) & (layers_of(once.module)[name].weight == 0)).any()
    assert left(twice.module) <= 300


@pytest.mark.parametrize("stopped_at", [4, 11, 24])
def test_a_pruning_that_is_stopped_ends_with_the_same_weights(tmp_path: Path, stopped_at: int) -> None:
    data = bars()
    student = train_teacher(data, SPEC, epochs=1, seed=1, schedule=QUICK)
    method = Saliency(epochs=2, schedule=QUICK, seed=2, keep=200, every=3)

    def stop(told: Step) -> None:
        if told.step == stopped_at:
            raise KeyboardInterrupt

    trainer = Trainer(data, checkpoints=Checkpoints(tmp_path, every=1))
    with pytest.raises(KeyboardInterrupt):
        method.apply(student, replace(trainer, progress=stop))
    assert method.apply(student, trainer).digest == method.apply(student, Trainer(data)).digest != weights_digest(student.module)


def test_settings_that_cannot_be_are_refused() -> None:
    for keep in (0, -1, 1.0, 1.5, True):
        with pytest.raises(BadInput, match=r"saliency\.keep"):
            Saliency(epochs=1, schedule=QUICK, seed=1, keep=keep)
    with pytest.raises(BadInput, match="end 2"):
        Saliency(epochs=1, schedule=QUICK, seed=1, keep=5, end=2)
    data = bars()
    student = train_teacher(data, SPEC, epochs=1, seed=1, schedule=QUICK)
    with pytest.raises(BadInput, match=r"saliency\.keep: 999999 of"):
        Saliency(epochs=1, schedule=QUICK, seed=1, keep=999_999).apply(student, Trainer(data))
