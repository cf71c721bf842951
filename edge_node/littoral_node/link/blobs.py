"""Big things, by digest: fetched and given with resume at the byte, checked as they pass, within a rate and the disk's room.

A download lives in FOLDER/HEX.part until its SHA-256 is right, then it is synced and renamed to FOLDER/HEX. A partial
outlives kill -9: the next `get` hashes what is there and asks for the rest.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from littoral.backoff import Backoff
from littoral.digest import check_digest, digest_of, digest_of_file, hex_of
from littoral.errors import BadInput, DigestMismatch, FleetError, NoSpace, NotAccepted, NotFound, TooLarge, Unavailable
from littoral.fleet.v1 import blob_pb2, blob_pb2_grpc
from littoral.transport import CHUNK_BYTES, MAX_BLOB_BYTES
from littoral_node.identity.files import sync_folder
from littoral_node.link.pace import Pace

FETCHES_OF_A_WRONG_BLOB = 3
"""A blob whose bytes came wrong is fetched again; after this many times its source is wrong, not the way."""

BARREN_TRIES = 3
_BACKOFF = Backoff(0.2, 2.0)
"""Streams that broke without one new byte before the caller is told that the cloud cannot be had."""

_SILENCE_S = 30.0  # a stream that brings nothing for this long is dead
_HASH_STEP = 1 << 20

_ERRORS: dict[grpc.StatusCode, type[FleetError]] = {
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.PERMISSION_DENIED: NotAccepted,
    grpc.StatusCode.UNAUTHENTICATED: NotAccepted,
    grpc.StatusCode.DATA_LOSS: DigestMismatch,
    grpc.StatusCode.RESOURCE_EXHAUSTED: TooLarge,
    grpc.StatusCode.INVALID_ARGUMENT: BadInput,
}
_BROKEN_OFF = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL,
               grpc.StatusCode.ABORTED, grpc.StatusCode.DEADLINE_EXCEEDED)  # fmt: skip
_MISPLACED = (grpc.StatusCode.OUT_OF_RANGE, grpc.StatusCode.FAILED_PRECONDITION)


@dataclass(slots=True)
class _SharedFetch:
    """Two who want one blob fetch it once."""

    lock: asyncio.Lock
    users: int = 0


class _Broken(Exception):
    """The stream ended before the blob did; what came is kept."""

    def __init__(self, gained: int, detail: str) -> None:
        super().__init__(detail)
        self.gained = gained


class NodeBlobs:
    """Blobs of one folder, over a channel of their own: a model under way never stands before a heartbeat.

    Args:
        folder: where blobs lie; made where it is not there.
        open_channel: a new channel to the fleet listener.
        rate: bytes a second that downloads may take, None: no limit.
        keep_free: bytes of disk that downloads leave alone.
        monotonic, sleep, rng: time and chance.
    """

    def __init__(
        self,
        folder: Path,
        open_channel: Callable[[], grpc.aio.Channel],
        *,
        rate: float | None = None,
        keep_free: int = 0,
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random,
    ) -> None:
        self._folder = folder
        self._open_channel = open_channel
        self._pace = Pace(rate)
        self._keep_free = keep_free
        self._monotonic = monotonic
        self._sleep = sleep
        self._rng = rng
        self._promised: dict[str, int] = {}  # bytes that downloads under way will still write
        self._turns: dict[str, _SharedFetch] = {}  # of blobs that are being fetched
        self._channel: grpc.aio.Channel | None = None
        self._users = 0
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, digest: str) -> Path | None:
        """Where a whole, checked blob lies; None where it is not held."""
        place = self._folder / hex_of(digest)
        return place if place.exists() else None

    def held_bytes(self, digest: str) -> int:
        """Bytes of a blob, or of its partial, that lie here."""
        for place in (self._folder / hex_of(digest), self._part(digest)):
            if place.exists():
                return place.stat().st_size
        return 0

    def check_room(self, wanted: int) -> None:
        """Raises NoSpace where `wanted` more bytes do not fit beside the downloads under way and `keep_free`."""
        stat = os.statvfs(self._folder)
        free = stat.f_bavail * stat.f_frsize
        if wanted + sum(self._promised.values()) + self._keep_free > free:
            raise NoSpace(
                f"disk: {wanted} bytes wanted, {free} free in {self._folder}, {self._keep_free} kept free",
                hint="make room in the node's data folder, or set --keep-free lower",
            )

    async def get(self, digest: str, size: int | None = None, *, limit: int = MAX_BLOB_BYTES) -> Path:
        """Fetches a blob, or what is missing of it, and gives its path.

        Args:
            size: bytes that it must have, None: whatever the cloud says, up to `limit`.

        Raises:
            DigestMismatch: the bytes were wrong each time. NotFound: the cloud has no such blob.
            NoSpace: no room; nothing of the blob is kept. TooLarge: over `limit`. Unavailable: no way to the cloud now;
            what came is kept.
        """
        check_digest(digest)
        turn = self._turns.setdefault(digest, _SharedFetch(asyncio.Lock()))
        turn.users += 1
        try:
            async with turn.lock:
                return self.path(digest) or await self._get(digest, size, limit)
        finally:
            self._promised.pop(digest, None)
            turn.users -= 1
            if not turn.users:
                del self._turns[digest]

    async def _get(self, digest: str, size: int | None, limit: int) -> Path:
        barren = wrong = 0
        async with self._stub() as stub:
            while True:
                try:
                    return await self._fetch(stub, digest, size, limit)
                except DigestMismatch:
                    self._part(digest).unlink(missing_ok=True)
                    wrong += 1
                    if wrong == FETCHES_OF_A_WRONG_BLOB:
                        raise
                except _Broken as broken:
                    barren = 0 if broken.gained else barren + 1
                    if barren == BARREN_TRIES:
                        raise Unavailable(f"blob {digest[:19]}: the stream broke {barren} times: {broken}") from broken
                    await self._sleep(_BACKOFF.pause_s(barren, self._rng))

    async def _fetch(self, stub: Any, digest: str, size: int | None, limit: int) -> Path:
        part = self._part(digest)
        digester, have = await asyncio.to_thread(_hash_partial, part)
        if size is not None and have > size:
            raise DigestMismatch(f"blob {digest[:19]}: {have} bytes are held of {size}")
        gained, total = 0, size
        try:
            with part.open("ab") as file:
                if have != size or size == 0:
                    call = stub.GetBlob(blob_pb2.GetBlobRequest(digest=digest, offset=have))
                    first = True
                    while (message := await _next(call, gained)) is not None:
                        if first:
                            total, first = _agreed(digest, message.total_bytes, size, limit), False
                            self._promised[digest] = 0
                            self.check_room(total - have)
                        if have + len(message.data) > (total or 0):
                            raise DigestMismatch(f"blob {digest[:19]}: more than the {total} bytes named came")
                        await asyncio.to_thread(_take_in, file, digester, message.data)
                        have += len(message.data)
                        gained += len(message.data)
                        self._promised[digest] = max(0, (total or 0) - have)
                        if wait := self._pace.wait_s(len(message.data), self._monotonic()):
                            await self._sleep(wait)
                    if first:
                        raise _Broken(gained, "nothing came")
                if have != total:
                    raise _Broken(gained, f"ended at {have} of {total} bytes")
                await asyncio.to_thread(os.fsync, file.fileno())
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            part.unlink(missing_ok=True)  # a full disk would stop the journal, and with it the agent
            raise NoSpace(
                f"disk: full at byte {have} of {total} of blob {digest[:19]}", hint="make room in the node's data folder"
            ) from error
        except NoSpace:
            part.unlink(missing_ok=True)
            raise
        except grpc.aio.AioRpcError as error:
            raise _translated(error, digest, gained, part) from error
        if "sha256:" + digester.hexdigest() != digest:
            raise DigestMismatch(
                f"blob {digest[:19]}: its bytes have sha256:{digester.hexdigest()[:12]}",
                hint="was it changed on the way or at its source?",
            )
        place = self._folder / hex_of(digest)
        part.replace(place)
        sync_folder(self._folder)
        return place

    async def put(self, data: bytes | Path) -> str:
        """Gives a blob to the cloud, or what it lacks of it; the digest.

        Raises TooLarge, Unavailable (giving again goes on where it stopped), NotAccepted.
        """
        if isinstance(data, Path):
            digest, total = await asyncio.to_thread(digest_of_file, data), data.stat().st_size
        else:
            digest, total = digest_of(data), len(data)
        if total > MAX_BLOB_BYTES:
            raise TooLarge(f"blob {digest[:19]}: {total} bytes, at most {MAX_BLOB_BYTES}")
        barren, held_before = 0, 0
        async with self._stub() as stub:
            while True:
                try:
                    held = await stub.StatBlob(blob_pb2.StatBlobRequest(digest=digest), timeout=_SILENCE_S)
                    if held.complete:
                        return digest
                    barren = 0 if held.held_bytes > held_before else barren
                    held_before = held.held_bytes
                    await stub.PutBlob(_parts(data, digest, total, held.held_bytes), timeout=_SILENCE_S + total / 50_000)
                    return digest
                except grpc.aio.AioRpcError as error:
                    if error.code() not in (*_BROKEN_OFF, *_MISPLACED, grpc.StatusCode.DATA_LOSS):
                        raise _translated(error, digest, 0, None) from error
                    barren += 1
                    if barren == BARREN_TRIES:
                        raise Unavailable(f"blob {digest[:19]}: could not be given: {error.details()}") from error
                    await self._sleep(_BACKOFF.pause_s(barren, self._rng))

    def drop(self, digest: str) -> None:
        """Forgets a blob and its partial."""
        (self._folder / hex_of(digest)).unlink(missing_ok=True)
        self._part(digest).unlink(missing_ok=True)

    def sweep(self, keep: Collection[str]) -> list[str]:
        """Deletes every blob and partial that is not in `keep` and not being fetched; gives the names of what went."""
        kept = {hex_of(digest) for digest in keep} | {hex_of(digest) for digest in self._turns}
        gone = [entry for entry in self._folder.iterdir() if entry.is_file() and entry.name.removesuffix(".part") not in kept]
        for entry in gone:
            entry.unlink(missing_ok=True)
        return [entry.name for entry in gone]

    async def close(self) -> None:
        if self._channel is not None:
            channel, self._channel = self._channel, None
            await channel.close()

    def _part(self, digest: str) -> Path:
        return self._folder / f"{hex_of(digest)}.part"

    @asynccontextmanager
    async def _stub(self) -> AsyncIterator[Any]:
        """A channel while anything is under way: an idle node holds one connection, its session's."""
        if self._channel is None:
            self._channel = self._open_channel()
        self._users += 1
        try:
            yield blob_pb2_grpc.BlobServiceStub(self._channel)
        finally:
            self._users -= 1
            if not self._users:
                await self.close()


