"""Where the blobs of a coordinator are, from its settings."""

from __future__ import annotations

from pathlib import Path

from littoral_cloud.store.blobs import BlobFolder


def open_blobs(data_dir: Path, setting: str | None) -> BlobFolder:
    """The folder that the setting names; else DATA/blobs. Raises OSError where it cannot be made."""
    return BlobFolder(Path(setting) if setting else data_dir / "blobs")
