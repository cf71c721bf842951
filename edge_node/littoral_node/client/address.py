"""The address of the node on this machine: from the file that it wrote when it was ready, else from its settings."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from littoral.errors import BadInput, FleetError, NotFound
from littoral.transport import is_loopback, join_address, split_address
from littoral_node.artifacts.manifest_file import ENVELOPE
from littoral_node.client.node import ArtifactClient, Client, NodeAddress, NodeClient
from littoral_node.config.settings import given_settings, load_settings, settings_from
from littoral_node.identity.files import read_json
from littoral_node.identity.folder import DATA, NodeFolder
from littoral_node.serving.access import token_in

_WAY_OUT = "--token-file FILE, the one that the node runs with"


def address_of(
    folder: NodeFolder, environment: Mapping[str, str], *, http: str, token_file: Path | None, fingerprint: str
) -> NodeAddress:
    """The default address where this user may not read the folder. Raises BadInput for wrong settings, or without a token.

    Args:
        http, fingerprint: "": as in the folder. token_file: None: as in the node's settings.
    """
    found: Mapping[str, Any] = {}
    try:
        found = read_json(folder.serving) or {}
        settings = settings_from(folder.root, found.get("settings") or given_settings(folder.root, {}, environment))
    except PermissionError:
        settings = load_settings(Path("/nonexistent"), {}, environment)
    except FleetError as error:
        if isinstance(error, BadInput):
            raise
        settings = load_settings(folder.root, {}, environment)  # serving.json is damaged
    address = http or str(found.get("http") or join_address(settings.http_host, settings.http_port))
    if is_loopback(split_address(address, "--http")[0]):
        return NodeAddress(address)
    shown = fingerprint or (str(found.get("certificate_sha256", "")) if address == found.get("http") else "")
    if not shown:
        raise BadInput(
            f"--http {address}: is not loopback, and its certificate is unknown here",
            hint="--certificate-sha256 HEX, from the node's `ready` line",
        )
    if (file := token_file or settings.token_file) is None:
        raise BadInput(f"--http {address}: is not loopback: it demands a token, and none is known here", hint=_WAY_OUT)
    return NodeAddress(address, token_in(file, _WAY_OUT), shown)


def client_of(parsed: argparse.Namespace, environment: Mapping[str, str]) -> Client:
    """The client that the flags of `infer` and `watch` choose."""
    model, data = parsed.model, parsed.data
    folder = NodeFolder((data or DATA).expanduser().absolute())
    if data is not None and not _is_there(folder.root):
        raise NotFound(f"--data {folder.root}: there is no such folder", hint="name a node's folder, or its address with --http")
    if model and (Path(model) / ENVELOPE).is_file():
        return ArtifactClient(Path(model), trusted(folder))
    address = address_of(
        folder, environment, http=parsed.http, token_file=parsed.token_file, fingerprint=parsed.certificate_sha256
    )
    return NodeClient(address, model)


def _is_there(folder: Path) -> bool:
    try:
        return folder.is_dir()
    except PermissionError:  # inside a folder that this user may not read
        return True


def trusted(folder: NodeFolder) -> Mapping[str, bytes] | None:
    """The signing keys that this machine's node trusts; None where there is no node, or this user may not read its folder."""
    try:
        return folder.identity().signing_keys
    except (FleetError, OSError):
        return None
