"""Blobs in an object store: S3 and what speaks like it, GCS, Azure; by obstore, which finds the credentials of each cloud.

    BUCKET/PREFIX/sha256/abcdef...    whole, never changed again
    BUCKET/PREFIX/renewed/abcdef...   written anew by each who wants a blob that is there: its time is that of the last one
    BUCKET/PREFIX/doomed/abcdef...    a blob that is just being deleted
    BUCKET/PREFIX/store-id            names this store

A folder beside it has a copy of what was read here, and what nodes are putting: reading goes on at the byte after a break, and
the digest is checked before a copy gets its name. An object gets its name when all of it came: no reader sees half a blob.

Deleting is three steps, since no lock spans machines: copy to doomed/, delete, look at renewed/ again. A blob that was renewed
meanwhile is put back: its reader relies on it.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from math import inf
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from littoral.digest import PREFIX, digest_of, hex_of
from littoral.errors import BadInput, Conflict, DigestMismatch, NotFound, Unavailable
from littoral_cloud.store.blobs import BlobEntry, BlobFolder

SCHEMES = ("s3", "gs", "az")
PART_BYTES = 8 * 1024 * 1024
_TRIES = {"max_retries": 3, "retry_timeout": timedelta(seconds=15)}
_ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT")
"""Of S3 servers that are not Amazon's. Who names one with http:// wants no TLS."""
_LIMITS = {"connect_timeout": timedelta(seconds=5), "timeout": timedelta(seconds=60)}


