"""The parent's side of a worker, for callers that block; aio.py is for those that await. See littoral/process for the rules."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from littoral.errors import FleetError, RuntimeFailure
from littoral.process.frames import MOST_BODY, Array, Arrays, BadFrame, LineEnded, Message, packed, receive, send
from littoral.process.limits import ChildLimits, command_of, how_ended, last_line

_LAST_WORDS = 4_000
_GONE_S = 1.0
_LOG_BYTES = 1_000_000


class ChildDied(RuntimeFailure):
    """A process of ours ended before it answered, or answered with what is no frame and was ended."""

    code = "child-died"


class ChildHung(RuntimeFailure):
    """A process of ours took longer than its limit and was ended."""

    code = "child-hung"
    retryable = True


@dataclass(frozen=True, slots=True)
class Raised:
    """As what errors a user of a worker gets its failures.

    `refused`: errors that the child may answer with, found by their code; one of an unknown code becomes the first, with that
    code.
    """

    died: type[FleetError] = ChildDied
    hung: type[FleetError] = ChildHung
    refused: tuple[type[FleetError], ...] = (RuntimeFailure,)


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """How a worker is started.

    Args:
        module: its main calls littoral.process.child.serve.
        settings: for the child's `prepare`; JSON.
        what: how messages call it: "digits: its runtime".
        most_bytes: of the arrays of one frame, both ways.
        environment: the whole of it; None: as here.
        log: its stderr is appended to this file, of at most 1 MB; the one before is FILE.1.
        hear: called, in a thread, with each part of its stderr.
        on_end: called, in a thread, when it has ended; what it refers to lives until then.
    """

    module: str
    settings: Mapping[str, Any]
    what: str
    raised: Raised = field(default_factory=Raised)
    limits: ChildLimits = field(default_factory=ChildLimits)
    most_bytes: int = MOST_BODY
    environment: Mapping[str, str] | None = None
    log: Path | None = None
    hear: Callable[[bytes], None] | None = None
    on_end: Callable[[], None] | None = None


class WorkerProcess:
    """One child and the line to it; `BlockingWorker` and `AsyncWorker` add the calls.

    The child ends with `end`, or when nothing refers to this object. Start it from the main thread where you can: then the
    kernel, too, ends the child with this process.

    Raises `raised.died` where no process can be started.
    """

    def __init__(self, spec: WorkerSpec) -> None:
        self._spec = spec
        self._raised = spec.raised
        self._failure: FleetError | None = None
        self._closed = False
        self._calls = 0
        self._first = {"settings": dict(spec.settings), "limits": asdict(spec.limits)}
        main = threading.current_thread() is threading.main_thread()
        parent = ("--parent", str(os.getpid())) if main else ()
        self._line, theirs = socket.socketpair()
        errors, their_errors = os.pipe()
        try:
            writes = [] if spec.hear is None else [spec.hear]
            if spec.log is not None:
                writes.append(_LogFile(spec.log).write)
            self._process = subprocess.Popen(
                (*command_of(spec.module), "--line", str(theirs.fileno()), "--most", str(spec.most_bytes), *parent),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=their_errors,
                pass_fds=(theirs.fileno(),),
                env=spec.environment,
                start_new_session=True,  # a Ctrl-C at the terminal is its parent's to handle
            )
        except OSError as error:
            self._line.close()
            os.close(errors)
            raise self._raised.died(f"{spec.what} cannot be started: {error}") from error
        finally:
            theirs.close()
            os.close(their_errors)
        self._errors = _Errors(errors, self._process, writes, spec.on_end)
        self._finish = weakref.finalize(self, _finish, self._process, self._line)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._failure is None and not self._closed and self._process.poll() is None

    def end(self) -> None:
        """Ends it at once, also while it answers: that call raises. Ending twice does nothing."""
        self._closed = True
        self._kill()

    def why_ended(self) -> FleetError:
        """How it ended, as a new error. Where it lives but answers no more, it is ended; waits a second at most."""
        if self._failure is None:
            try:
                code = self._process.wait(_GONE_S)
            except subprocess.TimeoutExpired:
                return self._fail(self._raised.died(f"{self._spec.what} answers no more", hint="it was ended"))
            words = last_line(self._errors.last(_GONE_S))
            how = f"{how_ended(code)}: {words}" if words else how_ended(code)
            hint = f"its log is {self._spec.log}" if self._spec.log is not None else ""
            self._failure = self._raised.died(f"{self._spec.what} ended with {how}", hint=hint)
        return type(self._failure)(self._failure.message, hint=self._failure.hint)

    # -- for the two pumps ------------------------------------------------------------------------------------------

    def _packed(self, head: Mapping[str, Any], arrays: Arrays) -> list[memoryview]:
        """The frame of the next call. Raises TooLarge, and how it ended where it has."""
        if self._closed:
            raise self._raised.refused[0](f"{self._spec.what} was closed")
        if self._failure is not None:
            raise self.why_ended()
        return packed({**head, "call": self._calls}, arrays, self._spec.most_bytes)

    def _answered(self, message: Message) -> Message:
        """Raises what the child refused with; BadFrame where it answers another call."""
        head, arrays = message
        if head.pop("call", None) != self._calls:
            raise BadFrame("an answer to another call")
        self._calls += 1
        if "code" in head:
            kinds = self._raised.refused
            kind = next((kind for kind in kinds if kind.code == head["code"]), kinds[0])
            error = kind.with_code(str(head["code"])[:100], str(head.get("message", ""))[:2_000])
            error.hint = str(head.get("hint", ""))[:2_000]
            raise error
        return head, arrays

    def _late(self, limit_s: float) -> FleetError:
        return self._fail(self._raised.hung(f"{self._spec.what} took longer than {limit_s:g} s", hint="it was ended"))

    def _broken(self, error: Exception) -> FleetError:
        """What a failed exchange means. A child that sent what is no frame is ended; one that has gone says how."""
        if self._closed:
            return self._raised.refused[0](f"{self._spec.what} was closed")
        if isinstance(error, BadFrame) and not isinstance(error, LineEnded):
            return self._fail(self._raised.died(f"{self._spec.what} answered with {error}", hint="it was ended"))
        return self.why_ended()

    def _fail(self, why: FleetError) -> FleetError:
        if self._failure is None:
            self._failure = why
        self._kill()
        return self.why_ended()

    def _kill(self) -> None:
        with suppress(OSError):  # closed before
            self._line.shutdown(socket.SHUT_RDWR)  # wakes a thread that waits for an answer
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):  # the kernel does not let it go: not for us to wait
            self._process.wait(_GONE_S)


class BlockingWorker(WorkerProcess):
    """Its calls block: call it in a thread that may wait, one or many. Calls take turns."""

    def __init__(self, spec: WorkerSpec) -> None:
        self._turn = threading.Lock()
        super().__init__(spec)

    def ready(self, limit_s: float) -> dict[str, Any]:
        """Waits for READY and gives what it says. Raises what the child could not prepare, and as `call`."""
        return self.call(self._first, {}, limit_s=limit_s)[0]

    def call(self, head: Mapping[str, Any], arrays: Arrays, *, limit_s: float) -> tuple[dict[str, Any], dict[str, Array]]:
        """One question and its answer.

        Raises TooLarge, an error that the child answered with, `raised.died`, `raised.hung`.
        """
        with self._turn:
            parts = self._packed(head, arrays)
            deadline = time.monotonic() + limit_s
            try:
                send(self._line, parts, deadline)
                return self._answered(receive(self._line, self._spec.most_bytes, deadline))
            except FleetError:  # the child's own answer
                raise
            except TimeoutError as error:
                raise self._late(limit_s) from error
            except (BadFrame, OSError) as error:
                raise self._broken(error) from error
            except BaseException:  # a Ctrl-C: its answer would come to the next call
                self.end()
                raise


class _LogFile:
    """A file of bounded size; the full one is FILE.1."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self._path = path
        path.open("ab").close()

    def write(self, part: bytes) -> None:
        try:
            if self._path.stat().st_size + len(part) > _LOG_BYTES:
                self._path.replace(self._path.with_name(f"{self._path.name}.1"))
            with self._path.open("ab") as file:
                file.write(part)
        except OSError as error:
            sys.stderr.write(f"{self._path}: cannot be written: {error.strerror}\n")


