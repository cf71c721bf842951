"""One artifact, tested as a node tests it; imports nothing that trains."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from littoral import codec
from littoral.codec_errors import codec_errors
from littoral.digest import digest_of_file
from littoral.manifest import MAX_MANIFEST_BYTES, Manifest
from littoral.measurement import MeasurementResult
from littoral.measuring import Measurer

_ENVELOPE = 4 / 3
"""How much longer a signed envelope is than what it holds."""


async def tried(
    manifest: Manifest, files: Mapping[str, bytes], coded: Mapping[str, bytes], measurer: Measurer
) -> MeasurementResult:
    """What a node finds, and measures, of one artifact; `failure` ABSENT where its runtime is not here.

    Args:
        files, coded: as Packaged holds them.
    """
    with tempfile.TemporaryDirectory(prefix="littoral-made-") as made:
        paths: dict[str, Path] = {}
        for number, file in enumerate(manifest.files):
            content = files[file.path] if file.transfer is None else coded[file.path]
            path = paths[file.digest if file.transfer is None else file.transfer.digest] = Path(made, str(number))
            path.write_bytes(content)
        return await tried_from(manifest, paths.__getitem__, measurer)


async def tried_from(manifest: Manifest, path: Callable[[str], Path], measurer: Measurer) -> MeasurementResult:
    """As `tried`, of files on this disk.

    Args:
        path: of the file with the bytes of a digest.
    """
    size = round(len(manifest.encode()) * _ENVELOPE)
    if size > MAX_MANIFEST_BYTES:
        return MeasurementResult(
            failure="bad-manifest", detail=f"its manifest has {size:,} bytes, at most {MAX_MANIFEST_BYTES:,} are read"
        )
    with tempfile.TemporaryDirectory(prefix="littoral-tried-") as scratch:
        folder = Path(scratch)
        if (wrong := await asyncio.to_thread(_unpacked, manifest, path, folder)) is not None:
            return MeasurementResult(failure="digest-mismatch", detail=f"{wrong} is not what the manifest says")
        return await measurer.measure(manifest, folder)


def _unpacked(manifest: Manifest, path: Callable[[str], Path], folder: Path) -> str | None:
    """Writes the artifact as a node has it. Gives the file that is not what the manifest says."""
    for file in manifest.files:
        place = folder / file.path
        if file.transfer is None:
            shutil.copyfile(path(file.digest), place)
        else:
            with codec_errors():
                codec.decode_file(path(file.transfer.digest), place, limit=file.bytes)
        if digest_of_file(place) != file.digest:
            return file.path
    return None
