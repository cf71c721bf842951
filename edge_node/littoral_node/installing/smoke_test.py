"""Loads every model that a node serves and checks it on its probe: a new release must be able to do this.

    python -m littoral_node.installing.smoke_test --data DIR

prints {"loaded": ["digits (cnn-m)"]}; changes nothing. Exit code 1, and the reason, where a model fails.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from littoral.digest import hex_of
from littoral.errors import FleetError
from littoral.manifest import Manifest
from littoral_node.artifacts.manifest_file import ENVELOPE
from littoral_node.artifacts.probe import load_checked
from littoral_node.identity.folder import NodeFolder
from littoral_node.update.journal import UpdateJournal


def loaded(folder: NodeFolder) -> list[str]:
    """Loads each model; returns "MODEL (ARTIFACT)" for each. Raises what load_checked raises."""
    if not folder.enrolled():
        return []
    trusted = folder.identity().signing_keys
    names = []
    for model in folder.model_names():
        digest = UpdateJournal(folder.model(model)).committed().active
        if not digest:
            continue
        place = folder.artifacts / hex_of(digest)
        manifest = Manifest.open((place / ENVELOPE).read_bytes(), trusted)
        load_checked(manifest, place, 1).close()
        names.append(f"{model} ({manifest.name})")
    return names


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m littoral_node.installing.smoke_test")
    parser.add_argument("--data", type=Path, required=True)
    try:
        names = loaded(NodeFolder(parser.parse_args().data))
    except (FleetError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(json.dumps({"loaded": names}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
