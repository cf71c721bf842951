"""How a log line is written: for people, or as one JSON object a line (https://jsonlines.org), for a program that collects them.

    {"time": "2026-12-01T14:00:00.123Z", "level": "warning", "logger": "littoral_cloud.store.connection",
     "message": "redis: unix:///... is back", "request_id": "9f2c11d0a4b3e7f1"}

`request_id` and `exception` (a traceback) are there where there is one.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime

from littoral_cloud.logs.request_id import request_id


class TextLogLines(logging.Formatter):
    """`TIME LEVEL LOGGER: MESSAGE`, and the request's id in brackets."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s%(request)s", defaults={"request": ""})

    def format(self, record: logging.LogRecord) -> str:
        if id := request_id():
            record.request = f" [request {id}]"
        return super().format(record)


class JsonLogLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {"time": at, "level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()}
        if id := request_id():
            line["request_id"] = id
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


_FORMATTERS: Mapping[str, type[logging.Formatter]] = {"text": TextLogLines, "json": JsonLogLines}


def write_lines_as(format: str) -> None:
    """From here on, on each handler of the root logger. `format`: "text" or "json"."""
    for handler in logging.getLogger().handlers:
        handler.setFormatter(_FORMATTERS[format]())
