"""Where the node of this machine answers: what it wrote down when it was ready, else what its settings say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edge_node.asking.node import Folder, Node, Oracle
from edge_node.installing.layout import DATA
from edge_node.settings import load_settings
from edge_node.store import NodeFolder, read_json
from edge_node.update.envelope import ENVELOPE
from littoral.errors import FleetError


def address_of(folder: NodeFolder, environment: Mapping[str, str]) -> str:
    """host:port. A folder that this user may not read leaves the usual one. Raises BadInput for wrong settings."""
    try:
        said = read_json(folder.serving)
        if said is not None and isinstance(said.get("http"), str):
            return str(said["http"])
        settings = load_settings(folder.root, {}, environment)
    except PermissionError:
        settings = load_settings(Path("/nonexistent"), {}, environment)
    return f"{settings.http_host}:{settings.http_port}"


def oracle_of(model: str, http: str, data: Path | None, environment: Mapping[str, str]) -> Oracle:
    """Who is asked.

    Args:
        model: a served model's name, or an artifact's folder; "": the node's only one.
        http: host:port; "": as the node's folder says.
        data: the node's folder; None: the usual one.
    """
    folder = NodeFolder((data or DATA).expanduser().absolute())
    if model and (Path(model) / ENVELOPE).is_file():
        return Folder(Path(model), trusted(folder))
    return Node(http or address_of(folder, environment), model)


def trusted(folder: NodeFolder) -> Mapping[str, bytes] | None:
    """The keys that this machine's node believes; None where there is none, or it may not be read."""
    try:
        return folder.identity().signing_keys
    except (FleetError, OSError):
        return None
