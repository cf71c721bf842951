"""The networks that the tables are about: every architecture for images, cut for 28 x 28 of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from littoral.architectures import small_spec

ORDER = (
    "perceptron",
    "lenet_300_100",
    "lenet5",
    "mobilenet_v1",
    "mobilenet_v2",
    "shufflenet_v1",
    "shufflenet_v2",
    "squeezenet",
    "compact_cnn",
    "residual",
    "recurrent_cnn",
)
ARCHITECTURES: Mapping[str, Mapping[str, Any]] = {name: small_spec(name) for name in ORDER}