async def _next(call: Any, gained: int) -> blob_pb2.GetBlobResponse | None:
    try:
        async with asyncio.timeout(_SILENCE_S):
            message = await call.read()
    except TimeoutError:
        call.cancel()
        raise _Broken(gained, f"silent for {_SILENCE_S:.0f} s") from None
    return None if message is grpc.aio.EOF else message


def _agreed(digest: str, said: int, size: int | None, limit: int) -> int:
    if size is not None and said != size:
        raise DigestMismatch(f"blob {digest[:19]}: the cloud holds {said} bytes, the manifest names {size}")
    if said > limit:
        raise TooLarge(f"blob {digest[:19]}: {said} bytes, at most {limit} are taken")
    return said


def _take_in(file: Any, digester: Any, data: bytes) -> None:
    """In a thread: neither a slow card nor the hashing holds up a request that is being served."""
    file.write(data)
    file.flush()
    digester.update(data)


def _hash_partial(part: Path) -> tuple[Any, int]:
    digester, have = hashlib.sha256(), 0
    if part.exists():
        with part.open("rb") as file:
            while step := file.read(_HASH_STEP):
                digester.update(step)
                have += len(step)
    return digester, have


def _translated(error: grpc.aio.AioRpcError, digest: str, gained: int, part: Path | None) -> Exception:
    code, text = error.code(), f"blob {digest[:19]}: {error.details()}"
    if code in _BROKEN_OFF:
        return _Broken(gained, str(error.details()))
    if code in _MISPLACED and part is not None:
        part.unlink(missing_ok=True)  # we hold more than there is: not this blob
        return DigestMismatch(text)
    return _ERRORS.get(code, Unavailable)(text)


async def _parts(data: bytes | Path, digest: str, total: int, offset: int) -> AsyncIterator[blob_pb2.PutBlobRequest]:
    yield blob_pb2.PutBlobRequest(header=blob_pb2.PutBlobHeader(digest=digest, total_bytes=total, offset=offset))
    if isinstance(data, bytes):
        for start in range(offset, total, CHUNK_BYTES):
            yield blob_pb2.PutBlobRequest(data=data[start : start + CHUNK_BYTES])
        return
    with data.open("rb") as file:
        file.seek(offset)
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield blob_pb2.PutBlobRequest(data=chunk)