class _Lock:
    """A threading.Lock that may be referred to weakly."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


class ObjectBlobs:
    """Implements littoral_cloud.fleet.blobs.BlobStore.

    Args:
        url: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://ACCOUNT/CONTAINER/PREFIX.
        copies: the folder beside it.

    Raises:
        BadInput: the URL is none, or obstore is not installed.
    """

    def __init__(self, url: str, copies: Path) -> None:
        if url.partition("://")[0] not in SCHEMES:
            raise BadInput(f"blobs: {url!r} is no store that we know", hint="a folder, s3://, gs:// or az://")
        if importlib.util.find_spec("obstore") is None:
            raise BadInput(f"blobs: {url} needs the package obstore", hint="install littoral[objects]")
        import obstore
        from obstore import exceptions
        from obstore.store import from_url

        self.url = url
        self._api, self._errors = obstore, exceptions
        self._copies = BlobFolder(copies)
        self._fetching: WeakValueDictionary[str, _Lock] = WeakValueDictionary()  # by digest
        try:
            plain = any(os.environ.get(name, "").startswith("http://") for name in _ENDPOINTS)
            options: Any = {"client_options": {**_LIMITS, "allow_http": plain}, "retry_config": _TRIES}
            self._store = from_url(url, **options)
        except (exceptions.BaseError, ValueError) as error:
            raise BadInput(f"blobs: {url}: {_first_line(error)}", hint="s3://BUCKET/PREFIX") from error

    def identity(self, *, make: bool) -> str:
        """The id of this store; "" where it has none. `make`: then it gets one."""
        if (known := self._get("store-id")) is None and make:
            with self._reached(), suppress(self._errors.AlreadyExistsError):  # another process was first
                self._api.put(self._store, "store-id", secrets.token_hex(16).encode(), mode="create")
            known = self._get("store-id")
        return (known or b"").decode("ascii")

    def put(self, data: bytes) -> str:
        digest = digest_of(data)
        if not self.renew(digest):
            self._put(_whole(digest), data)
        self._copies.put(data)
        return digest

    def has(self, digest: str) -> bool:
        return self._head(_whole(digest)) is not None

    def path(self, digest: str) -> Path:
        """A copy on this machine. Raises NotFound; Unavailable; DigestMismatch where the store gives other bytes; NoSpace."""
        if not self._copies.renew(digest):
            self._fetch(digest)
        return self._copies.path(digest)

    def read(self, digest: str) -> bytes:
        with suppress(NotFound, DigestMismatch):
            data = self._copies.read(digest)
            self._copies.renew(digest)  # it was read
            return data
        self._copies.discard(digest, inf)  # its bytes are wrong
        self._fetch(digest)
        return self._copies.read(digest)

    def stored_bytes(self, digest: str) -> int:
        meta = self._head(_whole(digest))
        return int(meta["size"]) if meta else self._copies.stored_bytes(digest)

    def append(self, digest: str, offset: int, data: bytes) -> int:
        return self._copies.append(digest, offset, data)

    def complete(self, digest: str, total_bytes: int) -> Path:
        """As of a folder; the bytes are checked here, and in the store once this returns."""
        copy = self._copies.complete(digest, total_bytes)
        if not self.renew(digest):
            self._put(_whole(digest), copy)
        return copy

    def renew(self, digest: str) -> bool:
        key = _whole(digest)
        if self._head(key) is None:
            return False
        self._put(_renewed(digest), secrets.token_bytes(16))
        return self._head(key) is not None  # it may have been deleted just before: then it has to be put

    def entries(self) -> Iterator[BlobEntry]:
        renewed = {name: at for name, _, at in self._list("renewed")}
        for name, size, at in self._list("sha256"):
            yield BlobEntry(PREFIX + name, size, max(at, renewed.get(name, at)))

    def discard(self, digest: str, before: float) -> int:
        key, doomed = _whole(digest), f"doomed/{hex_of(digest)}"
        last = self._get(_renewed(digest))
        found, renewed = self._head(key), self._head(_renewed(digest))
        if found is None or max(each["last_modified"].timestamp() for each in (found, renewed) if each) >= before:
            return 0
        with self._reached():
            self._api.copy(self._store, key, doomed)
            self._api.delete(self._store, key)
        if self._get(_renewed(digest)) != last:
            self._put_back(doomed, key)
            return 0
        for gone in (doomed, _renewed(digest)):
            self._delete(gone)
        self._copies.discard(digest, inf)
        return int(found["size"])

    def unfinished(self, before: float) -> tuple[int, int]:
        count, size = self._copies.unfinished(before)
        doomed = [size for _, size, at in self._list("doomed") if at < before]
        return count + len(doomed), size + sum(doomed)

    def sweep(self, before: float) -> int:
        """Also ends deletions that a killed process left, and removes copies that were not read since."""
        count = self._copies.sweep(before)
        for name, _, at in list(self._list("doomed")):
            if at >= before:
                continue
            renewed = self._head(f"renewed/{name}")
            if renewed is not None and renewed["last_modified"].timestamp() >= at and self._head(f"sha256/{name}") is None:
                self._put_back(f"doomed/{name}", f"sha256/{name}")
            else:
                self._delete(f"doomed/{name}")
            count += 1
        self.trim(before)
        return count

    def trim(self, before: float) -> int:
        return sum(self._copies.discard(copy.digest, before) > 0 for copy in list(self._copies.entries()))

    # -- the store ---------------------------------------------------------------------------------------------------

    def _fetch(self, digest: str) -> None:
        """Copies a blob, from where an earlier attempt ended."""
        fetching = self._fetching.setdefault(digest, _Lock())
        with fetching.lock:
            if self._copies.has(digest):
                return
            if (meta := self._head(_whole(digest))) is None:
                raise NotFound(f"blob {digest}: is not in {self.url}")
            size = int(meta["size"])
            while (start := self._copies.stored_bytes(digest)) < size:
                with self._reached():
                    part = self._api.get_range(self._store, _whole(digest), start=start, length=min(PART_BYTES, size - start))
                with suppress(Conflict):  # another process copies the same blob
                    self._copies.append(digest, start, bytes(part))
            if size == 0:
                self._copies.put(b"")
            else:
                self._copies.complete(digest, size)

    def _head(self, key: str) -> Any:
        """Of an object: its size and last_modified; None: there is none."""
        with self._reached(), suppress(self._errors.NotFoundError, FileNotFoundError):
            return self._api.head(self._store, key)
        return None

    def _get(self, key: str) -> bytes | None:
        with self._reached(), suppress(self._errors.NotFoundError, FileNotFoundError):
            return bytes(self._api.get(self._store, key).bytes())
        return None

    def _put(self, key: str, data: bytes | Path) -> None:
        with self._reached():
            self._api.put(self._store, key, data)

    def _delete(self, key: str) -> None:
        with self._reached(), suppress(self._errors.NotFoundError, FileNotFoundError):
            self._api.delete(self._store, key)

    def _put_back(self, doomed: str, key: str) -> None:
        with self._reached():
            self._api.copy(self._store, doomed, key)
        self._delete(doomed)

    def _list(self, folder: str) -> Iterator[tuple[str, int, float]]:
        """(name, bytes, seconds since 1970-01-01 UTC when it was written) of each object there."""
        with self._reached():
            for page in self._api.list(self._store, f"{folder}/", chunk_size=1000):
                for meta in page:
                    yield meta["path"].rpartition("/")[2], int(meta["size"]), meta["last_modified"].timestamp()

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Errors of the store in our words."""
        try:
            yield
        except (self._errors.PermissionDeniedError, self._errors.UnauthenticatedError) as error:
            hint = "give the coordinator credentials that may read, write, list and delete there"
            raise BadInput(f"blobs: {self.url} refuses us: {_first_line(error)}", hint=hint) from error
        except (self._errors.NotFoundError, FileNotFoundError) as error:
            raise BadInput(f"blobs: {self.url}: there is no such bucket: {_first_line(error)}", hint="make it first") from error
        except (self._errors.BaseError, OSError) as error:
            hint = "see that the store answers; a transfer continues where it was"
            raise Unavailable(f"blobs: {self.url} cannot be had: {_first_line(error)}", hint=hint) from error


def _whole(digest: str) -> str:
    return f"sha256/{hex_of(digest)}"


def _renewed(digest: str) -> str:
    return f"renewed/{hex_of(digest)}"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
