"""The one training loop: all that the factory trains, fine-tunes or rounds to a grid goes through `Trainer.teach`.

AdamW (I. Loshchilov, F. Hutter, https://arxiv.org/abs/1711.05101), or stochastic gradient descent with Nesterov's momentum (I.
Sutskever et al., https://proceedings.mlr.press/v28/sutskever13.html), under one cycle of the learning rate (one_cycle.py).
Distillation's loss: G. Hinton, O. Vinyals, J. Dean: Distilling the Knowledge in a Neural Network, 2015,
https://arxiv.org/abs/1503.02531, as L = alpha * L_GT + beta * L_KD. Smoothed labels: C. Szegedy et al.: Rethinking the Inception
Architecture, 2015, https://arxiv.org/abs/1512.00567 (section 7).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from littoral.architectures.linear import Linear
from littoral.digest import digest_of
from littoral.errors import BadInput, FleetError
from littoral.preparation import Input
from littoral_cloud.data.dataset import Dataset
from littoral_cloud.training.augmentation import Copy, moved
from littoral_cloud.training.checkpoint import Checkpoint, Checkpoints
from littoral_cloud.training.constraint import FREE, Constraint, under
from littoral_cloud.training.logistic import logistic
from littoral_cloud.training.one_cycle import one_cycle
from littoral_cloud.training.preparation import input_of, tensor_of
from littoral_cloud.training.schedule import Progress, Schedule, Step, TeacherLogits, ignore
from littoral_cloud.training.seeding import computing, drawing, draws
from littoral_cloud.training.weights import weights_digest

_MODULE, _OPTIMISER, _HELD, _CHANCE = "module.", "optimiser.", "held.", "chance"


class TrainingDiverged(FleetError):
    """The loss is not a number any more; the message names the step and the layer where that began."""

    code = "training-diverged"


@dataclass(frozen=True, slots=True, eq=False)
class Trainer:
    """What networks are taught with: examples, and the answers that are wanted.

    `answers` None: the labels alone. Else the loss is alpha * cross-entropy + beta * T^2 * KL(teacher || student) at temperature
    T.
    """

    dataset: Dataset
    answers: TeacherLogits | None = None
    alpha: float = 0.1
    beta: float = 0.9
    temperature: float = 4.0
    smoothing: float = 0.0  # of the labels: this share of each is spread evenly over all classes
    input: Input | None = None  # None: as the training images say
    threads: int = 1
    checkpoints: Checkpoints | None = None
    progress: Progress = ignore
    clock: Callable[[], float] = time.perf_counter

    def __post_init__(self) -> None:
        if self.alpha < 0 or self.beta < 0 or self.alpha + self.beta == 0 or self.temperature <= 0:
            raise BadInput(
                f"distil: alpha {self.alpha}, beta {self.beta}, temperature {self.temperature}",
                hint="none negative, not both 0, temperature over 0",
            )
        if not 0 <= self.smoothing < 1:
            raise BadInput(f"labels: smoothing {self.smoothing}", hint="from 0 up to, but not, 1")

    def teach(
        self,
        module: nn.Module,
        *,
        name: str,
        epochs: int,
        schedule: Schedule,
        seed: int,
        constraint: Constraint = FREE,
    ) -> float:
        """Trains the network in place and leaves it for inference; gives the seconds it took (of this run, where it resumed).

        The same network, trainer and arguments give the same weights on one machine, killed in between or not.

        Args:
            name: of what is trained, for progress and its checkpoint; one of its kind in a folder of checkpoints.

        Raises:
            TrainingDiverged: the loss became NaN or infinite; names step and layer. A checkpoint that was good stays.
            BadInput: epochs below 1, answers of another data set, a checkpoint damaged or not to be written.
        """
        if epochs < 1:
            raise BadInput(f"{name}: epochs is {epochs}", hint="at least 1")
        began = self.clock()
        with computing(self.threads), drawing(module, seed):
            if schedule.optimiser == "lbfgs":
                self._solve(module, name, epochs, schedule, constraint)
            else:
                _Training(self, module, name, epochs, schedule, seed, constraint).run()
        return self.clock() - began

    def _solve(self, module: nn.Module, name: str, steps: int, schedule: Schedule, constraint: Constraint) -> None:
        if not isinstance(module, Linear) or constraint is not FREE or self.beta or self.smoothing:
            raise BadInput(
                f"{name}: optimiser lbfgs solves for the weights of the architecture linear, from the labels alone",
                hint="alpha = 1, beta = 0 and no method without a schedule of its own; or another optimiser",
            )
        x = (self.input or input_of(self.dataset)).prepare(self.dataset.train_x)
        weights, biases = logistic(
            x.reshape(len(x), -1), self.dataset.train_y, self.dataset.classes, penalty=schedule.weight_decay, steps=steps
        )
        with torch.no_grad():
            module.classify.weight.copy_(torch.from_numpy(weights))
            module.classify.bias.copy_(torch.from_numpy(biases))
        module.eval()
        self.progress(Step(name, 1, 1, 0.0))

    def key(self, module: nn.Module, epochs: int, schedule: Schedule, seed: int, constraint: Constraint) -> str:
        """A digest of everything that decides the weights which come out."""
        return digest_of(
            json.dumps(
                {
                    "begin": weights_digest(module),
                    "data": self.dataset.digest,
                    "answers": self.answers.digest if self.answers else "",
                    "loss": [self.alpha, self.beta, self.temperature] + [self.smoothing] * (self.smoothing > 0),
                    "schedule": schedule.resolved(),
                    "epochs": epochs,
                    "seed": seed,
                    "constraint": constraint.key,
                    "threads": self.threads,
                    "torch": torch.__version__,
                },
                sort_keys=True,
            ).encode()
        )


class _Training:
    """One call of `teach`."""

    def __init__(
        self, trainer: Trainer, module: nn.Module, name: str, epochs: int, plan: Schedule, seed: int, constraint: Constraint
    ) -> None:
        count = len(trainer.dataset.train_y)
        self.trainer, self.name, self.plan, self.seed, self.constraint = trainer, name, plan, seed, constraint
        self.batch = min(plan.batch, count)
        self.per_epoch = count // self.batch  # what is left over of an epoch has its turn in another one
        self.steps = epochs * self.per_epoch
        self.saved = 0  # the step of the last checkpoint
        self.key = trainer.key(module, epochs, plan, seed, constraint) if trainer.checkpoints else ""
        self.given = trainer.input or input_of(trainer.dataset)
        self.labels = torch.from_numpy(trainer.dataset.train_y.copy())
        constraint.attach(module)
        self.module: nn.Module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimiser = _optimiser(module, plan)

    def run(self) -> None:
        done = self._resume()
        self.module.train()
        for epoch in range(done // self.per_epoch, self.steps // self.per_epoch):
            self._epoch(epoch, done)
        self.module.eval()

    def _epoch(self, epoch: int, done: int) -> None:
        trainer, plan = self.trainer, self.plan
        chance = np.random.default_rng([self.seed, epoch])
        order = chance.permutation(len(self.labels))
        moves = chance.integers(-plan.shift, plan.shift + 1, (self.per_epoch, 2))
        copy = plan.copy(epoch)
        images = Copy(trainer.dataset.train_x, plan.augment, copy, digest=trainer.dataset.digest)
        soft = self._soft(copy)
        group = self.optimiser.param_groups[0]
        for place in range(max(0, done - epoch * self.per_epoch), self.per_epoch):
            step = epoch * self.per_epoch + place + 1
            index = order[place * self.batch : (place + 1) * self.batch]
            places = torch.from_numpy(index)
            raw = images.take(index)
            x = tensor_of(self.given, moved(raw, *moves[place].tolist()) if plan.shift else raw)
            loss = self._loss(self.module(x), places, soft)
            value = loss.item()
            if not math.isfinite(value):
                raise TrainingDiverged(
                    f"{self.name}: the loss is {value} at step {step} of {self.steps}, {_culprit(self.module, x)}",
                    hint="lower the learning rate, or look at the data" + self._left(),
                )
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self.constraint.before_step(self.module, step, self.steps)
            rate, moment = one_cycle(step, self.steps, plan.learning_rate)
            group["lr"] = rate
            if "betas" in group:
                group["betas"] = (moment, group["betas"][1])
            else:
                group["momentum"] = moment
            self.optimiser.step()
            self.constraint.after_step(self.module, step, self.steps)
            self._keep(step)
            trainer.progress(Step(self.name, step, self.steps, value))

    def _soft(self, copy: int) -> torch.Tensor | None:
        if self.trainer.answers is None:
            return None
        logits = self.trainer.answers.of(copy)
        if logits.shape != (wanted := (len(self.labels), self.trainer.dataset.classes)):
            raise BadInput(
                f"distil: logits have shape {logits.shape}, the training split wants {wanted}",
                hint="cache the teacher's logits of this very training split",
            )
        return F.softmax(torch.from_numpy(logits.copy()) / self.trainer.temperature, dim=1)

    def _loss(self, logits: torch.Tensor, index: torch.Tensor, soft: torch.Tensor | None) -> torch.Tensor:
        hard = F.cross_entropy(logits, self.labels[index], label_smoothing=self.trainer.smoothing)
        if soft is None:
            return hard
        heat = self.trainer.temperature
        divergence = F.kl_div(F.log_softmax(logits / heat, dim=1), soft[index], reduction="batchmean")
        return self.trainer.alpha * hard + self.trainer.beta * heat**2 * divergence

    def _keep(self, step: int) -> None:
        checkpoints = self.trainer.checkpoints
        if checkpoints is None or not checkpoints.due(step, self.steps):
            return
        state = self.module.state_dict()
        if not all(torch.isfinite(t).all() for t in state.values()):
            return  # the next loss says so, and the checkpoint before is the last good one
        moments = self.optimiser.state_dict()
        tensors = {_MODULE + k: v for k, v in state.items()}
        tensors |= {f"{_OPTIMISER}{i}.{k}": v for i, entry in moments["state"].items() for k, v in entry.items()}
        tensors |= {_HELD + k: v for k, v in self.constraint.tensors().items()}
        if draws(self.module):
            tensors[_CHANCE] = torch.get_rng_state()
        checkpoints.save(self.name, self.key, Checkpoint(step, tensors, {"groups": moments["param_groups"]}))
        self.saved = step

    def _left(self) -> str:
        """What a failure leaves behind, for its hint."""
        return f"; the last good checkpoint, of step {self.saved}, stays" if self.saved else ""

    def _resume(self) -> int:
        found = self.trainer.checkpoints.load(self.name, self.key) if self.trainer.checkpoints else None
        if found is None:
            return 0
        self.module.load_state_dict(under(_MODULE, found.tensors))
        moments: dict[int, dict[str, torch.Tensor]] = {}
        parameters = list(self.module.parameters())
        for name, tensor in under(_OPTIMISER, found.tensors).items():
            number, _, field = name.partition(".")
            # The moments must lie in memory as their weights do: the fused step goes over both side by side.
            like = parameters[int(number)]
            moments.setdefault(int(number), {})[field] = (
                torch.empty_like(like).copy_(tensor) if tensor.shape == like.shape else tensor
            )
        self.optimiser.load_state_dict({"state": moments, "param_groups": found.notes["groups"]})
        self.constraint.restore(under(_HELD, found.tensors))
        # The generator is one for all threads: a training that draws nothing must not move it under another.
        if draws(self.module):
            torch.set_rng_state(found.tensors[_CHANCE])
        self.saved = found.step
        return found.step


def _optimiser(module: nn.Module, plan: Schedule) -> torch.optim.Optimizer:
    given: dict[str, Any] = {"lr": plan.learning_rate, "weight_decay": plan.weight_decay, "fused": True}
    if plan.optimiser == "sgd":
        return torch.optim.SGD(module.parameters(), momentum=0.9, nesterov=True, **given)
    return torch.optim.AdamW(module.parameters(), **given)


def _culprit(module: nn.Module, x: torch.Tensor) -> str:
    """Where it began: the first layer that answers something not finite to finite inputs, or whose weights are not."""
    for name, parameter in module.named_parameters():
        if not torch.isfinite(parameter).all():
            return f"because the weights of layer {name.rpartition('.')[0]} are not finite"
    seen: list[str] = []
    hooks = [
        layer.register_forward_hook(lambda _m, _i, out, name=name: seen.append(name) if not torch.isfinite(out).all() else None)
        for name, layer in module.named_modules()
        if not list(layer.children())
    ]
    with torch.no_grad():
        module(x)
    for hook in hooks:
        hook.remove()
    return f"because layer {seen[0]} gives values that are not finite" if seen else "though every layer's values are finite"
