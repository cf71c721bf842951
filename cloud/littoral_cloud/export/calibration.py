"""Calibration inputs as onnxruntime's quantizer reads them; without torch, for graphs of our own and from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from onnxruntime.quantization.calibrate import CalibrationDataReader

BATCH = 64


class CalibrationBatches(CalibrationDataReader):
    """Inputs by name, (n, ...) each, `batch` examples at a time.

    Args:
        whole: leave out the examples behind the last whole batch.
    """

    def __init__(self, feeds: Mapping[str, Any], batch: int = BATCH, *, whole: bool = False) -> None:
        count = len(next(iter(feeds.values())))
        starts = range(0, count - count % batch if whole else count, batch)
        self._batches: Iterator[dict[str, Any]] = iter(
            [{name: array[start : start + batch] for name, array in feeds.items()} for start in starts]
        )

    def get_next(self) -> dict[str, Any]:
        return next(self._batches, None)  # type: ignore[arg-type]  # None ends it; the base class does not declare that
