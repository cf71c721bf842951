"""Local training of one round, and the judgement of a model: plain torch on arrays.

Batch-norm statistics stay frozen (the layers run in eval mode): a node's own statistics, averaged over nodes whose data
differ, are nobody's, and small nets collapse by it. Gradients are clipped so that one odd shard cannot throw the average.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

CLIP_NORM = 1.0

Images = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Schedule:
    epochs: int
    learning_rate: float
    batch_size: int
    seed: int


def seed_of(*parts: object) -> int:
    """A seed that depends on all parts and on nothing else: the same on every machine and at every start."""
    text = ":".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")


def _tensors(x: Images, y: Labels) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.from_numpy(np.ascontiguousarray(x)).to(memory_format=torch.channels_last)
    return images, torch.from_numpy(np.ascontiguousarray(y))


def _train_mode(net: nn.Module) -> None:
    net.train()
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def train(net: nn.Module, x: Images, y: Labels, schedule: Schedule) -> float:
    """Trains in place: AdamW, cross-entropy, gradient clipped at CLIP_NORM.

    Args:
        x: (n, C, H, W) float32, prepared. y: (n,) class numbers.

    Returns:
        Mean loss of the last epoch.
    """
    images, labels = _tensors(x, y)
    order = torch.Generator().manual_seed(schedule.seed)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    _train_mode(net)
    parameters = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=schedule.learning_rate)
    total = 0.0
    for _ in range(schedule.epochs):
        total = 0.0
        for batch in torch.split(torch.randperm(len(labels), generator=order), schedule.batch_size):
            loss = nn.functional.cross_entropy(net(images[batch]), labels[batch])
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(parameters, CLIP_NORM)
            optimizer.step()
            total += loss.item() * len(batch)
    return total / max(1, len(labels))


@torch.no_grad()
def judge(net: nn.Module, x: Images, y: Labels, batch_size: int = 256) -> tuple[float, float]:
    """(mean cross-entropy, accuracy as a fraction) of a model on examples."""
    images, labels = _tensors(x, y)
    net.eval()
    loss, right = 0.0, 0
    for batch, wanted in zip(torch.split(images, batch_size), torch.split(labels, batch_size), strict=True):
        logits = net(batch)
        loss += float(nn.functional.cross_entropy(logits, wanted, reduction="sum"))
        right += int((logits.argmax(1) == wanted).sum())
    return loss / max(1, len(labels)), right / max(1, len(labels))
