"""Where the blobs of a coordinator are, from its settings."""

from __future__ import annotations

from pathlib import Path

from littoral_cloud.fleet.blobs import BlobStore
from littoral_cloud.store.blobs import BlobFolder
from littoral_cloud.store.object_blobs import ObjectBlobs

FOLDER = "blobs"


def open_blobs(data_dir: Path, setting: str | None) -> BlobStore:
    """The folder or object store that the setting names; else DATA/blobs. An object store has its copies in DATA/blobs.

    Raises BadInput; OSError where a folder cannot be made.
    """
    if setting and "://" in setting:
        return ObjectBlobs(setting, data_dir / FOLDER)
    return BlobFolder(Path(setting) if setting else data_dir / FOLDER)
