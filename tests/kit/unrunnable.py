"""An artifact that is whole and signed, and that no runtime can load."""

from __future__ import annotations

from typing import Any

import numpy as np

from littoral.digest import digest_of
from littoral.manifest import File, Manifest, Output
from littoral.preparation import Input
from littoral.probe import Probe
from littoral.sketch import fit
from littoral_cloud.packaging.package import Packaged

CONTENT = b"no network, but bytes"


def unrunnable(model: str, **fields: Any) -> Packaged:
    """Fields: of its manifest, in place of these."""
    raw = np.arange(40, dtype=np.uint8).reshape(10, 1, 2, 2)
    said: dict[str, Any] = {
        "model": model,
        "name": "cnn",
        "architecture": {"name": "x"},
        "parameters": 3,
        "runtime": "onnxruntime",
        "runtime_options": {},
        "requires": {},
        "files": (File("model.onnx", digest_of(CONTENT), len(CONTENT)),),
        "input": Input("input", (1, 2, 2), 1 / 255, (0.1,), (0.3,)),
        "output": Output("logits", ("b", "a")),
        "accuracy": 0.9,
        "accuracy_examples": 10,
        "probe": Probe.of(raw[:2], np.zeros((2, 2), np.float32), 0.1),
        "sketch": fit(raw, seed=1),
    }
    return Packaged(Manifest(**(said | fields)), {"model.onnx": CONTENT})
