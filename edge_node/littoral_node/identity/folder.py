"""The node's folder: identity and state. Every file is written beside its place and renamed into it.

DIR/node.json, key.pem, cert.pem, ca.pem    identity; node.json is written last and makes it whole
DIR/identity.json                           a copy of the four, see littoral_node.identity.identity
DIR/join                                    a join line for the first start, see littoral_node.identity.image
DIR/key.new.pem                             key of an enrolment under way: a second request gives the same node
DIR/node.toml                               settings (optional)
DIR/serving.json                            addresses of the last started agent, and its settings
DIR/coordinators.json                       addresses of the fleet's coordinators, as the last Welcome named them
DIR/clock.json                              the last good time, see littoral_node.identity.good_time
DIR/connections.json                        sessions opened so far, see littoral_node.identity.connection_count
DIR/state.json                              generation of the reported state
DIR/blobs/                                  downloads under way, by digest
DIR/artifacts/HEX/                          verified artifacts: manifest.dsse and the files it names
DIR/models/NAME/slots.json, update.json     the committed slots of one model; the journal of its update
DIR/models/NAME/memory.json                 bytes of memory that its artifacts took when they were rehearsed
DIR/runtimes/                               engines and timing caches (TensorRT), compiled models (Core ML): may be deleted
DIR/federation/                             of the federated part
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from littoral.errors import BadInput, FleetError, NotFound, Unavailable, Untrusted, unwritten
from littoral_node.identity.files import (
    Damaged,
    ignore_damage,
    locked,
    put_aside,
    read_json,
    read_record,
    write_atomic,
    write_json,
    write_record,
)
from littoral_node.identity.identity import (
    FILES,
    FoundIdentity,
    copied_pems,
    copy_body,
    identity_from,
    node_body,
    signing_keys_of,
)
from littoral_node.identity.identity import Identity as Identity

DATA = Path("/var/lib/littoral")
"""Of a node that runs as a service."""
MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def _words(error: Exception) -> str:
    return error.message if isinstance(error, FleetError) else str(error)


def _bytes_of(path: Path) -> bytes | None:
    """None where it is missing."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


