"""Log lines as text and as JSON, and the id of the request in them."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral_cloud.logs.lines import JsonLogLines, TextLogLines
from littoral_cloud.logs.request_id import begin_request, request_id

FORMATS: dict[str, logging.Formatter] = {"text": TextLogLines(), "json": JsonLogLines()}


@pytest.fixture
def written() -> Iterator[tuple[logging.Logger, logging.StreamHandler[io.StringIO]]]:
    handler = logging.StreamHandler(io.StringIO())
    log = logging.getLogger("test.lines")
    log.addHandler(handler)
    yield log, handler
    log.removeHandler(handler)


async def test_lines_of_a_request_and_of_what_it_started_have_its_id(
    written: tuple[logging.Logger, logging.StreamHandler[io.StringIO]],
) -> None:
    log, handler = written
    handler.setFormatter(JsonLogLines())

    async def part() -> None:
        log.warning("a part of %s", "it")

    async def request(given: str) -> None:
        begin_request(given)
        await asyncio.create_task(part())

    await asyncio.gather(request("one"), request("two"))
    log.warning("outside")
    lines = [json.loads(line) for line in handler.stream.getvalue().splitlines()]
    assert [line.get("request_id") for line in lines] == ["one", "two", None]
    assert lines[0]["message"] == "a part of it"
    assert (lines[0]["level"], lines[0]["logger"]) == ("warning", "test.lines")
    assert lines[0]["time"].endswith("Z")


@given(st.text(max_size=80))
def test_a_json_line_is_one_line_whatever_is_in_the_message(message: str) -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "%s", (message,), None)
    line = JsonLogLines().format(record)
    assert "\n" not in line
    assert json.loads(line)["message"] == message


@pytest.mark.parametrize("format", FORMATS)
def test_a_traceback_is_in_the_line(format: str) -> None:
    try:
        raise ValueError("bad")
    except ValueError as error:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "it failed", (), (ValueError, error, error.__traceback__))
    line = FORMATS[format].format(record)
    if format == "json":
        assert "ValueError: bad" in json.loads(line)["exception"]
    else:
        assert "ValueError: bad" in line


async def test_a_text_line_names_the_request() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "hello", (), None)
    assert "request" not in TextLogLines().format(record)
    id = begin_request()
    assert TextLogLines().format(record).endswith(f"x: hello [request {id}]")


@pytest.mark.parametrize("given", ["abc", "A-1_b.2", "x" * 64])
async def test_a_good_id_is_taken_over(given: str) -> None:
    assert begin_request(given) == given == request_id()


@pytest.mark.parametrize("given", ["", None, b"abc", "x" * 65, "a b", 'a"b', "a\nb", "-a", "ä"])
async def test_another_one_is_replaced(given: str | bytes | None) -> None:
    made = begin_request(given)
    assert made != given
    assert len(made) == 16
    assert made == request_id()
