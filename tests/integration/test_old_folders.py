"""Today's code reads what earlier versions left on the disk, and goes on with it (tests/old/folders)."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from littoral.digest import digest_of_file, hex_of
from littoral.manifest import Manifest
from littoral_cloud.fleet.drift import Inputs
from littoral_cloud.fleet.issued_tokens import Token
from littoral_cloud.fleet.ledger import AuditEntry, Doc
from littoral_cloud.fleet.measurements import MeasurementRecord
from littoral_cloud.fleet.records import Artifact, Desired, Node, Presence, Release, Reported, load
from littoral_cloud.fleet.telemetry import TelemetryTotals
from littoral_cloud.fleet.windows import NodeModels
from littoral_cloud.releases.teacher_records import StoredTeacher
from littoral_cloud.rollouts.state import Rollout, RolloutState
from littoral_cloud.store.blobs import BlobFolder
from littoral_cloud.teacher_service.samples import SampleFiles as CloudSamples
from littoral_cloud.teacher_service.service import EscalationCount
from littoral_cloud.trust.audit_chain import verify
from littoral_cloud.trust.store import open_trust
from littoral_cloud.trust.witness import Witness
from littoral_node.artifacts.manifest_file import ENVELOPE
from littoral_node.config.settings import load_settings
from littoral_node.identity.folder import NodeFolder
from littoral_node.offload.samples import SampleFile
from littoral_node.supervision.crash_record import CrashBook
from littoral_node.telemetry.spool import Spool
from littoral_node.update.journal import UpdateJournal
from littoral_node.update.state import ModelUpdateState
from tests.kit.agent import AgentProcess
from tests.kit.models import images

FOLDERS = Path(__file__).parents[1] / "old" / "folders"
VERSIONS = sorted(folder.name for folder in FOLDERS.iterdir())
MODEL = "tiny"
RECORDS: Mapping[str, type[Any]] = {
    "artifact": Artifact,
    "desired": Desired,
    "escalation": EscalationCount,
    "inputs": Inputs,
    "measurement": MeasurementRecord,
    "node": Node,
    "node-models": NodeModels,
    "presence": Presence,
    "release": Release,
    "reported": Reported,
    "rollout": Rollout,
    "teacher": StoredTeacher,
    "telemetry": TelemetryTotals,
    "token": Token,
}


@pytest.fixture(params=VERSIONS)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of the folders of one version, which a program may write to."""
    copy = Path(shutil.copytree(FOLDERS / request.param, tmp_path / "old"))
    for path in copy.rglob("*"):  # a checkout has not the modes with which the files were written
        path.chmod(0o700 if path.is_dir() else 0o600)
    return copy


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def refuse(path: Path, why: object) -> None:
    raise AssertionError(f"{path}: {why}")


def test_a_nodes_folder_is_read_whole(old: Path) -> None:
    folder = NodeFolder(old / "node")
    found = folder.look()
    assert (found.identity is not None, found.damage, found.mended) == (True, "", False)
    assert folder.model_names() == [MODEL]
    assert folder.reported_generation(refuse) > 0
    assert load_settings(folder.root, {}, {}).offload == {MODEL: 1.0}

    journal = UpdateJournal(folder.model(MODEL), refuse)
    committed, entry = journal.committed(), journal.read()
    assert entry is not None
    assert (entry.update.state, entry.update.manifest_digest) == (ModelUpdateState.SUCCEEDED, committed.active)
    assert CrashBook(folder.root / "crashes.json", print, refuse).last_loaded(MODEL) == committed.active

    place = folder.artifacts / hex_of(committed.active)
    manifest = Manifest.open((place / ENVELOPE).read_bytes(), found.signing_keys)
    assert digest_of_file(place / ENVELOPE) == committed.active
    assert [digest_of_file(place / file.path) for file in manifest.files] == [file.digest for file in manifest.files]

    reports, unread = Spool(folder.telemetry).read()
    assert (len(reports) > 0, unread) == (True, 0)
    assert [sample["model"] for sample in SampleFile(folder.samples, 1_000_000).read()] == [MODEL]


async def test_an_agent_starts_on_a_nodes_folder_without_its_coordinator_and_serves(old: Path) -> None:
    active = UpdateJournal(NodeFolder(old / "node").model(MODEL)).committed().active
    agent = await (await AgentProcess.start(old / "node")).ready()
    await agent.until("serving", model=MODEL, manifest=active)
    status, logits = await agent.infer(x := images(2))
    assert (status, logits.shape[0]) == (200, len(x))
    assert await agent.stop() == 0
    assert not [event for event in agent.events if "damaged" in event["event"]]


async def test_a_coordinators_folder_is_read_whole(old: Path) -> None:
    data = old / "cloud"
    docs = [Doc(**row) for row in rows(data / "documents.jsonl")]
    found: dict[str, list[Any]] = defaultdict(list)
    for doc in docs:
        if doc.kind != "node-name":  # it has no record: an id, and the node that has the name
            found[doc.kind].append(load(RECORDS[doc.kind], doc))
    [node], [artifact], [rollout], [teacher] = (found[kind] for kind in ("node", "artifact", "rollout", "teacher"))
    assert [(doc.id, doc.body["node_id"]) for doc in docs if doc.kind == "node-name"] == [(node.name, node.node_id)]
    assert rollout.state is RolloutState.SUCCEEDED
    assert found["reported"][0].models[MODEL].serving == artifact.manifest_digest

    trail = [AuditEntry(**row) for row in rows(data / "audit.jsonl")]
    assert verify(trail) is None
    last = Witness(data / "audit-head.json", lambda: 0.0, {}).read().last
    assert last is not None
    assert (last.id, last.chain) in [(entry.id, entry.chain) for entry in trail]

    before = files_of(data)
    trust = open_trust(data, node.enrolled_at)
    blobs = BlobFolder(data / "blobs")
    manifest = Manifest.open(blobs.read(artifact.manifest_digest), trust.signing_keys())
    assert all(len(blobs.read(file.digest)) == file.bytes for file in manifest.files)
    assert all(blobs.read(voice.weights) for voice in teacher.voices)
    [sample] = CloudSamples(data / "samples").read(MODEL)
    assert sample["node"] == node.node_id
    assert len(json.loads((data / "up.json").read_text())) == 2
    assert files_of(data) == before  # no key was made anew
    assert NodeFolder(old / "node").identity().signing_keys == trust.signing_keys()


def files_of(folder: Path) -> dict[str, str]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
