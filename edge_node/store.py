"""The node's folder: who it is, what it holds. Every file is written beside its place and renamed into it.

DIR/node.json, key.pem, cert.pem, ca.pem    identity; node.json is written last and makes it whole
DIR/key.new.pem                             key of an enrolment that is under way: asking again gives the same node
DIR/node.toml                               settings (optional)
DIR/serving.json                            where the agent that was last started answers, and what it was told
DIR/state.json                              generation of the reported state
DIR/blobs/                                  downloads under way, by digest
DIR/artifacts/HEX/                          verified artifacts: manifest.dsse and the files it names
DIR/models/NAME/slots.json, update.json     what is served and kept of one model; the journal of its update
DIR/models/NAME/memory.json                 bytes of memory that its artifacts took when they were rehearsed
DIR/runtimes/                               engines and timing caches (TensorRT), compiled models (Core ML): may be deleted
DIR/federation/                             of the federated part
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from littoral.errors import BadInput, FleetError, NotFound, Unavailable, Untrusted, unwritten

_SCHEMA = 1
MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def write_atomic(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Whole or not at all, and on the disk when this returns. Raises OSError (ENOSPC, for one) with the old file intact."""
    beside = path.with_name(f".{path.name}.new")
    try:
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def append_synced(path: Path, data: bytes) -> None:
    """At the end of a file, whole or not at all, and on the disk when this returns. Raises OSError: what was begun is cut off."""
    with path.open("ab", buffering=0) as file:  # a buffer would write the rest when it is closed
        end, left = file.tell(), memoryview(data)
        try:
            while left:
                left = left[file.write(left) :]
            os.fsync(file.fileno())
        except OSError:
            os.truncate(path, end)
            raise


def sync_folder(folder: Path) -> None:
    """Makes renames in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_json(path: Path) -> dict[str, Any] | None:
    """None where there is no such file. Raises FleetError where it is not a JSON object."""
    try:
        body = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise FleetError(
            f"{path}: is damaged: {error}", hint="the disk may be failing; move the file away to start without it"
        ) from error
    if not isinstance(body, dict):
        raise FleetError(
            f"{path}: must hold an object, holds {type(body).__name__}", hint="move the file away to start without it"
        )
    return body


def put_aside(path: Path) -> None:
    """A file that is damaged is kept to be looked at, and not followed."""
    path.replace(path.with_suffix(".damaged"))


def write_json(path: Path, body: Mapping[str, Any]) -> None:
    write_atomic(path, json.dumps(body, sort_keys=True, indent=1).encode() + b"\n")


def locked(place: Path, busy: FleetError) -> int:
    """A handle that holds a lock file for this process until it is closed, or the process ends.

    Raises `busy` where another process holds it, OSError where there can be no such file.
    """
    handle = os.open(place, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise busy from error
    return handle


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this node is and whom it believes. `signing_keys`: raw Ed25519 public keys by key id."""

    node_id: str
    node_name: str
    fleet_address: str  # host:port
    certificate_pem: bytes
    ca_pem: bytes
    key_pem: bytes
    signing_keys: Mapping[str, bytes]


def _parts_of(identity: Identity) -> dict[str, str]:
    parts = {"key": identity.key_pem, "certificate": identity.certificate_pem, "ca": identity.ca_pem}
    return {name: hashlib.sha256(pem).hexdigest() for name, pem in parts.items()}