class _Errors:
    """Reads a child's stderr in a thread, so that the child never waits for it; remembers the end."""

    def __init__(
        self,
        errors: int,
        process: subprocess.Popen[bytes],
        writes: Sequence[Callable[[bytes], None]],
        on_end: Callable[[], None] | None,
    ) -> None:
        self._last = b""
        self._thread = threading.Thread(target=self._read, args=(errors, process, writes, on_end), name="stderr", daemon=True)
        self._thread.start()

    def last(self, wait_s: float) -> bytes:
        """Of a child that has ended: all that it wrote came, or it left the pipe to a child of its own."""
        self._thread.join(wait_s)
        return self._last

    def _read(
        self,
        errors: int,
        process: subprocess.Popen[bytes],
        writes: Sequence[Callable[[bytes], None]],
        on_end: Callable[[], None] | None,
    ) -> None:
        with open(errors, "rb", buffering=0) as stream:
            while part := stream.read(65_536):
                self._last = (self._last + part)[-_LAST_WORDS:]
                for write in writes:
                    with suppress(OSError, ValueError):  # our own stderr is gone: the last words stay
                        write(part)
        process.wait()
        if on_end is not None:
            on_end()


def _finish(process: subprocess.Popen[bytes], line: socket.socket) -> None:
    """Of a worker that nothing refers to any more, or at the interpreter's end."""
    process.kill()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_GONE_S)
    line.close()
