"""How to ask a model that is served now: the node of this machine, or another one."""

from __future__ import annotations

import json
from pathlib import Path

from littoral.errors import NotFound
from littoral.manifest import Manifest
from littoral_cloud.app import Core
from littoral_cloud.local.snippets import Where, snippets

NODE_FOLDER = "node"
"""Below a data folder: the node that `littoral-cloud up` starts there."""


def how_to_ask(core: Core, model: str, manifest_digest: str, where: Where) -> str:
    """Commands to paste; "" where the artifact is here no more."""
    try:
        manifest = Manifest.open(core.blobs.read(manifest_digest), core.trust.signing_keys())
    except NotFound:
        return ""
    return snippets(model, manifest, where)


def node_here(data_dir: Path, node_id: str) -> Where | None:
    """Where this node answers; None where it is not the one beside this data folder."""
    folder = data_dir / NODE_FOLDER
    try:
        if json.loads((folder / "node.json").read_text())["node_id"] != node_id:
            return None
        serving = json.loads((folder / "serving.json").read_text())
        return Where(str(serving["http"]), str(serving.get("grpc", "")), str(folder))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
