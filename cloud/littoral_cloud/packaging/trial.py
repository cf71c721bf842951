"""One artifact, tested as a node tests it; imports nothing that trains."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from littoral import codec
from littoral.codec_errors import codec_errors
from littoral.digest import digest_of
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
    size = round(len(manifest.encode()) * _ENVELOPE)
    if size > MAX_MANIFEST_BYTES:
        return MeasurementResult(
            failure="bad-manifest", detail=f"its manifest has {size:,} bytes, at most {MAX_MANIFEST_BYTES:,} are read"
        )
    with tempfile.TemporaryDirectory(prefix="littoral-tried-") as scratch:
        folder = Path(scratch, "artifact")
        folder.mkdir()
        for file in manifest.files:
            place = folder / file.path
            if file.transfer is None:
                place.write_bytes(files[file.path])
            else:
                travels = Path(scratch, "coded")
                travels.write_bytes(coded[file.path])
                with codec_errors():
                    codec.decode_file(travels, place, limit=file.bytes)
            if digest_of(place.read_bytes()) != file.digest:
                return MeasurementResult(failure="digest-mismatch", detail=f"{file.path} is not what the manifest says")
        return await measurer.measure(manifest, folder)
