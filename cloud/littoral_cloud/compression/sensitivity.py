"""How much each layer can lose by itself: S. Han, J. Pool, J. Tran, W. J. Dally: Learning both Weights and Connections for
Efficient Neural Networks, 2015, https://arxiv.org/abs/1506.02626 (section 5, figure 6), measured without fine-tuning.

It measures on held-out training images, never on the test split, because a choice follows from it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from littoral.errors import BadInput
from littoral_cloud.compression.dependency_graph import layers_of
from littoral_cloud.compression.magnitude_pruning import smallest
from littoral_cloud.data.dataset import Dataset
from littoral_cloud.training.train import Trained, accuracy_of, logits_of

LEVELS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98)


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """Accuracy (a fraction) with one layer pruned alone, for each layer and each share of zeros in `levels`."""

    whole: float  # accuracy with nothing pruned
    examples: int
    levels: tuple[float, ...]  # rising
    accuracy: Mapping[str, tuple[float, ...]]  # by layer, in the order of levels

    def keep(self, points: float) -> dict[str, float]:
        """For Magnitude.keep: by layer, the smallest share of its weights with which accuracy drops by at most `points` (of
        100). A layer that loses more at every level keeps all.

        Raises BadInput for negative points.
        """
        if points < 0:
            raise BadInput(f"sensitivity: {points} points", hint="0 or more, of 100")
        allowed = self.whole - points / 100 - 1e-9
        return {
            name: 1.0 - max((level for level, seen in zip(self.levels, row, strict=True) if seen >= allowed), default=0.0)
            for name, row in self.accuracy.items()
        }

    def resolved(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def sensitivity(
    student: Trained, dataset: Dataset, *, images: int, levels: Sequence[float] = LEVELS, threads: int = 1
) -> Sensitivity:
    """Prunes each layer alone, at each level, by magnitude; the student is not changed.

    Args:
        dataset: its last `images` training images measure. `Dataset.hold_back` and `for_validation` take these away, so a student
            trained on the others has not seen them.
        levels: shares of a layer's weights that become 0, each over 0 and under 1.

    Raises:
        BadInput: levels or `images` are out of range.
    """
    steps = tuple(sorted(set(levels)))
    if not steps or not 0 < steps[0] <= steps[-1] < 1:
        raise BadInput(f"sensitivity: levels {list(levels)}", hint="shares of zeros, each over 0 and under 1")
    if images < 1:
        raise BadInput(f"sensitivity: {images} held-out images", hint="at least 1; some thousand tell a point apart")
    examples = dataset.hold_back(images)[1]
    module = copy.deepcopy(student.module)

    def measured() -> float:
        return accuracy_of(logits_of(module, student.input, examples.x, threads=threads), examples.y)

    whole = measured()
    accuracy: dict[str, tuple[float, ...]] = {}
    for name, layer in layers_of(module).items():
        dense = layer.weight.detach().clone()
        row = []
        for level in steps:
            with torch.no_grad():
                layer.weight.copy_(dense.masked_fill(smallest(dense, round(level * dense.numel())), 0.0))
            row.append(measured())
        with torch.no_grad():
            layer.weight.copy_(dense)
        accuracy[name] = tuple(row)
    return Sensitivity(whole, len(examples), steps, accuracy)
