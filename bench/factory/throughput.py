"""Does the training loop waste the machine? Samples a second of Trainer.teach beside a bare PyTorch loop, for each architecture.

The bare loop is as lean as one can be: every prepared image lies in memory as float32, channels last, and a step is a gather,
forward, cross-entropy, backward and AdamW (fused); no schedule, no check for NaN, nobody told. Trainer.teach prepares raw pixels
itself, follows its cycle, checks the loss and tells its progress. Both run on one thread, turn about in the same
process; each round has both on the same number of steps, and a round's ratio is theirs. Seconds are the thread's own on the
processor: what else the machine does is not counted.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from bench.factory.kept import Kept, Row
from bench.factory.specs import ARCHITECTURES
from bench.factory.tables import Part, data
from bench.report import Figure, Table
from littoral.architectures import build
from littoral_cloud.training.preparation import input_of, tensor_of
from littoral_cloud.training.schedule import Schedule
from littoral_cloud.training.seeding import seeded
from littoral_cloud.training.trainer import Trainer

ROUNDS, ROUND_S, BATCH, EPOCHS = 21, 0.4, 128, 4
PLAN = Schedule(batch=BATCH)
CODE = (
    "bench.factory.throughput",
    "littoral_cloud.training.schedule",
    "littoral_cloud.training.trainer",
    "littoral_cloud.training.preparation",
    "littoral_cloud.training.augmentation",
    "littoral.manifest",
)


def made(*, full: bool) -> Part:
    kept = Kept("throughput")
    rows = {}
    for name, spec in ARCHITECTURES.items():
        settings = {"spec": spec, "rounds": ROUNDS, "round_s": ROUND_S, "batch": BATCH, "epochs": EPOCHS}
        rows[name] = kept.row(name, settings, CODE, lambda spec=spec: compared(spec))  # type: ignore[misc]
    ratios = {name: row["ratio"] for name, row in rows.items()}
    slowest = min(ratios, key=ratios.__getitem__)
    table = Table(
        "Training: samples a second beside a bare PyTorch loop",
        ("architecture", "parameters", "Trainer.teach", "bare loop", "ratio", "lowest round", "highest round"),
        [
            [name, r["parameters"], r["ours"], r["bare"], r["ratio"], min(r["rounds"]), max(r["rounds"])]
            for name, r in rows.items()
        ],
        (
            f"Batch {BATCH}, MNIST, one thread; {ROUNDS} rounds of about {ROUND_S} s of processor time each way, turn about;"
            " the median ratio.",
            "The bare loop has every prepared image in memory as float32, channels last; gather, forward, cross-entropy, "
            "backward, fused AdamW; no schedule, no check, nobody told.",
        ),
    )
    note = f"the lowest of {len(ratios)} architectures ({slowest}), each the median of {ROUNDS} rounds"
    figure = Figure.of(ratios[slowest], "ratio", "higher", note)
    return Part(table, {"training_throughput_ratio": figure}, kept.seconds)


def compared(spec: Mapping[str, Any]) -> Row:
    dataset = data()
    given = input_of(dataset)
    images, labels = tensor_of(given, dataset.train_x), torch.from_numpy(dataset.train_y.copy())
    channels, height, width = dataset.shape

    def fresh() -> nn.Module:
        with seeded(1):
            return build(spec, channels=channels, height=height, width=width, classes=dataset.classes)

    def ours(steps: int) -> float:
        """Seconds for so many steps in each epoch."""
        part = dataset.first(steps * BATCH, 1000)
        trainer, module = Trainer(part, input=given, clock=time.thread_time), fresh()
        return trainer.teach(module, name="ours", epochs=EPOCHS, schedule=PLAN, seed=1)

    def bare(steps: int) -> float:
        module = fresh()
        began = time.thread_time()
        _bare(module, images[: steps * BATCH], labels[: steps * BATCH])
        return time.thread_time() - began

    bare(5)  # the first steps of a process are slower
    ours(5)
    steps = max(5, min(len(labels) // BATCH, round(ROUND_S * 10 / bare(10))))
    took = [(ours(steps), bare(steps)) if i % 2 else (bare(steps), ours(steps))[::-1] for i in range(ROUNDS)]
    rounds = [theirs / mine for mine, theirs in took]
    return {
        "parameters": sum(p.numel() for p in fresh().parameters()),
        "ours": round(EPOCHS * steps * BATCH / statistics.median(mine for mine, _ in took)),
        "bare": round(EPOCHS * steps * BATCH / statistics.median(theirs for _, theirs in took)),
        "ratio": round(statistics.median(rounds), 4),
        "rounds": [round(r, 3) for r in rounds],
    }


def _bare(module: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> None:
    module = module.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(module.parameters(), lr=PLAN.learning_rate, weight_decay=PLAN.weight_decay, fused=True)
    chance = torch.Generator().manual_seed(1)
    for _ in range(EPOCHS):
        order = torch.randperm(len(labels), generator=chance)
        for start in range(0, len(order), BATCH):
            index = order[start : start + BATCH]
            loss = F.cross_entropy(module(images[index]), labels[index])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
