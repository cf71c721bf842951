"""Downloads and uploads of blobs, named by digest: resumed at the byte, checked as they pass, within a rate and the disk's room.

    1. A download is in FOLDER/HEX.part until its SHA-256 is right; then it is synced and renamed to FOLDER/HEX.
    2. `get` hashes what is there and asks for the rest, also after kill -9.
    3. A stream that breaks is opened again at the byte; BARREN_TRIES without a new byte raise Unavailable.
    4. Wrong bytes are fetched again from byte 0; FETCHES_OF_A_WRONG_BLOB times raise DigestMismatch.
    5. A full disk deletes the partial: the journal needs the room more.

Example: `get` of 3 MB is killed at 1 MB. HEX.part has 1 MB; the next `get` hashes it and asks for the bytes from 1 MB on.
"""

from __future__ import annotations

import asyncio
import errno
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
from littoral.errors import DigestMismatch, NoSpace, TooLarge, Unavailable
from littoral.fleet.v1 import blob_pb2, blob_pb2_grpc
from littoral.transport import MAX_BLOB_BYTES
from littoral_node.identity.files import sync_folder
from littoral_node.transfer.blob_stream import (
    BROKEN_OFF,
    MISPLACED,
    SILENCE_S,
    BrokenStream,
    agreed_size,
    hash_partial,
    next_part,
    take_in,
    translated,
    upload_parts,
)
from littoral_node.transfer.pace import Pace

FETCHES_OF_A_WRONG_BLOB = 3
"""A blob whose bytes came wrong is fetched again; after this many times its source is wrong, not the way."""

BARREN_TRIES = 3
"""Streams that broke without one new byte before the caller gets Unavailable."""

_BACKOFF = Backoff(0.2, 2.0)


@dataclass(slots=True)
class _SharedFetch:
    """Two callers who need one blob fetch it once."""

    lock: asyncio.Lock
    users: int = 0


class NodeBlobs:
    """Blobs of one folder, over a channel of their own: a download never delays a heartbeat.

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
        """Where a whole, checked blob lies; None where it is not there."""
        place = self._folder / hex_of(digest)
        return place if place.exists() else None

    def held_bytes(self, digest: str) -> int:
        """Bytes of a blob, or of its partial, that lie here."""
        for place in (self._folder / hex_of(digest), self._part(digest)):
            if place.exists():
                return place.stat().st_size
        return 0

    def check_room(self, needed: int) -> None:
        """Raises NoSpace where `needed` more bytes do not fit beside the downloads under way and `keep_free`."""
        stat = os.statvfs(self._folder)
        free = stat.f_bavail * stat.f_frsize
        if needed + sum(self._promised.values()) + self._keep_free > free:
            raise NoSpace(
                f"disk: {needed} bytes needed, {free} free in {self._folder}, {self._keep_free} reserved",
                hint="make room in the node's data folder, or set --keep-free lower",
            )

    async def get(self, digest: str, size: int | None = None, *, limit: int = MAX_BLOB_BYTES) -> Path:
        """Fetches a blob, or what is missing of it, and gives its path.

        Args:
            size: bytes that it must have; None: what the cloud names, up to `limit`.

        Raises:
            DigestMismatch: the bytes were wrong each time. NotFound: the cloud has no such blob.
            NoSpace: no room; the partial is deleted. TooLarge: over `limit`. Unavailable: the cloud cannot be reached now;
            the partial stays.
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
                except BrokenStream as broken:
                    barren = 0 if broken.gained else barren + 1
                    if barren == BARREN_TRIES:
                        raise Unavailable(f"blob {digest[:19]}: the stream broke {barren} times: {broken}") from broken
                    await self._sleep(_BACKOFF.pause_s(barren, self._rng))

    async def _fetch(self, stub: Any, digest: str, size: int | None, limit: int) -> Path:
        part = self._part(digest)
        digester, have = await asyncio.to_thread(hash_partial, part)
        if size is not None and have > size:
            raise DigestMismatch(f"blob {digest[:19]}: {have} bytes are here of {size}")
        gained, total = 0, size
        try:
            with part.open("ab") as file:
                if have != size or size == 0:
                    call = stub.GetBlob(blob_pb2.GetBlobRequest(digest=digest, offset=have))
                    first = True
                    while (message := await next_part(call, gained)) is not None:
                        if first:
                            total, first = agreed_size(digest, message.total_bytes, size, limit), False
                            self._promised[digest] = 0
                            self.check_room(total - have)
                        if have + len(message.data) > (total or 0):
                            raise DigestMismatch(f"blob {digest[:19]}: more than the {total} bytes named came")
                        await asyncio.to_thread(take_in, file, digester, message.data)
                        have += len(message.data)
                        gained += len(message.data)
                        self._promised[digest] = max(0, (total or 0) - have)
                        if wait := self._pace.wait_s(len(message.data), self._monotonic()):
                            await self._sleep(wait)
                    if first:
                        raise BrokenStream(gained, "nothing came")
                if have != total:
                    raise BrokenStream(gained, f"ended at {have} of {total} bytes")
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
            raise translated(error, digest, gained, part) from error
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
        """Uploads a blob, or the bytes that the cloud lacks; returns the digest.

        Raises TooLarge, Unavailable (the next call continues where this one stopped), NotAccepted.
        """
        if isinstance(data, Path):
            digest, total = await asyncio.to_thread(digest_of_file, data), data.stat().st_size
        else:
            digest, total = digest_of(data), len(data)
        if total > MAX_BLOB_BYTES:
            raise TooLarge(f"blob {digest[:19]}: {total} bytes, at most {MAX_BLOB_BYTES}")
        barren, stored_before = 0, 0
        async with self._stub() as stub:
            while True:
                try:
                    stored = await stub.StatBlob(blob_pb2.StatBlobRequest(digest=digest), timeout=SILENCE_S)
                    if stored.complete:
                        return digest
                    barren = 0 if stored.stored_bytes > stored_before else barren
                    stored_before = stored.stored_bytes
                    await stub.PutBlob(upload_parts(data, digest, total, stored.stored_bytes), timeout=SILENCE_S + total / 50_000)
                    return digest
                except grpc.aio.AioRpcError as error:
                    if error.code() not in (*BROKEN_OFF, *MISPLACED, grpc.StatusCode.DATA_LOSS):
                        raise translated(error, digest, 0, None) from error
                    barren += 1
                    if barren == BARREN_TRIES:
                        raise Unavailable(f"blob {digest[:19]}: could not be uploaded: {error.details()}") from error
                    await self._sleep(_BACKOFF.pause_s(barren, self._rng))

    def drop(self, digest: str) -> None:
        """Deletes a blob and its partial."""
        (self._folder / hex_of(digest)).unlink(missing_ok=True)
        self._part(digest).unlink(missing_ok=True)

    def sweep(self, keep: Collection[str]) -> list[str]:
        """Deletes every blob and partial that is not in `keep` and is not fetched now; gives the names of the deleted files."""
        stays = {hex_of(digest) for digest in keep} | {hex_of(digest) for digest in self._turns}
        gone = [entry for entry in self._folder.iterdir() if entry.is_file() and entry.name.removesuffix(".part") not in stays]
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
        """A channel while a transfer runs: an idle node has one connection, its session's."""
        if self._channel is None:
            self._channel = self._open_channel()
        self._users += 1
        try:
            yield blob_pb2_grpc.BlobServiceStub(self._channel)
        finally:
            self._users -= 1
            if not self._users:
                await self.close()
