from __future__ import annotations

import dataclasses
from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from littoral.errors import BadInput
from littoral_cloud.training.augmentation import moved
from littoral_cloud.training.one_cycle import one_cycle
from littoral_cloud.training.preparation import input_of
from littoral_cloud.training.schedule import Schedule, Step
from littoral_cloud.training.seeding import seeded
from littoral_cloud.training.train import accuracy_of, distil, logits_of, train_teacher
from littoral_cloud.training.trainer import Trainer, TrainingDiverged
from tests.kit.images import bars

SPEC = {"name": "compact_cnn", "widths": [8, 16]}
QUICK = Schedule(batch=16, learning_rate=1e-2)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    data = bars()
    digests = [train_teacher(data, SPEC, epochs=1, seed=seed, schedule=QUICK).digest for seed in (1, 1, 2)]
    assert digests[0] == digests[1] != digests[2]


def test_training_leaves_the_callers_generator_and_threads_alone() -> None:
    torch.manual_seed(5)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    train_teacher(bars(), SPEC, epochs=1, seed=1, schedule=QUICK, threads=2)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_a_teacher_learns_and_a_student_learns_from_its_logits_alone() -> None:
    data = bars(600)
    teacher = train_teacher(data, SPEC, epochs=4, seed=1, schedule=QUICK)
    assert accuracy_of(logits_of(teacher.module, teacher.input, data.test_x), data.test_y) > 0.9
    logits = logits_of(teacher.module, teacher.input, data.train_x)
    assert logits.shape == (480, 3)
    wrong = dataclasses.replace(data, train_y=(data.train_y + 1) % 3)  # labels that must not matter
    student = distil(
        wrong, logits, {"name": "compact_cnn", "widths": [4, 8]}, epochs=6, seed=2, alpha=0.0, beta=1.0, schedule=QUICK
    )
    assert accuracy_of(logits_of(student.module, student.input, data.test_x), data.test_y) > 0.8


def test_every_step_is_told_once_and_in_order() -> None:
    told: list[Step] = []
    train_teacher(bars(), SPEC, epochs=2, seed=1, schedule=QUICK, progress=told.append)
    assert [step.step for step in told] == list(range(1, 25))
    assert {(step.name, step.steps) for step in told} == {("teacher", 24)}


def test_a_loss_that_is_not_a_number_stops_and_names_the_step() -> None:
    data = bars()
    logits = np.zeros((len(data.train_y), 3), np.float32)
    logits[:] = np.nan
    with pytest.raises(TrainingDiverged, match="pupil: the loss is nan at step 1 of 12") as stopped:
        distil(data, logits, SPEC, epochs=1, seed=1, name="pupil", schedule=QUICK)
    assert stopped.value.hint == "lower the learning rate, or look at the data"  # no checkpoint is spoken of: there is none


def test_wrong_settings_are_refused() -> None:
    data = bars()
    with pytest.raises(BadInput, match="logits have shape"):
        distil(data, np.zeros((3, 3), np.float32), SPEC, epochs=1, seed=1)
    with pytest.raises(BadInput, match="temperature 0"):
        distil(data, np.zeros((192, 3), np.float32), SPEC, epochs=1, seed=1, temperature=0)
    with pytest.raises(BadInput, match="epochs is 0"):
        train_teacher(data, SPEC, epochs=0, seed=1)
    with pytest.raises(BadInput, match="learning_rate=99"):
        Schedule(learning_rate=99)
    with pytest.raises(BadInput, match=r"schedule\.optimiser: 'adam'"):
        Schedule(optimiser="adam")  # type: ignore[arg-type]


def test_gradient_descent_with_momentum_goes_as_written_by_hand() -> None:
    """One image, a linear net: w is moved by rate * (gradient + momentum * sum of earlier ones), Nesterov's way."""
    data = bars()
    one = replace(data, train_x=data.train_x[:2], train_y=data.train_y[:2])
    plan = Schedule(batch=2, learning_rate=0.5, weight_decay=0.0, optimiser="sgd")
    with seeded(4):
        net = nn.Sequential(OrderedDict(flat=nn.Flatten(), classify=nn.Linear(144, 3)))
    weight = net.classify.weight.detach().double().clone()
    bias = net.classify.bias.detach().double().clone()
    x = torch.from_numpy(input_of(one).prepare(one.train_x)).double().flatten(1)
    wanted = nn.functional.one_hot(torch.from_numpy(one.train_y), 3).double()
    speed = [torch.zeros_like(weight), torch.zeros_like(bias)]
    for step in range(1, 7):
        wrong = (torch.softmax(x @ weight.T + bias, 1) - wanted) / 2
        rate, momentum = one_cycle(step, 6, 0.5)
        for parameter, gradient, held in zip((weight, bias), (wrong.T @ x, wrong.sum(0)), speed, strict=True):
            held.mul_(momentum if step > 1 else 0.0).add_(gradient)
            parameter.sub_(rate * (gradient + momentum * held))
    Trainer(one).teach(net, name="net", epochs=6, schedule=plan, seed=1)
    assert torch.allclose(net.classify.weight.detach().double(), weight, atol=1e-5)
    assert torch.allclose(net.classify.bias.detach().double(), bias, atol=1e-5)


def test_inputs_are_prepared_by_the_training_images_mean_and_deviation() -> None:
    data = bars(channels=3)
    prepared = input_of(data).prepare(data.train_x)
    assert np.allclose(prepared.mean(axis=(0, 2, 3)), 0, atol=1e-3)
    assert np.allclose(prepared.std(axis=(0, 2, 3)), 1, atol=1e-3)


@pytest.mark.parametrize(("down", "right"), [(0, 0), (1, -1), (-2, 0), (9, 9)])
def test_moved_images_get_black_where_nothing_was(down: int, right: int) -> None:
    raw = np.arange(1, 10, dtype=np.uint8).reshape(1, 1, 3, 3)
    there = moved(raw, down, right)
    for y in range(3):
        for x in range(3):
            inside = 0 <= y - down < 3 and 0 <= x - right < 3
            assert there[0, 0, y, x] == (raw[0, 0, y - down, x - right] if inside else 0)
