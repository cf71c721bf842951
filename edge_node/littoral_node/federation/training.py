"""Local training of one round, and the judgement of a model: plain torch on arrays.

Nodes have different classes, and each would pull the model towards its own. Two things prevent that. The logits are
calibrated by the node's own class frequencies, so that a class it lacks is not pushed away (J. Zhang et al.: Federated
Learning with Label Distribution Skew via Logits Calibration, ICML 2022, https://arxiv.org/abs/2209.00189, here as an added
log-prior). And the last layer stays as it is: only the features learn (J. Oh et al.: FedBABU, ICLR 2022,
https://arxiv.org/abs/2106.06042). bench/federated_recipe.py measures both.

Batch-norm statistics stay frozen (the layers run in eval mode): statistics averaged over nodes with different
data fit no node, and small nets collapse with them. Gradients are clipped so that one odd shard cannot spoil the average.
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
class LocalSchedule:
    epochs: int
    learning_rate: float
    batch_size: int
    seed: int
    calibration: float = 1.0  # how much of the log-prior is added; 0: plain cross-entropy
    freeze_head: bool = True


def seed_of(*parts: object) -> int:
    """A seed that depends on all parts and on nothing else: the same on every machine and at every start."""
    text = ":".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")


def _tensors(x: Images, y: Labels) -> tuple[torch.Tensor, torch.Tensor]:
    inputs = torch.from_numpy(np.ascontiguousarray(x))
    if inputs.dim() == 4:
        inputs = inputs.to(memory_format=torch.channels_last)
    return inputs, torch.from_numpy(np.ascontiguousarray(y))


def _train_mode(net: nn.Module) -> None:
    net.train()
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def head_of(net: nn.Module) -> nn.Module:
    """The last layer with weights of its own: what turns features into logits."""
    return [module for module in net.modules() if next(module.parameters(recurse=False), None) is not None][-1]


def log_prior(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """(classes,) logarithms of the classes' frequencies, each counted once more than it occurs."""
    counts = torch.bincount(labels, minlength=classes).float() + 1
    return torch.log(counts / counts.sum())


def train(net: nn.Module, x: Images, y: Labels, schedule: LocalSchedule) -> float:
    """Trains in place: AdamW, calibrated cross-entropy, gradient clipped at CLIP_NORM.

    Args:
        x: (n, C, H, W) float32, prepared. y: (n,) class numbers.

    Returns:
        Mean loss of the last epoch.
    """
    images, labels = _tensors(x, y)
    order = torch.Generator().manual_seed(schedule.seed)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    _train_mode(net)
    fixed = set(head_of(net).parameters()) if schedule.freeze_head else set()
    parameters = [p for p in net.parameters() if p not in fixed]
    for parameter in fixed:
        parameter.requires_grad_(False)
    optimizer = torch.optim.AdamW(parameters, lr=schedule.learning_rate)
    total, prior = 0.0, None
    for _ in range(schedule.epochs):
        total = 0.0
        for batch in torch.split(torch.randperm(len(labels), generator=order), schedule.batch_size):
            logits = net(images[batch])
            if prior is None:
                prior = schedule.calibration * log_prior(labels, logits.shape[1])
            loss = nn.functional.cross_entropy(logits + prior, labels[batch])
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