@dataclass(frozen=True, slots=True)
class NodeFolder:
    root: Path

    @property
    def blobs(self) -> Path:
        return self.root / "blobs"

    @property
    def artifacts(self) -> Path:
        return self.root / "artifacts"

    @property
    def runtimes(self) -> Path:
        """What runtimes keep from one start to the next; made by the runtime that wants it."""
        return self.root / "runtimes"

    @property
    def federation(self) -> Path:
        return self.root / "federation"

    @property
    def telemetry(self) -> Path:
        """Reports that wait for the cloud, see edge_node.spool."""
        return self.root / "telemetry.spool"

    @property
    def serving(self) -> Path:
        """Where the agent answers and what it was told, written when it is ready: `infer`, `watch` and `doctor` look there."""
        return self.root / "serving.json"

    @property
    def hints(self) -> Path:
        """What was asked of the cloud's teacher, see edge_node.joint."""
        return self.root / "hints.jsonl"

    @property
    def pending_key(self) -> Path:
        return self.root / "key.new.pem"

    def model(self, name: str) -> Path:
        """Folder of one model. Raises BadInput where the name cannot be a folder's."""
        if not MODEL_NAME.fullmatch(name):
            raise BadInput(
                f"model name: {name[:80]!r} may hold letters, digits, '.', '_' and '-' only, at most 63",
                hint="release it under such a name",
            )
        return self.root / "models" / name

    def memory(self, name: str) -> Path:
        """What a model's artifacts took, see edge_node.update.holdings."""
        return self.model(name) / "memory.json"

    def model_names(self) -> list[str]:
        folder = self.root / "models"
        return sorted(entry.name for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []

    def prepare(self) -> None:
        """Makes the folders. Raises BadInput where the place cannot be written."""
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            for folder in (self.blobs, self.artifacts, self.root / "models", self.federation):
                folder.mkdir(exist_ok=True)
        except OSError as error:
            raise unwritten(f"--data: {self.root}", error, hint="name a folder that this user may write") from error

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Holds the folder for this process: two agents with one identity would take each other's session.

        Raises Unavailable where another process holds it.
        """
        busy = Unavailable(
            f"--data {self.root}: another littoral-node runs on this folder",
            hint="stop it, or give this one a folder of its own",
        )
        handle = locked(self.root / ".lock", busy)
        try:
            yield
        finally:
            os.close(handle)

    def in_use(self) -> bool:
        """Whether a process has claimed it."""
        try:
            handle = os.open(self.root / ".lock", os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
        return False

    # -- identity --------------------------------------------------------------------------------------------------

    def enrolled(self) -> bool:
        return (self.root / "node.json").exists()

    def identity(self) -> Identity:
        """Raises NotFound where this folder is not enrolled, Untrusted where its parts do not belong together."""
        body = read_json(self.root / "node.json")
        if body is None:
            raise NotFound(f"{self.root}: no node is enrolled here", hint=f"littoral-node enroll JOIN_LINE --data {self.root}")
        try:
            if body["schema"] != _SCHEMA:
                raise FleetError(
                    f"{self.root}/node.json: schema {body['schema']!r}, this agent reads {_SCHEMA}", hint="upgrade it"
                )
            identity = Identity(
                node_id=str(body["node_id"]),
                node_name=str(body["node_name"]),
                fleet_address=str(body["fleet_address"]),
                certificate_pem=(self.root / "cert.pem").read_bytes(),
                ca_pem=(self.root / "ca.pem").read_bytes(),
                key_pem=(self.root / "key.pem").read_bytes(),
                signing_keys={str(name): base64.b64decode(raw) for name, raw in body["signing_keys"].items()},
            )
            if body["parts"] != _parts_of(identity):
                raise ValueError("key.pem, cert.pem and ca.pem are not the ones that node.json names")
        except (KeyError, ValueError, AttributeError, FileNotFoundError) as error:
            raise Untrusted(f"{self.root}: identity is damaged: {error}", hint="enrol again with --force") from error
        return identity

    def keep_pending_key(self, pem: bytes) -> None:
        write_atomic(self.pending_key, pem, mode=0o600)

    def keep_identity(self, identity: Identity) -> None:
        """node.json last: a crash before it leaves the folder as not enrolled, and the pending key for the next try."""
        write_atomic(self.root / "key.pem", identity.key_pem, mode=0o600)
        write_atomic(self.root / "cert.pem", identity.certificate_pem)
        write_atomic(self.root / "ca.pem", identity.ca_pem)
        write_json(
            self.root / "node.json",
            {
                "schema": _SCHEMA,
                "node_id": identity.node_id,
                "node_name": identity.node_name,
                "fleet_address": identity.fleet_address,
                "signing_keys": {name: base64.b64encode(raw).decode() for name, raw in identity.signing_keys.items()},
                "parts": _parts_of(identity),
            },
        )
        self.pending_key.unlink(missing_ok=True)

    # -- generation of the reported state --------------------------------------------------------------------------

    def reported_generation(self) -> int:
        """The bound that was kept; 0 where there is none. A file that is damaged is put aside: what it said can be found anew."""
        place = self.root / "state.json"
        try:
            return int((read_json(place) or {}).get("reported_generation", 0))
        except (FleetError, TypeError, ValueError):
            put_aside(place)
            return 0

    def keep_reported_generation(self, generation: int) -> None:
        write_json(self.root / "state.json", {"schema": _SCHEMA, "reported_generation": generation})
