"""One line an event, on stderr: `2026-01-31T12:00:00.000Z update state=VERIFYING model=digits`, or the same as JSON."""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO


class Log:
    """Args:
    clock: seconds since 1970-01-01 UTC.
    as_json: an object a line.
    """

    def __init__(self, clock: Callable[[], float], *, as_json: bool, stream: TextIO | None = None) -> None:
        self._clock = clock
        self._as_json = as_json
        self._stream = stream

    def __call__(self, event: str, **fields: Any) -> None:
        at = (
            datetime.datetime.fromtimestamp(self._clock(), datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        )
        if self._as_json:
            line = json.dumps({"at": at, "event": event, **fields}, default=str)
        else:
            line = " ".join([at, event, *(f"{name}={_worded(value)}" for name, value in fields.items())])
        stream = self._stream or sys.stderr
        with suppress(OSError):  # a full disk under the log must not stop what is logged
            stream.write(line + "\n")
            stream.flush()


def _worded(value: Any) -> str:
    text = str(value)
    return json.dumps(text) if not text or any(c.isspace() or c in '"=' for c in text) else text
