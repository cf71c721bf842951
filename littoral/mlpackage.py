"""A Core ML package as Littoral keeps it: two files, the model and its weights, by bare names.

What Core ML reads is a folder with a Manifest.json that is different at each save; `laid_out` makes that folder, always the same,
of the two files, so that an artifact is named by what it calculates.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

MODEL, WEIGHTS = "model.mlmodel", "weight.bin"
_INSIDE = {MODEL: "com.apple.CoreML/model.mlmodel", WEIGHTS: "com.apple.CoreML/weights"}
_IDS = {MODEL: "6c697474-6f72-416c-8000-6d6f64656c00", WEIGHTS: "6c697474-6f72-416c-8000-776569676874"}
"""Items of a package are named by a UUID each; any will do."""


def laid_out(folder: Path, package: Path) -> Path:
    """Writes the package of the files in `folder` (the model; weights where there are some) to `package`, a folder *.mlpackage
    that is not there yet. Raises OSError."""
    names = [name for name in (MODEL, WEIGHTS) if (folder / name).is_file() or name == MODEL]
    for name in names:
        place = package / "Data" / _INSIDE[name]
        if name == WEIGHTS:
            place /= WEIGHTS
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, place)
    items = {
        _IDS[name]: {"author": "com.apple.CoreML", "description": "", "name": Path(_INSIDE[name]).name, "path": _INSIDE[name]}
        for name in names
    }
    manifest = {"fileFormatVersion": "1.0.0", "itemInfoEntries": items, "rootModelIdentifier": _IDS[MODEL]}
    (package / "Manifest.json").write_text(json.dumps(manifest, indent=2, sort_keys=True))
    return package


def taken_from(package: Path) -> dict[str, bytes]:
    """The two files of a package, by our names: all of it but its Manifest.json. Raises OSError."""
    core = package / "Data" / "com.apple.CoreML"
    weights = core / "weights" / WEIGHTS
    return {MODEL: (core / "model.mlmodel").read_bytes()} | ({WEIGHTS: weights.read_bytes()} if weights.is_file() else {})
