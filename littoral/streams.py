"""Standard streams that never crash a command: they escape what a terminal cannot show, and survive a closed or full descriptor.

Python's own streams raise UnicodeEncodeError for a letter that the encoding lacks. They are None where a descriptor is closed;
the next opened file then takes the closed descriptor's number, so that a print would write into that file.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from littoral.errors import FleetError

PIPE_CLOSED = 141
"""The exit status of a command whose reader is gone: the same as after SIGPIPE."""
_ESCAPED = "backslashreplace"


class NotPrinted(FleetError):
    """The answer could not be written to standard output. What the command was asked to do is done."""

    code = "not-printed"
    exit_code = 74  # EX_IOERR of sysexits.h


class _Answers(io.TextIOWrapper):
    def write(self, text: str) -> int:
        with _named():
            return super().write(text)

    def flush(self) -> None:
        with _named():
            super().flush()


class _Remarks(io.TextIOWrapper):
    """Ignores errors: no stream is left to report them to."""

    def write(self, text: str) -> int:
        with suppress(OSError):
            return super().write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            super().flush()


def prepare() -> None:
    """Call this at the start of a command, before it opens a file."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:  # one of 0 to 2 was closed: no other file may get its number
        pass
    os.close(descriptor)
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = _wrapped(sys.stdout, 1, _Answers)
    sys.stderr = _wrapped(sys.stderr, 2, _Remarks)


def exit_status(command: Callable[[], int]) -> int:
    """Runs a command and gives its exit status, once all that it printed is out; PIPE_CLOSED where its reader is gone."""
    try:
        return finished(command())
    except BrokenPipeError:
        return finished(PIPE_CLOSED)


def finished(code: int) -> int:
    """The exit status of a command that ends with `code`, once all that it printed is out."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _to_nowhere()
        return code or PIPE_CLOSED
    except NotPrinted as error:
        sys.stderr.write(f"error: {error}\n")
        _to_nowhere()
        return code or error.exit_code
    return code


@contextmanager
def unheard() -> Iterator[None]:
    """For the messages of a server, which goes on when no one reads them."""
    try:
        yield
    except (NotPrinted, OSError):
        _to_nowhere()


def _wrapped(stream: TextIO | None, number: int, kind: type[_Answers] | type[_Remarks]) -> TextIO:
    if stream is None:
        return kind(os.fdopen(number, "wb", closefd=False), encoding="utf-8", errors=_ESCAPED)
    if not isinstance(stream, io.TextIOWrapper):
        return stream  # the caller replaced the stream
    encoding, lines, through = stream.encoding, stream.line_buffering, stream.write_through
    return kind(stream.detach(), encoding=encoding, errors=_ESCAPED, line_buffering=lines, write_through=through)


def _to_nowhere() -> None:
    """Sends output to /dev/null, so that the flush at the interpreter's end is quiet, too."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


@contextmanager
def _named() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise NotPrinted(
            f"standard output: {error.strerror or error}",
            hint="what it was asked to do is done; print it elsewhere",
        ) from error
