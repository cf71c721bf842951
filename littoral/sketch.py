"""What a node's inputs look like, as a few small histograms that can be added up and compared; no input can be rebuilt from one.

`fit` chooses bin edges once, in the cloud, on raw training inputs; they travel in the manifest (manifest.SketchSpec). The node
counts with `Sketch`; the cloud adds windows up and asks `shift` how far one lies from the node's own baseline.

Features, in order: the mean of an input, its spread (standard deviation), then projections onto vectors of +1 and -1. The
signs are bits of SHAKE-256 over the seed and the input's size, not of a random number generator, whose stream a new version of
numpy may change: two machines with one spec must always count alike. Sums of pixels (whole numbers) are exact in float32 below
2**24, in whichever order a BLAS adds them.

Counts are (features, bins) uint32; `bins` equal slices of the data that `fit` saw.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from littoral.errors import BadInput
from littoral.manifest import SketchSpec

Counts = npt.NDArray[np.uint32]

VERSION = 1
"""The version of the features; a change changes every sketch_id."""

MOMENTS = 2
"""Features in front of the projections: mean and spread."""

MIN_EXAMPLES = 50
"""With fewer than this on either side, a shift is not distinct from chance: it is 0."""

TOP_FEATURES = 8
"""Shift is the mean over this many of the most shifted features."""


@dataclass(frozen=True, slots=True)
class Counted:
    """One window, as it travels in a TelemetryReport."""

    sketch_id: str
    counts: Counts  # (features, bins)
    examples: int


@lru_cache(maxsize=8)
def _directions(seed: int, input_size: int, projections: int) -> npt.NDArray[np.float32]:
    """(input_size, projections + 2): a column of ones for the mean, one of zeros where the spread will stand, then +1 and -1."""
    wanted = input_size * projections
    name = b"littoral.sketch.%d\0" % VERSION + struct.pack(">qq", seed, input_size)
    bits = np.frombuffer(hashlib.shake_256(name).digest((wanted + 7) // 8), np.uint8)
    signs = np.unpackbits(bits, count=wanted).astype(np.float32).reshape(projections, input_size) * 2 - 1
    moments = np.repeat(np.array([[1], [0]], np.float32), input_size, axis=1)
    matrix = np.ascontiguousarray(np.concatenate([moments, signs]).T)
    matrix.setflags(write=False)
    return matrix


def _flat(raw: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    with np.errstate(over="ignore"):  # a float64 that is too large counts as infinite
        return np.asarray(raw).reshape(len(raw), -1).astype(np.float32, copy=False)


def _features(flat: npt.NDArray[np.float32], directions: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(n, features) of (n, input_size)."""
    size = flat.shape[1]
    with np.errstate(over="ignore", invalid="ignore"):  # clients may send infinite values: count them, without a warning
        values: npt.NDArray[np.float32] = flat @ directions
        mean = values[:, 0]
        mean /= size
        values[:, 1] = np.sqrt(np.maximum(np.vecdot(flat, flat) / size - mean * mean, 0))
    return values


def fit(raw_inputs: npt.NDArray[Any], *, seed: int, features: int = 16, bins: int = 10) -> SketchSpec:
    """The spec whose bins each hold an equal share of these inputs.

    Args:
        raw_inputs: (n, ...) as clients send them; a few thousand are enough.
        seed: chooses the projections; one seed for all students of a data set, so that a new student keeps the baseline.

    Raises BadInput where there are fewer inputs than bins, or a feature is not finite.
    """
    if features < MOMENTS + 1 or bins < 2:
        raise BadInput(f"sketch: features={features}, bins={bins}", hint=f"at least {MOMENTS + 1} features and 2 bins")
    if len(raw_inputs) < bins:
        raise BadInput(f"sketch: {len(raw_inputs)} inputs cannot fill {bins} bins", hint="fit it on the training set")
    flat = _flat(raw_inputs)
    values = _features(flat, _directions(seed, flat.shape[1], features - MOMENTS))
    if not np.isfinite(values).all():
        raise BadInput("sketch: an input is not finite", hint="clean the training set")
    edges = np.quantile(values, np.arange(1, bins) / bins, axis=0).T.astype(np.float32)
    return SketchSpec(seed, tuple(tuple(float(edge) for edge in row) for row in edges))


