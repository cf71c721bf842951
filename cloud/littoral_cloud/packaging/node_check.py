"""Tests an artifact as a node will, before it is signed and released.

Each artifact is written as it travels and decoded. Then a node's own process (littoral/measuring.py) reads its manifest, loads
it, compares its answers with its probe and measures it. Every node would refuse what does not pass.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from littoral import codec
from littoral.codec_errors import codec_errors
from littoral.digest import digest_of
from littoral.errors import RuntimeFailure
from littoral.manifest import MAX_MANIFEST_BYTES, Manifest
from littoral.measurement import MeasurementResult
from littoral.measuring import ABSENT, Measurer
from littoral_cloud.packaging.package import Packaged
from littoral_cloud.training.resume import Tell
from littoral_cloud.training.schedule import ignore

_ENVELOPE = 4 / 3
"""How much longer a signed envelope is than what it holds."""


async def taken_by_a_node(made: Sequence[Packaged], tell: Tell = ignore) -> tuple[Packaged, ...]:
    """The artifacts that a node accepts, in their order.

    Args:
        tell: called with a message about each that is left out, and each that was not tested because its runtime is not here.

    Raises RuntimeFailure where none is left.
    """
    taken: list[Packaged] = []
    refused: list[str] = []
    measurer = Measurer(1, None)
    try:
        for packaged in made:
            manifest = packaged.manifest
            result = await tried(manifest, packaged.files, packaged.coded, measurer)
            if result.failure in ("", ABSENT):
                taken.append(packaged)
            if result.failure == ABSENT:
                tell(f"{manifest.name}: not tried as a node would, {manifest.runtime} is not here")
            elif result.failure:
                refused.append(f"{manifest.name}: {result.failure}: {result.detail}")
    finally:
        measurer.end()
    if not taken:
        raise RuntimeFailure(f"a node refuses {'; '.join(refused)}", hint="nothing was released")
    for reason in refused:
        tell(f"a node refuses {reason}; it is not released")
    return tuple(taken)


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
