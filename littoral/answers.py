"""Decides what counts as an answer, in one place for import, the probe, probation and serving.

An answer has every tensor that the manifest names, in its datatype and shape, and no value is "not a number". An imported model
may answer infinity (the logarithm of a probability of 0). Our own networks never give it on purpose: there it is an overflow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from littoral.manifest import Manifest
from littoral.signature import DATATYPES, Signature

Array = npt.NDArray[Any]


def fault_of(manifest: Manifest, answers: Mapping[str, Array]) -> str:
    """Why these tensors are no answer of that model, for a message that begins with its name; "" where they are an answer.

    Args:
        answers: by name; of our own models the logits under the name of the manifest's output.
    """
    if manifest.signature is not None:
        return misfit_of(manifest.signature, answers) or _not_numbers(answers, infinite=True)
    return _not_numbers(answers, infinite=False)


def misfit_of(signature: Signature, answers: Mapping[str, Array]) -> str:
    """Which tensor is missing, or of another datatype or shape than the signature says; "" where none is."""
    for spec in signature.outputs:
        found = answers.get(spec.name)
        if found is None:
            return f"answers without {spec.name}"
        if found.dtype != DATATYPES[spec.datatype] or not spec.fits(found.shape):
            return f"answers {spec.name} with {found.dtype} {found.shape}, the manifest names {spec.datatype} {spec.sizes}"
    return ""


def examples_at_fault(outputs: Mapping[str, Any], count: int) -> npt.NDArray[np.bool_]:
    """Marks the examples, of `count`, to which an imported model gave no answer: (count,).

    Args:
        outputs: by name, examples first; or a list of arrays, one an example.
    """
    found = np.zeros(count, np.bool_)
    for values in outputs.values():
        for i in range(count):
            found[i] |= np.asarray(values[i]).dtype.kind == "f" and bool(np.isnan(values[i]).any())
    return found


def small(values: Array) -> bool:
    """True: all of these floats are finite, and so is the sum of their squares. A third of the work of looking at each."""
    return values.dtype.char in "fd" and math.isfinite(np.vdot(values, values))


def _not_numbers(answers: Mapping[str, Array], *, infinite: bool) -> str:
    for name, values in answers.items():
        if values.dtype.kind != "f" or small(values) or np.isfinite(values).all():
            continue
        if not infinite or np.isnan(values).any():
            return f"answers {name} with values that are not numbers"
    return ""
