"""Does a loaded model answer as it did where it was made?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_node.runtimes import Model, load
from littoral.errors import RuntimeFailure
from littoral.manifest import Manifest
from littoral.signature import Signature

_WAY_OUT = "was it exported for another kind of processor?"


class ProbeMismatch(RuntimeFailure):
    """A model that was loaded answers its manifest's probe otherwise than it should."""

    code = "probe-mismatch"


def load_checked(manifest: Manifest, folder: Path, threads: int) -> Model:
    """A model that is right on its probe. Blocking. Raises RuntimeFailure, ProbeMismatch."""
    model = load(manifest, folder, threads)
    try:
        check_probe(model, manifest)
    except BaseException:
        model.close()
        raise
    return model


def check_probe(model: Model, manifest: Manifest) -> None:
    """Raises ProbeMismatch where a logit is off by more than the probe's tolerance, or is no number; of a model with a signature,
    where an output is."""
    if manifest.signature is not None:
        _check_outputs(model, manifest.name, manifest.signature)
        return
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
            f"probe: {manifest.name}: a logit is off by {furthest:.4g}, allowed is {manifest.probe.tolerance:g}", hint=_WAY_OUT
        )


def one_inference(manifest: Manifest) -> Callable[[Model], object]:
    """Runs a model on the probe's first example; where its batch is fixed, on the whole probe."""
    if manifest.signature is None:
        one = manifest.input.prepare(manifest.probe.input_array(manifest.input.shape)[:1])
        return lambda model: model.infer(one)
    first = slice(0, 1) if manifest.signature.batched else slice(None)
    feeds = {name: np.ascontiguousarray(array[first]) for name, array in _arrays(manifest.signature).items()}
    return lambda model: model.run(feeds)


def _arrays(signature: Signature) -> Mapping[str, npt.NDArray[Any]]:
    return {name: packed.filled() for name, packed in signature.probe.inputs.items()}


def _check_outputs(model: Model, name: str, signature: Signature) -> None:
    answers = model.run(_arrays(signature))
    for spec in signature.outputs:
        packed = signature.probe.outputs[spec.name]
        if (shape := answers[spec.name].shape) != packed.shape:
            raise ProbeMismatch(f"probe: {name}: {spec.name} has shape {shape}, wanted {packed.shape}", hint=_WAY_OUT)
        wanted, found = packed.values(), packed.picked(answers[spec.name])
        if not found.size:
            continue
        allowed = signature.probe.tolerances[spec.name]
        if found.dtype.kind != "f":
            if (share := float((found != wanted).mean())) > allowed:
                raise ProbeMismatch(f"probe: {name}: {share:.2%} of {spec.name} differ, allowed are {allowed:.2%}", hint=_WAY_OUT)
            continue
        if not np.array_equal(np.isfinite(found), np.isfinite(wanted)):
            raise ProbeMismatch(f"probe: {name} answers {spec.name} with values that are not numbers")
        with np.errstate(invalid="ignore"):  # what is infinite on both sides
            furthest = float(np.nanmax(np.abs(found.astype(np.float64) - wanted.astype(np.float64)), initial=0.0))
        if furthest > allowed:
            raise ProbeMismatch(f"probe: {name}: {spec.name} is off by {furthest:.4g}, allowed is {allowed:g}", hint=_WAY_OUT)
