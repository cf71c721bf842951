"""Each small spec is taught for some steps as the factory teaches: channels last in memory, AdamW under one cycle."""

from __future__ import annotations

import functools
import gzip
from pathlib import Path

import numpy as np
import pytest
import torch

from littoral.architectures import REGISTRY, build, small_spec
from littoral_cloud.data.dataset import Dataset, assemble
from littoral_cloud.training.schedule import Schedule, Step
from littoral_cloud.training.train import train_teacher

MNIST = Path(__file__).parents[3] / "data" / "mnist"
FEW = 256
EPOCHS = 5  # of 4 steps


@functools.cache
def few() -> Dataset:
    """The first images of MNIST, without reading all of it."""
    with gzip.open(MNIST / "train-images-idx3-ubyte.gz") as images, gzip.open(MNIST / "train-labels-idx1-ubyte.gz") as labels:
        images.seek(16)
        labels.seek(8)
        x = np.frombuffer(images.read(2 * FEW * 784), np.uint8).reshape(-1, 28, 28)
        y = np.frombuffer(labels.read(2 * FEW), np.uint8).astype(np.int64)
    return assemble("few", x[:FEW], y[:FEW], x[FEW:], y[FEW:])


@pytest.mark.parametrize("name", REGISTRY)
def test_twenty_steps_on_256_images_teach_it_something(name: str) -> None:
    """An untaught net's loss is log 10 = 2.3. Whoever corrupts memory or starves a branch does not come down, or not out."""
    losses: list[Step] = []
    schedule = Schedule(batch=64, learning_rate=1e-2)
    taught = train_teacher(few(), small_spec(name), epochs=EPOCHS, seed=1, schedule=schedule, progress=losses.append)
    values = [step.loss for step in losses]
    assert len(values) == EPOCHS * 4
    assert np.mean(values[-4:]) < 0.6 * np.mean(values[:4])
    assert all(torch.isfinite(value).all() for value in taught.module.state_dict().values())


@pytest.mark.parametrize("name", REGISTRY)
def test_every_parameter_hears_of_the_loss(name: str) -> None:
    torch.manual_seed(1)
    network = build(small_spec(name), channels=3, height=20, width=28, classes=5).to(memory_format=torch.channels_last)
    x = torch.randn(16, 3, 20, 28).contiguous(memory_format=torch.channels_last)
    loss = torch.nn.functional.cross_entropy(network(x), torch.arange(16) % 5)
    loss.backward()  # type: ignore[no-untyped-call]
    for name_of, parameter in network.named_parameters():
        assert parameter.grad is not None, name_of
        assert torch.isfinite(parameter.grad).all(), name_of
        assert parameter.grad.abs().max() > 0, name_of
