"""Quantization-aware training for int8: the network trains on the grid on which a runtime computes it.

B. Jacob et al.: Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, CVPR 2018,
https://arxiv.org/abs/1712.05877 (section 3). The rounding itself is littoral/architectures/quantized.py, on torch's own fake
quantization operators; docs/decisions/0012 says why no library does it.

The norms are folded first (training with live norms stalled), the first ranges come from some training examples, and training
goes on at a low learning rate. The variant "onnx-int8" of the result has these ranges and steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from littoral.architectures.quantized import FIELD, quantized, quantizers
from littoral.errors import BadInput
from littoral.preparation import Input
from littoral_cloud.compression.folding import folded_student
from littoral_cloud.compression.magnitude_pruning import sparse_or_free
from littoral_cloud.compression.method import Method
from littoral_cloud.data.dataset import Images
from littoral_cloud.training.preparation import tensor_of
from littoral_cloud.training.seeding import computing
from littoral_cloud.training.train import Trained
from littoral_cloud.training.trainer import Trainer


@dataclass(frozen=True, slots=True)
class Qat(Method):
    """Trains for int8; see the module. `examples`: training examples for the first ranges."""

    kind: ClassVar[str] = "qat"
    examples: int = 512

    def __post_init__(self) -> None:
        if self.examples < 1:
            raise BadInput(f"qat.examples: {self.examples}", hint="at least 1; some hundred")
        Method.__post_init__(self)

    def apply(self, student: Trained, trainer: Trainer) -> Trained:
        """See littoral_cloud.compression.method.Method. Raises BadInput for a network that is quantized already."""
        if student.spec.get(FIELD):
            raise BadInput(f"{student.name}: is trained for int8 already", hint="one qat method for a student")
        plain = folded_student(student)
        module = quantized(plain.module)
        images = trainer.dataset.train_x
        some = images[np.linspace(0, len(images) - 1, min(self.examples, len(images))).astype(np.int64)]
        measure(module, student.input, some, threads=trainer.threads)
        return self.tuned(student, trainer, module, sparse_or_free(module), {**plain.spec, FIELD: True})


def measure(module: nn.Module, given: Input, x: Images, *, threads: int = 1) -> None:
    """Sets each range to the extremes of the network's values on these raw examples, without rounding."""
    module.eval()
    found = quantizers(module)
    for quantizer in found:
        quantizer.low.zero_()
        quantizer.high.zero_()
        quantizer.measuring = True
    with computing(threads), torch.no_grad():
        for start in range(0, len(x), 256):
            module(tensor_of(given, x[start : start + 256]))
    for quantizer in found:
        quantizer.measuring = False
