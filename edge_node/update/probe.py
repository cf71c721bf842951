"""Does a loaded model answer as it did where it was made?"""

from __future__ import annotations

import numpy as np

from edge_node.runtimes import Model
from littoral.errors import RuntimeFailure
from littoral.manifest import Manifest


class ProbeMismatch(RuntimeFailure):
    """A model that was loaded answers its manifest's probe otherwise than it should."""

    code = "probe-mismatch"


def check_probe(model: Model, manifest: Manifest) -> None:
    """Raises ProbeMismatch where a logit is off by more than the probe's tolerance, or is no number."""
    raw = manifest.probe.input_array(manifest.input.shape)
    wanted = manifest.probe.logit_array()
    logits = model.infer(manifest.input.prepare(raw))
    if logits.shape != wanted.shape:
        raise ProbeMismatch(f"probe: {manifest.name} answers with shape {logits.shape}, wanted {wanted.shape}")
    if not np.isfinite(logits).all():
        raise ProbeMismatch(f"probe: {manifest.name} answers with values that are not numbers")
    furthest = float(np.abs(logits - wanted).max())
    if furthest > manifest.probe.tolerance:
        raise ProbeMismatch(
            f"probe: {manifest.name}: a logit is off by {furthest:.4g}, allowed is {manifest.probe.tolerance:g}",
            hint="was it exported for another kind of processor?",
        )
