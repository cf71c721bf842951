"""What travelled coded becomes the file that the runtime loads, decoded outside the agent, or nothing at all."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from littoral import codec
from littoral.codec_errors import BadCoding
from littoral.digest import digest_of, hex_of
from littoral.errors import DigestMismatch, TooLarge
from littoral.identity import key_id_of
from littoral.manifest import File, Manifest, Transfer
from littoral_node.artifacts.repository import ENVELOPE, Artifacts
from littoral_node.artifacts.unpack import Coded, unpack
from littoral_node.transfer.blobs import NodeBlobs
from tests.kit.blob_source import BlobSource, blob_source
from tests.kit.models import artifact

pytest_plugins = ("tests.kit.disk",)

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture
async def source() -> AsyncIterator[BlobSource]:
    async with blob_source() as running:
        yield running


def artifacts_in(root: Path, source: BlobSource, tmp_path: Path) -> Artifacts:
    public = KEY.public_key().public_bytes_raw()
    blobs = NodeBlobs(tmp_path / "blobs", source.channel, monotonic=time.monotonic, rng=random.Random(3))
    return Artifacts(root, blobs, {key_id_of(public): public})


@pytest.fixture
def artifacts(source: BlobSource, tmp_path: Path) -> Artifacts:
    (tmp_path / "artifacts").mkdir()
    return artifacts_in(tmp_path / "artifacts", source, tmp_path)


def coded_artifact(source: BlobSource, folder: Path, coded: bytes | None = None) -> tuple[str, Manifest]:
    """An artifact whose one file travels as `coded`; None: as the file, coded."""
    manifest = artifact(folder)
    data = (folder / manifest.files[0].path).read_bytes()
    coded = codec.encode(data) if coded is None else coded
    transfer = Transfer(codec.NAME, source.hold(coded), len(coded))
    manifest = replace(manifest, files=(File(manifest.files[0].path, digest_of(data), len(data), transfer),))
    return source.hold(manifest.seal(KEY)), manifest


async def test_the_file_comes_back_bit_for_bit_without_the_decoder_in_this_process(
    artifacts: Artifacts, source: BlobSource, tmp_path: Path
) -> None:
    digest, manifest = coded_artifact(source, tmp_path / "made")
    _, folder = await artifacts.obtain(digest)
    name = manifest.files[0].path
    assert (folder / name).read_bytes() == (tmp_path / "made" / name).read_bytes()
    assert sorted(entry.name for entry in folder.iterdir()) == sorted([ENVELOPE, name])
    assert not list((tmp_path / "blobs").iterdir())  # the folder has them now


def test_an_agent_never_imports_the_decoder_s_packages() -> None:
    words = (
        "import sys, littoral_node.artifacts.repository; print([m for m in ('constriction', 'zstandard') if m in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


@pytest.mark.parametrize(
    ("coded", "error"),
    [
        (b"\x4c", BadCoding),
        (codec.encode(bytes(1_000_000)), TooLarge),
        (codec.encode(b"another file"), DigestMismatch),
    ],
)
async def test_a_coding_that_gives_another_file_leaves_nothing(
    artifacts: Artifacts, source: BlobSource, tmp_path: Path, coded: bytes, error: type[Exception]
) -> None:
    digest, _ = coded_artifact(source, tmp_path / "made", coded)
    with pytest.raises(error):
        await artifacts.obtain(digest)
    assert not list((tmp_path / "artifacts").iterdir())
    assert [entry.name for entry in (tmp_path / "blobs").iterdir()] == [hex_of(digest)]  # what is bad is fetched again


async def test_two_who_want_one_artifact_at_once_both_get_it(artifacts: Artifacts, source: BlobSource, tmp_path: Path) -> None:
    digest, manifest = coded_artifact(source, tmp_path / "made")
    await artifacts.fetch(digest, await artifacts.manifest(digest))
    first, second = await asyncio.gather(*(artifacts.assemble(digest, manifest) for _ in range(2)))
    assert first == second == artifacts.folder(digest)


async def test_two_that_share_a_file_and_are_wanted_at_once_are_both_whole(
    artifacts: Artifacts, source: BlobSource, tmp_path: Path
) -> None:
    digest, manifest = coded_artifact(source, tmp_path / "made")
    other = source.hold(replace(manifest, model="another").seal(KEY))
    for (_, folder), which in zip(
        await asyncio.gather(artifacts.obtain(digest), artifacts.obtain(other)), (digest, other), strict=True
    ):
        assert folder == artifacts.folder(which)
        assert (folder / manifest.files[0].path).read_bytes() == (tmp_path / "made" / manifest.files[0].path).read_bytes()
    assert not list((tmp_path / "blobs").iterdir())


async def test_a_full_disk_is_said_and_leaves_no_half_of_an_artifact(source: BlobSource, tmp_path: Path, tiny_disk: Path) -> None:
    artifacts = artifacts_in(tiny_disk, source, tmp_path)
    digest, manifest = coded_artifact(source, tmp_path / "made", codec.encode(bytes(1_000_000)))
    big = replace(manifest, files=(replace(manifest.files[0], bytes=1_000_000),))
    await artifacts.fetch(digest, big)
    with pytest.raises(OSError, match="No space left"):
        await artifacts.assemble(digest, big)
    assert not list(tiny_disk.iterdir())


async def test_files_that_are_not_there_are_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await unpack([Coded(tmp_path / "none", tmp_path / "out", 10)])
