"""Does a loaded model answer as it did where it was made?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from littoral.answers import fault_of
from littoral.errors import RuntimeFailure
from littoral.manifest import Manifest
from littoral.signature import Signature
from littoral_node.runtimes import Model, load

_INFINITE = 0.02
"""Of an output's values, the share that may be infinite on one processor only: where the smallest floats become 0 differs."""
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
    """Raises ProbeMismatch where it gives no answer (littoral/answers.py), or a logit is off by more than the probe's tolerance;
    of a model with a signature, where an output is."""
    if manifest.signature is not None:
        _check_outputs(model, manifest, manifest.signature)
        return
    raw = manifest.probe.input_array(manifest.input.shape)
    wanted = manifest.probe.logit_array()
    logits = model.infer(manifest.input.prepare(raw))
    if logits.shape != wanted.shape:
        raise ProbeMismatch(f"probe: {manifest.name} answers with shape {logits.shape}, wanted {wanted.shape}")
    if fault := fault_of(manifest, {manifest.output.name: logits}):
        raise ProbeMismatch(f"probe: {manifest.name} {fault}")
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
    feeds = _arrays(manifest.signature)
    if manifest.signature.batched:
        feeds = {name: array[:1] for name, array in feeds.items()}  # contiguous: it is the beginning
    return lambda model: model.run(feeds)


def _arrays(signature: Signature) -> Mapping[str, npt.NDArray[Any]]:
    return {name: packed.filled() for name, packed in signature.probe.inputs.items()}


def _check_outputs(model: Model, manifest: Manifest, signature: Signature) -> None:
    name, answers = manifest.name, model.run(_arrays(signature))
    if fault := fault_of(manifest, answers):
        raise ProbeMismatch(f"probe: {name} {fault}")
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
        both = np.isfinite(found) & np.isfinite(wanted)
        if (share := float((found[~both] != wanted[~both]).sum() / found.size)) > _INFINITE:
            raise ProbeMismatch(
                f"probe: {name}: {share:.2%} of {spec.name} are infinite at other places, allowed are {_INFINITE:.2%}",
                hint=_WAY_OUT,
            )
        difference = found[both].astype(np.float64) - wanted[both].astype(np.float64)
        furthest = float(np.abs(difference).max(initial=0.0))
        if furthest > allowed:
            raise ProbeMismatch(f"probe: {name}: {spec.name} is off by {furthest:.4g}, allowed is {allowed:g}", hint=_WAY_OUT)
