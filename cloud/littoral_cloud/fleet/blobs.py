"""The port to the store of big things, by digest; the adapters are littoral_cloud.store.blobs.BlobFolder and
littoral_cloud.store.object_blobs.ObjectBlobs. Each method raises Unavailable where its store cannot be had."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol


class StoredBlob(Protocol):
    """A whole blob. `changed`: when it was put or renewed, seconds since 1970-01-01 UTC."""

    @property
    def digest(self) -> str: ...
    @property
    def bytes(self) -> int: ...
    @property
    def changed(self) -> float: ...


class BlobStore(Protocol):
    """Every method is synchronous, and safe to call from several threads and processes at once."""

    def identity(self, *, make: bool) -> str:
        """The id of this store, the same for all that share it; "" where it has none. `make`: then it gets one."""
        ...

    def put(self, data: bytes) -> str:
        """Stores bytes and gives their digest. Raises NoSpace."""
        ...

    def read(self, digest: str) -> bytes:
        """Raises NotFound; DigestMismatch where the disk gives other bytes than were put."""
        ...

    def has(self, digest: str) -> bool: ...

    def path(self, digest: str) -> Path:
        """A file on this machine with the bytes of a whole blob. Raises NotFound."""
        ...

    def append(self, digest: str, offset: int, data: bytes) -> int:
        """Adds to a blob that is being put, and gives the bytes that are there now. Raises Conflict, TooLarge, NoSpace."""
        ...

    def complete(self, digest: str, total_bytes: int) -> Path:
        """Makes it whole. Raises Conflict, DigestMismatch, NoSpace."""
        ...

    def renew(self, digest: str) -> bool:
        """Says that somebody wants a blob: until later than now it is not discarded. False where it is not there."""
        ...

    def stored_bytes(self, digest: str) -> int:
        """Bytes that are there, from the blob's start: all of them where it is whole."""
        ...

    def entries(self) -> Iterator[StoredBlob]:
        """Every whole blob."""
        ...

    def discard(self, digest: str, before: float) -> int:
        """Deletes a blob that was not put or renewed since `before`; gives the bytes that this freed."""
        ...

    def unfinished(self, before: float) -> tuple[int, int]:
        """How many files `sweep` would remove, and their bytes."""
        ...

    def trim(self, before: float) -> int:
        """Removes copies on this machine that were not read since `before` and can be had again; gives how many."""
        ...

    def sweep(self, before: float) -> int:
        """Removes files that never became whole blobs, not written to since `before`; gives how many."""
        ...