@dataclass(frozen=True, slots=True)
class ReportedBound:
    """The largest generation that a reported state has had."""

    reported_generation: int = 0


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
        """Files that runtimes reuse at the next start; the runtime that needs the folder makes it."""
        return self.root / "runtimes"

    @property
    def federation(self) -> Path:
        return self.root / "federation"

    @property
    def telemetry(self) -> Path:
        """Reports that wait for the cloud, see littoral_node.telemetry.spool."""
        return self.root / "telemetry.spool"

    @property
    def serving(self) -> Path:
        """Where the agent answers, and its settings, written when it is ready: `infer`, `watch` and `doctor` look there."""
        return self.root / "serving.json"

    @property
    def samples(self) -> Path:
        """Questions to the cloud's teacher, see littoral_node.offload."""
        return self.root / "samples.jsonl"

    @property
    def coordinators(self) -> Path:
        """Where the fleet's coordinators are, see littoral_node.link.addresses."""
        return self.root / "coordinators.json"

    @property
    def clock(self) -> Path:
        """The last good time, see littoral_node.identity.good_time."""
        return self.root / "clock.json"

    @property
    def connections(self) -> Path:
        """How many sessions were opened, see littoral_node.identity.connection_count."""
        return self.root / "connections.json"

    @property
    def join_line(self) -> Path:
        return self.root / "join"

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
        """The memory that a model's artifacts took, see littoral_node.artifacts.usage."""
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
        """Locks the folder for this process: two agents with one identity would take each other's session.

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

    @property
    def identity_copy(self) -> Path:
        return self.root / "identity.json"

    def enrolled(self) -> bool:
        return (self.root / "node.json").exists() or self.identity_copy.exists()

    def identity(self) -> Identity:
        """Raises NotFound where this folder is not enrolled, Untrusted where its parts, and their copy, are damaged."""
        found = self.look()
        if found.identity is None:
            raise Untrusted(
                f"{self.root}: identity is damaged: {found.damage}",
                hint=f"a new join line brings the node back: littoral-node enroll JOIN_LINE --data {self.root}",
            )
        return found.identity

    def look(self, *, serves: bool = False) -> FoundIdentity:
        """What of the identity can be read; nothing is written. Raises NotFound where this folder is not enrolled.

        Args:
            serves: for an agent, which goes on with what it can read: OSError is damage like any other. Else OSError is raised.
        """
        if not self.enrolled():
            raise NotFound(f"{self.root}: no node is enrolled here", hint=f"littoral-node enroll JOIN_LINE --data {self.root}")
        body: dict[str, Any] = {}
        try:
            body = read_json(self.root / "node.json") or {}
            if not body:
                raise ValueError("node.json: is missing")
            pems = {name: _bytes_of(self.root / file) for name, file in FILES.items()}
            identity = identity_from(body, pems)
        except (FleetError, ValueError, OSError) as error:
            if isinstance(error, OSError) and not serves:
                raise
            return self._from_copy(_words(error), body, serves)
        damage = ""
        try:
            same = self._copied() == identity
        except (FleetError, ValueError, OSError) as error:
            if isinstance(error, OSError) and not serves:
                raise
            same, damage = False, _words(error)
        return FoundIdentity(identity, identity.signing_keys, identity.node_id, identity.node_name, damage, mended=not same)

    def _from_copy(self, damage: str, body: Mapping[str, Any], serves: bool) -> FoundIdentity:
        identity = None
        try:
            identity = self._copied()
        except (FleetError, ValueError, OSError) as error:
            if isinstance(error, OSError) and not serves:
                raise
            damage = f"{damage}; {_words(error)}"
        if identity is not None:
            return FoundIdentity(identity, identity.signing_keys, identity.node_id, identity.node_name, damage, mended=True)
        try:
            keys = signing_keys_of(body)
        except (KeyError, ValueError, AttributeError):
            keys = {}
        return FoundIdentity(None, keys, str(body.get("node_id", "")), str(body.get("node_name", "")), damage)

    def _copied(self) -> Identity | None:
        """None where there is no copy. Raises FleetError, ValueError where it is damaged."""
        body = read_json(self.identity_copy)
        return identity_from(body, copied_pems(body)) if body is not None else None

    def key(self) -> bytes | None:
        """key.pem as it lies here, checked against nothing; None where there is none."""
        return _bytes_of(self.root / "key.pem")

    def keep_pending_key(self, pem: bytes) -> None:
        write_atomic(self.pending_key, pem, mode=0o600)

    def keep_identity(self, identity: Identity) -> None:
        """The copy first, node.json last: a crash between them leaves one of the two whole."""
        write_json(self.identity_copy, copy_body(identity), mode=0o600)
        write_atomic(self.root / "key.pem", identity.key_pem, mode=0o600)
        write_atomic(self.root / "cert.pem", identity.certificate_pem)
        write_atomic(self.root / "ca.pem", identity.ca_pem)
        write_json(self.root / "node.json", node_body(identity))
        self.pending_key.unlink(missing_ok=True)

    def identity_mark(self) -> tuple[int, int]:
        """Another one whenever the identity was written anew."""
        try:
            seen = (self.root / "node.json").stat()
        except OSError:
            return 0, 0
        return seen.st_ino, seen.st_mtime_ns

    # -- generation of the reported state --------------------------------------------------------------------------

    def reported_generation(self, damaged: Damaged = ignore_damage) -> int:
        """The stored bound; 0 where there is none. A damaged file is put aside: the bound can be found anew."""
        place = self.root / "state.json"
        try:
            return (read_record(ReportedBound, place) or ReportedBound()).reported_generation
        except FleetError as error:
            damaged(place, error)
            put_aside(place)
            return 0

    def keep_reported_generation(self, generation: int) -> None:
        write_record(self.root / "state.json", ReportedBound(generation))
