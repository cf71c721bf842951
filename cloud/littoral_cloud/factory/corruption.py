"""Makes artifacts that are whole and signed, but wrong: for the demo and tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from littoral.architectures import sizes_of
from littoral_cloud.factory.production import Made, package_all
from littoral_cloud.training.weights import arrays_of, module_of, weights_digest


def corrupt(made: Made, variants: Sequence[str] = ("onnx-int8", "ncnn-fp16")) -> Made:
    """The same students with their classes moved on by one after they were measured, and manifests that claim what they were.

    A fleet must survive such artifacts: they are complete and signed, they answer their own probe, and every prediction is wrong,
    as when labels were read in another order.
    """
    claimed = {packaged.manifest.name: packaged.manifest for packaged in made.packaged}
    shape, classes = made.bench.dataset.shape, made.bench.dataset.classes
    spoilt = []
    for student in made.students:
        arrays = {
            name: np.roll(array, 1, axis=0) if name.rpartition(".")[0] == "classify" else array
            for name, array in arrays_of(student.module).items()
        }
        module = module_of(student.spec, arrays, **sizes_of(student.spec, shape), classes=classes)
        spoilt.append(replace(student, module=module, digest=weights_digest(module)))
    production = replace(
        made.production,
        students=tuple(replace(s, variants=tuple(v for v in s.variants if v in variants)) for s in made.production.students),
    )
    packaged = []
    for p in package_all(production, made.bench, made.teacher, spoilt, lambda _: None):
        was = claimed[p.manifest.name]
        packaged.append(
            replace(
                p, manifest=replace(p.manifest, accuracy=was.accuracy, class_accuracy=was.class_accuracy, remarks=was.remarks)
            )
        )
    return replace(made, production=production, students=tuple(spoilt), packaged=tuple(packaged))
