"""What the factory's tables are made with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from bench.factory import hinton
from bench.factory.__main__ import ORDER, TABLES
from bench.factory.deep_compression import DENSE_BYTES, PUBLISHED, plans
from bench.factory.kept import Kept
from bench.factory.specs import ARCHITECTURES
from littoral.architectures import REGISTRY, build
from littoral_cloud.data.sources import load_mnist
from littoral_cloud.training.schedule import Schedule
from littoral_cloud.training.weights import parameters_of


def test_the_weight_constraint_bounds_what_goes_into_a_hidden_unit() -> None:
    net = hinton.Net(20, 8, 3, 0.2, 0.5)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(50)
    head = net.classify.weight.clone()
    hinton.MaxNorm(2.0).after_step(net, 1, 1)
    for layer in (net.layer1, net.layer2):
        assert layer.weight.norm(dim=1).max() <= 2.0001
    assert torch.equal(net.classify.weight, head)


def test_hintons_student_learns_from_soft_answers(tmp_path: Path) -> None:
    data = load_mnist().first(600, 200)
    kept = Kept("hinton", root=tmp_path)
    fast = Schedule(batch=25, learning_rate=5e-3, weight_decay=0.0)
    teacher = replace(hinton.TEACHER, hidden=64, epochs=5, dropout_hidden=0.1, schedule=fast)
    student = replace(hinton.DISTILLED, hidden=32, epochs=5, schedule=fast)
    _, answer = hinton.train(data, teacher, 1, name="teacher", kept=kept)
    _, learnt = hinton.train(data, student, 1, name="student", kept=kept, answers=answer(data.train_x))
    assert hinton.errors(learnt(data.test_x), data.test_y) < 80  # of 200; guessing makes 180
    assert kept.watch.of("student") > 0


def test_all_is_every_table_once_and_after_the_teacher_whose_answers_it_needs() -> None:
    made = [part[0] for group in ORDER for part in group if len(part) == 1]
    assert sorted(made) == sorted(TABLES)
    together = [{part[0] for part in group} for group in ORDER if len(group) > 1]
    assert not any(group & {"throughput", "pruning"} for group in together)  # they take times
    assert ("teacher",) in ORDER[0]


def test_every_architecture_has_its_rows() -> None:
    assert set(ARCHITECTURES) == set(REGISTRY) - {"depthwise_1d", "linear"}  # for series; solved for, not taught


def test_the_dense_networks_are_those_that_the_paper_counts() -> None:
    for net, size in DENSE_BYTES.items():
        assert 4 * parameters_of(build({"name": net}, channels=1, height=28, width=28, classes=10)) == size


def test_each_paper_has_one_row_that_counts_and_one_without_teacher_and_moved_copies() -> None:
    for net in PUBLISHED:
        rows = [plan for plan in plans(full=True) if plan.net == net]
        assert [plan.goal for plan in rows].count(True) == 1
        assert any(not plan.teacher and plan.schedule.augment is None for plan in rows)
        assert [plan for plan in plans(full=False) if plan.net == net and plan.goal]
    assert len({plan.name for plan in plans(full=True)}) == len(plans(full=True))
