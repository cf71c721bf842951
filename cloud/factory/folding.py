"""A student whose norms are folded: where quantization and weight sharing begin."""

from __future__ import annotations

import copy

from cloud.factory.training import Trained
from littoral.architectures.folded import folded, folded_spec


def folded_student(student: Trained) -> Trained:
    """A copy of it, as littoral.architectures.build makes it of its new spec; the same function."""
    module = copy.deepcopy(student.module).eval()
    spec = folded_spec(student.spec, module)
    return Trained.of(student.name, folded(module), spec, student.input, student.seconds)