def sketch_id(spec: SketchSpec, input_size: int) -> str:
    """32 hex digits; counts under equal ids may be added up."""
    whole = hashlib.sha256(struct.pack(">qqqqq", VERSION, spec.seed, input_size, len(spec.edges), len(spec.edges[0])))
    for row in spec.edges:
        whole.update(struct.pack(f">{len(row)}d", *row))
    return whole.hexdigest()[:32]


class Sketch:
    """Counts inputs. The first batch fixes the input's size where it is not given."""

    def __init__(self, spec: SketchSpec, input_size: int | None = None) -> None:
        self.spec = spec
        self.features = len(spec.edges)
        self.bins = len(spec.edges[0]) + 1
        self.input_size = input_size
        self.examples = 0
        self.counts: Counts = np.zeros((self.features, self.bins), np.uint32)
        self._edges = np.asarray(spec.edges, np.float32)
        self._row_starts = (np.arange(self.features) * self.bins).astype(np.intp)
        self._directions: npt.NDArray[np.float32] | None = None

    @property
    def sketch_id(self) -> str:
        """Raises BadInput before the input's size is known."""
        if self.input_size is None:
            raise BadInput("sketch: the size of an input is not known yet", hint="give input_size, or add a batch first")
        return sketch_id(self.spec, self.input_size)

    def add(self, raw_batch: npt.NDArray[Any]) -> None:
        """Counts a batch of raw inputs, (n, ...). What is not a number counts as lowest.

        Raises BadInput where an input has another size than those before.
        """
        if len(raw_batch) == 0:
            return
        flat = _flat(raw_batch)
        if self.input_size is None:
            self.input_size = flat.shape[1]
        if flat.shape[1] != self.input_size:
            raise BadInput(f"sketch: an input has {flat.shape[1]} values, this sketch counts inputs of {self.input_size}")
        if self._directions is None:
            self._directions = _directions(self.spec.seed, self.input_size, self.features - MOMENTS)
        values = _features(flat, self._directions)
        cells = (values[:, :, None] >= self._edges).view(np.uint8).sum(axis=2, dtype=np.intp) + self._row_starts
        added = np.bincount(cells.ravel(), minlength=self.counts.size)
        self.counts += added.astype(np.uint32).reshape(self.counts.shape)
        self.examples += len(flat)

    def take(self) -> Counted:
        """The counts since the last take; counting restarts at 0."""
        taken = Counted(self.sketch_id if self.input_size is not None else "", self.counts, self.examples)
        self.counts = np.zeros_like(taken.counts)
        self.examples = 0
        return taken


def shift(baseline_counts: npt.NDArray[Any], window_counts: npt.NDArray[Any]) -> float:
    """How far a window lies from the baseline; about 0 where nothing moved, for any two sizes; grows with the move.

    The population stability index of each feature (the symmetrised Kullback-Leibler divergence of its two histograms, half an
    example added to each bin), less the value that chance alone gives it, (bins - 1) * (1/n + 1/m); then the mean over the
    TOP_FEATURES that moved most. 0 where a side has fewer than MIN_EXAMPLES.
    """
    if baseline_counts.shape != window_counts.shape:
        raise BadInput(f"sketch: counts of {baseline_counts.shape} and {window_counts.shape} cannot be compared")
    n, m = float(baseline_counts[0].sum()), float(window_counts[0].sum())
    if min(n, m) < MIN_EXAMPLES:
        return 0.0
    bins = baseline_counts.shape[1]
    p = (baseline_counts + 0.5) / (n + 0.5 * bins)
    q = (window_counts + 0.5) / (m + 0.5 * bins)
    index = ((p - q) * np.log(p / q)).sum(axis=1) - (bins - 1) * (1 / n + 1 / m)
    return float(np.sort(index)[-TOP_FEATURES:].mean())
