"""Artifacts on this node: DIR/artifacts/HEX/ holds manifest.dsse and the files it names, all checked, or does not exist.

A folder appears by one rename, so that half of an artifact is never seen under its name.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

from littoral.codec_errors import BadCoding
from littoral.digest import digest_of, digest_of_file, hex_of
from littoral.errors import BadManifest, DigestMismatch, NotFound, TooLarge
from littoral.manifest import MAX_MANIFEST_BYTES, File, Manifest, Transfer
from littoral_node.artifacts.manifest_file import ENVELOPE
from littoral_node.artifacts.unpack import Coded, unpack
from littoral_node.identity.files import sync_folder, write_atomic
from littoral_node.transfer.blobs import NodeBlobs


class Artifacts:
    """Args:
    root: DIR/artifacts.
    blobs: where the parts come from.
    trusted: raw Ed25519 public keys by key id; what none of them signed is never parsed.
    """

    def __init__(self, root: Path, blobs: NodeBlobs, trusted: Mapping[str, bytes]) -> None:
        self._root = root
        self._blobs = blobs
        self._trusted = trusted
        self._turn = asyncio.Lock()

    def folder(self, digest: str) -> Path:
        return self._root / hex_of(digest)

    def held(self, digest: str) -> bool:
        return self.folder(digest).is_dir()

    async def manifest(self, digest: str) -> Manifest:
        """The manifest: from the disk where it lies whole there, else from the cloud. Raises Untrusted, BadManifest, and what
        Blobs.get raises."""
        envelope = self._envelope(digest)
        return self._opened(envelope if envelope is not None else await self._fetched(digest))

    def _envelope(self, digest: str) -> bytes | None:
        """Out of the artifact's folder; None where it is not there, or not what it was."""
        try:
            envelope = (self.folder(digest) / ENVELOPE).read_bytes()
        except FileNotFoundError:
            return None
        return envelope if digest_of(envelope) == digest else None

    async def _fetched(self, digest: str) -> bytes:
        envelope = (await self._blobs.get(digest, limit=MAX_MANIFEST_BYTES)).read_bytes()
        if digest_of(envelope) == digest:
            return envelope
        self._blobs.drop(digest)  # right when it came, and changed by the disk since
        place = await self._blobs.get(digest, limit=MAX_MANIFEST_BYTES)
        if digest_of(envelope := place.read_bytes()) != digest:
            raise DigestMismatch(f"manifest {digest[:19]}: is not what lies in {place}", hint="the disk may be failing")
        return envelope

    def _opened(self, envelope: bytes) -> Manifest:
        manifest = Manifest.open(envelope, self._trusted)
        if any(file.path == ENVELOPE for file in manifest.files):
            raise BadManifest(f"manifest.files: {ENVELOPE!r} is the envelope's own name")
        return manifest

    def check_room(self, digest: str, manifest: Manifest) -> None:
        """Raises NoSpace where what is still missing of an artifact does not fit on the disk."""
        if not self.held(digest):
            missing = sum(max(0, blob.bytes - self._blobs.held_bytes(blob.digest)) for blob in _blobs_of(manifest))
            decoded = sum(file.bytes for file in manifest.files if file.transfer is not None)
            self._blobs.check_room(missing + decoded)

    async def fetch(self, digest: str, manifest: Manifest) -> None:
        """Brings every file here that is not. Raises what Blobs.get raises."""
        if not self.held(digest):
            for blob in _blobs_of(manifest):
                await self._blobs.get(blob.digest, blob.bytes)

    async def assemble(self, digest: str, manifest: Manifest) -> Path:
        """Makes the artifact's folder from its blobs, or checks the one that is there.

        Raises DigestMismatch where a file is not what the manifest names; the damaged copy is deleted, so that asking
        again fetches it again. Raises BadCoding or TooLarge where what travelled was signed so, and does not give the file.
        """
        async with self._turn:  # one at a time: it takes memory and the disk
            return await self._assembled(digest, manifest)

    async def _assembled(self, digest: str, manifest: Manifest) -> Path:
        if self.held(digest):
            return await asyncio.to_thread(self._rechecked, digest, manifest)
        beside = self._root / f".{hex_of(digest)}.new"
        try:
            await unpack(await asyncio.to_thread(self._laid, beside, manifest))
            return await asyncio.to_thread(self._appear, digest, beside, manifest)
        except (DigestMismatch, BadCoding, TooLarge):
            for blob in _blobs_of(manifest):
                self._blobs.drop(blob.digest)
            raise
        finally:
            shutil.rmtree(beside, ignore_errors=True)  # what a full disk or a bad blob left

    def _rechecked(self, digest: str, manifest: Manifest) -> Path:
        folder = self.folder(digest)
        try:
            _check(folder, manifest)
        except DigestMismatch:
            shutil.rmtree(folder)
            raise
        if self._envelope(digest) is None:
            if (fetched := self._blobs.path(digest)) is None:
                raise NotFound(f"artifact {manifest.name}: its manifest was not fetched")
            write_atomic(folder / ENVELOPE, fetched.read_bytes())
            self._blobs.drop(digest)
        return folder

    def _laid(self, beside: Path, manifest: Manifest) -> list[Coded]:
        """Puts what travelled as it lies into the folder, and gives what is to be decoded there."""
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        coded = []
        for file in manifest.files:
            named = file.transfer or file
            blob = self._blobs.path(named.digest)
            if blob is None:
                raise NotFound(f"artifact {manifest.name}: {file.path} was not fetched")
            if file.transfer is None:
                _link_or_copy(blob, beside / file.path)
                continue
            if digest_of_file(blob) != named.digest:
                raise DigestMismatch(f"artifact {manifest.name}: what travelled for {file.path} was changed on the disk")
            coded.append(Coded(blob, beside / file.path, file.bytes))
        return coded

    def _appear(self, digest: str, beside: Path, manifest: Manifest) -> Path:
        """Checks what lies in the folder and gives it its name; the blobs go."""
        _check(beside, manifest)
        envelope = self._blobs.path(digest)
        if envelope is None:
            raise NotFound(f"artifact {manifest.name}: its manifest was not fetched")
        write_atomic(beside / ENVELOPE, envelope.read_bytes())
        folder = self.folder(digest)
        beside.replace(folder)
        sync_folder(self._root)
        for part in (digest, *(blob.digest for blob in _blobs_of(manifest))):
            self._blobs.drop(part)  # the folder has them now
        return folder

    async def open(self, digest: str) -> tuple[Manifest, Path]:
        """Checks an artifact of this node again: the disk may have changed it. Raises NotFound, DigestMismatch, Untrusted,
        BadManifest."""
        if not self.held(digest):
            raise NotFound(f"artifact {digest[:19]}: is not on this node")
        if (envelope := self._envelope(digest)) is None:
            raise DigestMismatch(
                f"artifact {digest[:19]}: {ENVELOPE} is missing, or not what it was", hint="the cloud is asked for it again"
            )
        manifest = self._opened(envelope)
        return manifest, await self.assemble(digest, manifest)

    async def obtain(self, digest: str) -> tuple[Manifest, Path]:
        """`open`, after fetching what is missing."""
        manifest = await self.manifest(digest)
        self.check_room(digest, manifest)
        await self.fetch(digest, manifest)
        async with self._turn:
            await self.fetch(digest, manifest)  # what another artifact that shares a file with it has used up meanwhile
            return manifest, await self._assembled(digest, manifest)

    def bytes_of(self, digest: str) -> int:
        """Of its files on the disk, without the signed manifest; 0 where it is not here."""
        return _files_bytes(self.folder(digest))

    def bytes_held(self) -> int:
        """Of the files of every artifact that is here."""
        return sum(_files_bytes(folder) for folder in self._root.iterdir())

    def drop(self, digest: str) -> None:
        shutil.rmtree(self.folder(digest), ignore_errors=True)

    def sweep(self, keep: Collection[str]) -> list[str]:
        """Deletes every artifact that is not in `keep`; gives their digests' hex digits."""
        retained = {hex_of(digest) for digest in keep}
        gone = [entry.name for entry in self._root.iterdir() if entry.name.removeprefix(".").removesuffix(".new") not in retained]
        for name in gone:
            shutil.rmtree(self._root / name, ignore_errors=True)
        return gone


def _blobs_of(manifest: Manifest) -> list[File | Transfer]:
    """What is fetched, once each: two files may be alike."""
    return list({blob.digest: blob for blob in (file.transfer or file for file in manifest.files)}.values())


def _files_bytes(folder: Path) -> int:
    if not folder.is_dir():
        return 0
    return sum(file.stat().st_size for file in folder.iterdir() if file.name != ENVELOPE)


def _check(folder: Path, manifest: Manifest) -> None:
    for file in manifest.files:
        place = folder / file.path
        if not place.is_file() or place.stat().st_size != file.bytes or digest_of_file(place) != file.digest:
            raise DigestMismatch(
                f"artifact {manifest.name}: {file.path} is not what the manifest names", hint="it is fetched again"
            )


def _link_or_copy(blob: Path, place: Path) -> None:
    try:
        os.link(blob, place)
    except OSError:  # a card with a file system that knows no links
        shutil.copyfile(blob, place)
        with place.open("rb") as file:
            os.fsync(file.fileno())
