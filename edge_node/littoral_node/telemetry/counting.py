"""What the models on this node did: counted in windows, cut into reports. Cheap enough for every request."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from littoral.manifest import Manifest
from littoral.sketch import Counted, Sketch
from littoral.telemetry import LATENCY_BOUNDS_MS
from littoral.usage import cpu_seconds, rss_bytes

_BATCH = 64
_BATCH_BYTES = 1_000_000
_ARTIFACTS = 4
"""Of each model, those whose counts it has: a candidate, what it replaces, and what came before."""


@dataclass(frozen=True, slots=True)
class TelemetryReport:
    """One window of one model, as littoral.fleet.v1.TelemetryReport has it. Times are seconds since 1970-01-01 UTC."""

    window_start: float
    window_end: float
    model: str
    manifest_digest: str
    requests: int
    failed_requests: int
    latency_counts: tuple[int, ...]  # one more than LATENCY_BOUNDS_MS
    class_counts: tuple[int, ...]
    inputs: Counted | None
    rss_bytes: int
    cpu_seconds: float
    offload_asked: int = 0  # requests that were sent on to the cloud's teacher
    offload_answered: int = 0  # and of those, the ones that it answered


@dataclass(slots=True)
class _Counts:
    requests: int = 0
    failed: int = 0
    offload_asked: int = 0
    offload_answered: int = 0
    latency: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BOUNDS_MS) + 1))


@dataclass(slots=True)
class Total(_Counts):
    """Of one model since the process began; all of it only grows."""

    refused: dict[str, int] = field(default_factory=dict)  # requests that never reached the model, or that it does not take
    turned_away: int = 0  # of the refused ones, those that the model before would have answered
    seconds: float = 0.0  # of those that were answered


@dataclass(frozen=True, slots=True)
class RequestCounts:
    """Of one model since the process began. `turned_away`: requests that only the model on trial refused."""

    requests: int = 0
    failed: int = 0
    turned_away: int = 0


@dataclass(slots=True)
class ArtifactCounts(_Counts):
    """Of one artifact of a model since the process began."""

    def add(self, other: _Counts) -> None:
        self.requests += other.requests
        self.failed += other.failed
        self.latency = [a + b for a, b in zip(self.latency, other.latency, strict=True)]


@dataclass(slots=True)
class _Window(_Counts):
    manifest_digest: str = ""
    classes: list[int] | None = None
    sketch: Sketch | None = None
    waiting: list[npt.NDArray[Any]] = field(default_factory=list)  # inputs that are not sketched yet
    waiting_examples: int = 0
    waiting_bytes: int = 0

    def sketch_later(self, raw: npt.NDArray[Any]) -> None:
        """Many at once cost a fifth of one by one."""
        self.waiting.append(raw)
        self.waiting_examples += len(raw)
        self.waiting_bytes += raw.nbytes
        if self.waiting_examples >= _BATCH or self.waiting_bytes >= _BATCH_BYTES:
            self.sketch_now()

    def sketch_now(self) -> None:
        if self.sketch is not None and self.waiting:
            self.sketch.add(np.concatenate(self.waiting) if len(self.waiting) > 1 else self.waiting[0])
        self.waiting, self.waiting_examples, self.waiting_bytes = [], 0, 0


class TelemetryWindows:
    """Counts for every model that is or was served. For one event loop.

    Args:
        monotonic: seconds that only grow; says when the first window began.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._began = monotonic()
        self._windows: dict[str, _Window] = {}
        self._totals: dict[str, Total] = {}
        self._artifacts: dict[str, dict[str, ArtifactCounts]] = {}  # by model and manifest; of windows that are cut
        self._closed: list[tuple[str, _Window]] = []  # windows of a model that was swapped out before they were cut
        self._cut_at: float | None = None

    def observe(
        self,
        model: str,
        manifest: Manifest,
        manifest_digest: str,
        raw_inputs: npt.NDArray[Any] | None,
        classes: Sequence[int] | None,
        seconds: float,
        *,
        ok: bool,
    ) -> None:
        """One request.

        Args:
            raw_inputs: (n, *shape), what the sketch counts (Input.sketched); None where they could not be read.
            classes: of each example; None where there are none.
            seconds: from the decoded request to the logits.
        """
        window, total = self._windows.get(model), self._totals.get(model)
        if window is None or total is None or window.manifest_digest != manifest_digest:
            window, total = self._new_window(model, manifest, manifest_digest), self._total(model)
        total.requests += 1
        window.requests += 1
        if not ok:
            total.failed += 1
            window.failed += 1
            return
        place = bisect_left(LATENCY_BOUNDS_MS, seconds * 1_000)
        window.latency[place] += 1
        total.latency[place] += 1
        total.seconds += seconds
        if classes is not None and window.classes is not None:
            for each in classes:
                window.classes[each] += 1
        if raw_inputs is not None and window.sketch is not None:
            window.sketch_later(raw_inputs)

    def offloaded(self, model: str, manifest_digest: str, *, answered: bool) -> None:
        """A request of these was sent on to the cloud's teacher."""
        total, window = self._total(model), self._windows.get(model)
        total.offload_asked += 1
        total.offload_answered += answered
        if window is not None and window.manifest_digest == manifest_digest:
            window.offload_asked += 1
            window.offload_answered += answered

    def counts(self, model: str) -> RequestCounts:
        total = self._totals.get(model)
        return RequestCounts(total.requests, total.failed, total.turned_away) if total is not None else RequestCounts()

    def of_artifact(self, model: str, manifest_digest: str) -> ArtifactCounts:
        """What one of the last few artifacts of a model did; all of it only grows."""
        found = ArtifactCounts()
        if (before := self._artifacts.get(model, {}).get(manifest_digest)) is not None:
            found.add(before)
        for name, window in (*self._closed, *self._windows.items()):
            if name == model and window.manifest_digest == manifest_digest:
                found.add(window)
        return found

    def refuse(self, model: str, code: str) -> None:
        """One request of a model that is served was refused: the client's fault, or it came when there was no room.

        Args:
            code: of the error, see littoral/errors.py.
        """
        refused = self._total(model).refused
        refused[code] = refused.get(code, 0) + 1

    def turn_away(self, model: str) -> None:
        """One request was refused by a model on trial, and the one before would have answered it."""
        self._total(model).turned_away += 1

    def totals(self) -> Mapping[str, Total]:
        """By model, since the process started."""
        return self._totals

    def reports(self, now: float) -> list[TelemetryReport]:
        """Cuts every window that holds something; counting starts again from nothing.

        Args:
            now: seconds since 1970-01-01 UTC.
        """
        start = now - (self._monotonic() - self._began) if self._cut_at is None else self._cut_at
        start, self._cut_at = min(start, now), now  # a clock that was set back gives an empty window, not a negative one
        rss, cpu = rss_bytes(), cpu_seconds()
        cut = [*self._closed, *self._windows.items()]
        self._closed, self._windows = [], {}
        found = []
        for model, window in cut:
            if window.requests == 0:
                continue
            self._keep(model, window)
            window.sketch_now()
            sketched = window.sketch is not None and window.sketch.examples > 0
            found.append(
                TelemetryReport(
                    window_start=start,
                    window_end=now,
                    model=model,
                    manifest_digest=window.manifest_digest,
                    requests=window.requests,
                    failed_requests=window.failed,
                    latency_counts=tuple(window.latency),
                    class_counts=tuple(window.classes or ()),
                    inputs=window.sketch.take() if sketched and window.sketch is not None else None,
                    rss_bytes=rss,
                    cpu_seconds=cpu,
                    offload_asked=window.offload_asked,
                    offload_answered=window.offload_answered,
                )
            )
        return found

    def _keep(self, model: str, window: _Window) -> None:
        known = self._artifacts.setdefault(model, {})
        counts = known.pop(window.manifest_digest, None) or ArtifactCounts()
        counts.add(window)
        known[window.manifest_digest] = counts
        for oldest in list(known)[:-_ARTIFACTS]:
            del known[oldest]

    def _total(self, model: str) -> Total:
        total = self._totals.get(model)
        if total is None:
            total = self._totals[model] = Total()
        return total

    def _new_window(self, model: str, manifest: Manifest, manifest_digest: str) -> _Window:
        if (before := self._windows.get(model)) is not None:
            before.sketch_now()
            self._closed.append((model, before))
        window = _Window(
            manifest_digest=manifest_digest,
            classes=[0] * len(manifest.output.labels) if manifest.output.labels else None,
            # A model that was imported without data, or whose inputs have no one size, has no baseline.
            sketch=Sketch(manifest.sketch, int(np.prod(manifest.input.shape))) if manifest.sketch.edges else None,
        )
        self._windows[model] = window
        return window
