"""Big things on disk, named by the SHA-256 of their bytes.

    ROOT/sha256/ab/abcdef...   whole, checked, synced; never changed again
    ROOT/partial/abcdef...     what has come so far of one that is being put
    ROOT/new/                  files on their way to a name
    ROOT/store-id              names this store: coordinators of one fleet share it

A file gets its name by rename, after fsync: a reader never sees half a blob, and two who put the same one do no harm. Putting
one that is here renews its time of change, so that garbage collection leaves it to the process that just put it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from littoral.digest import PREFIX, digest_of, digest_of_file, hex_of
from littoral.errors import Conflict, DigestMismatch, FleetError, NoSpace, NotFound, TooLarge, is_full
from littoral.transport import MAX_BLOB_BYTES
from littoral_cloud.trust.files import sync_folder


@dataclass(frozen=True, slots=True)
class BlobEntry:
    """A whole blob. `changed`: when it was put or renewed, seconds since 1970."""

    digest: str
    bytes: int
    changed: float


class BlobFolder:
    """Every method is synchronous and safe to call from several threads and processes at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._whole = root / "sha256"
        self._partial = root / "partial"
        self._new = root / "new"
        for folder in (self._whole, self._partial, self._new):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def identity(self, *, make: bool) -> str:
        """The id of this store; "" where it has none. `make`: then it gets one."""
        path = self.root / "store-id"
        with suppress(FileNotFoundError):
            return path.read_text(encoding="ascii").strip()
        if not make:
            return ""
        draft = self._new / secrets.token_hex(16)
        try:
            with _space(path):
                draft.write_text(f"{secrets.token_hex(16)}\n", encoding="ascii")
                with suppress(FileExistsError):  # another process was first
                    os.link(draft, path)
                sync_folder(self.root)
        finally:
            draft.unlink(missing_ok=True)
        return path.read_text(encoding="ascii").strip()

    def put(self, data: bytes) -> str:
        """Stores the bytes and gives their digest. Raises NoSpace, leaving nothing behind."""
        digest = digest_of(data)
        if not self.renew(digest) or not self._intact(digest, len(data)):
            with self._named_later(digest) as temporary:
                temporary.write_bytes(data)
        return digest

    def has(self, digest: str) -> bool:
        return self._path(digest).is_file()

    def path(self, digest: str) -> Path:
        """The file of a whole blob. Raises NotFound, or BadInput where `digest` is none."""
        path = self._path(digest)
        if not path.is_file():
            raise NotFound(f"blob {digest}: is not here")
        return path

    def read(self, digest: str) -> bytes:
        """Raises NotFound; DigestMismatch where the disk gives other bytes than were put (putting it again mends it)."""
        try:
            data = self._path(digest).read_bytes()
        except FileNotFoundError as error:
            raise NotFound(f"blob {digest}: is not here") from error
        if digest_of(data) != digest:
            raise DigestMismatch(f"blob {digest}: the file holds other bytes", hint="the disk is failing; put the blob again")
        return data

    def stored_bytes(self, digest: str) -> int:
        """Bytes that are here, from the blob's start: all of them where it is whole, 0 where nothing has come."""
        for path in (self._path(digest), self._partial_path(digest)):
            with suppress(FileNotFoundError):
                return path.stat().st_size
        return 0

    def append(self, digest: str, offset: int, data: bytes) -> int:
        """Adds to a partial blob and gives the bytes that are here now.

        Raises:
            Conflict: `offset` is not the number of stored bytes; call `stored_bytes` and continue there.
            TooLarge: the blob would be over MAX_BLOB_BYTES.
            NoSpace: the disk is full; what was here before stays.
        """
        end = offset + len(data)
        if end > MAX_BLOB_BYTES:
            raise TooLarge(f"blob {digest}: {end} bytes is over the limit of {MAX_BLOB_BYTES}")
        partial = self._partial_path(digest)
        with _space(partial), _locked(partial) as file:
            stored = os.fstat(file).st_size
            if offset != stored:
                raise Conflict(
                    f"blob {digest}: offset {offset} is not the {stored} bytes that are stored", hint="continue from there"
                )
            try:
                written = 0
                while written < len(data):
                    written += os.pwrite(file, memoryview(data)[written:], offset + written)
            except OSError:
                os.ftruncate(file, offset)
                raise
        return end

    def complete(self, digest: str, total_bytes: int) -> Path:
        """Makes a partial blob whole: checks it, syncs it, names it. A blob that is whole already stays as it is.

        Raises:
            Conflict: bytes are missing; what is here stays.
            DigestMismatch: the bytes are not those of the digest; they are thrown away.
            NoSpace: the disk is full.
        """
        final, partial = self._path(digest), self._partial_path(digest)
        if self.renew(digest):
            partial.unlink(missing_ok=True)
            return final
        with _space(partial), _locked(partial) as file:
            stored = os.fstat(file).st_size
            if stored < total_bytes:
                raise Conflict(f"blob {digest}: {stored} of {total_bytes} bytes are stored", hint="continue from there")
            with os.fdopen(os.dup(file), "rb") as reader:
                found = PREFIX + hashlib.file_digest(reader, "sha256").hexdigest()
            if stored > total_bytes or found != digest:
                partial.unlink(missing_ok=True)
                raise DigestMismatch(f"blob {digest}: {stored} bytes came, their digest is {found}", hint="put it again")
            os.utime(file)
            os.fsync(file)
            final.parent.mkdir(mode=0o700, exist_ok=True)
            partial.replace(final)
        sync_folder(final.parent)
        return final

    def sweep(self, before: float) -> int:
        """Removes partial and unnamed files not written to since `before` (seconds since 1970); gives how many."""
        files = [file for file, _ in self._unfinished(before)]
        for file in files:
            file.unlink(missing_ok=True)
        return len(files)

    def trim(self, before: float) -> int:
        """Nothing: there are no copies here, but the blobs themselves."""
        return 0

    def unfinished(self, before: float) -> tuple[int, int]:
        """How many files `sweep` would remove, and their bytes."""
        sizes = [size for _, size in self._unfinished(before)]
        return len(sizes), sum(sizes)

    def _unfinished(self, before: float) -> Iterator[tuple[Path, int]]:
        for file in (*self._partial.iterdir(), *self._new.iterdir()):
            with suppress(FileNotFoundError):
                if (stat := file.stat()).st_mtime < before:
                    yield file, stat.st_size

    def entries(self) -> Iterator[BlobEntry]:
        """Every whole blob, in no order."""
        for file in self._whole.glob("??/*"):
            with suppress(FileNotFoundError):
                stat = file.stat()
                yield BlobEntry(PREFIX + file.name, stat.st_size, stat.st_mtime)

    def renew(self, digest: str) -> bool:
        """Says that somebody wants a blob: until later than now it is not discarded. False where it is not here."""
        with self._alone(fcntl.LOCK_SH):
            try:
                os.utime(self._path(digest))
            except FileNotFoundError:
                return False
        return True

    def discard(self, digest: str, before: float) -> int:
        """Removes a blob that was not put or renewed since `before` (seconds since 1970), and gives its bytes; 0: it stays."""
        path = self._path(digest)
        with self._alone(fcntl.LOCK_EX):
            try:
                if (stat := path.stat()).st_mtime >= before:
                    return 0
                path.unlink()
            except FileNotFoundError:
                return 0
        return stat.st_size

    @contextmanager
    def _alone(self, how: int) -> Iterator[None]:
        """No process renews a blob while another discards it."""
        folder = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, how)
            yield
        finally:
            os.close(folder)

    def _path(self, digest: str) -> Path:
        name = hex_of(digest)  # 64 hex digits, so no path leads out of the folder
        return self._whole / name[:2] / name

    def _partial_path(self, digest: str) -> Path:
        return self._partial / hex_of(digest)

    def _intact(self, digest: str, total_bytes: int) -> bool:
        """Whether the blob is here with its own bytes; one that rotted is put again."""
        path = self._path(digest)
        try:
            return path.stat().st_size == total_bytes and digest_of_file(path) == digest
        except FileNotFoundError:
            return False

    @contextmanager
    def _named_later(self, digest: str) -> Iterator[Path]:
        temporary = self._new / secrets.token_hex(16)
        final = self._path(digest)
        try:
            with _space(final):
                temporary.touch(mode=0o600, exist_ok=False)
                yield temporary
                with temporary.open("rb") as file:
                    os.fsync(file.fileno())
                final.parent.mkdir(mode=0o700, exist_ok=True)
                temporary.replace(final)
                sync_folder(final.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """The file, opened and locked; opened anew where another made it whole or threw it away while we waited."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                current = os.fstat(file).st_ino == path.stat().st_ino
            except FileNotFoundError:
                current = False
            if current:
                yield file
                return
        finally:
            os.close(file)


@contextmanager
def _space(path: Path) -> Iterator[None]:
    """A full disk in the words of littoral.errors."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise NoSpace(
                f"blob: no space for {path.name} in {path.parent}: {error.strerror}", hint="free some, then again"
            ) from error
        raise FleetError(f"blob: {path} cannot be written: {error.strerror or error}", hint="see who owns it") from error
