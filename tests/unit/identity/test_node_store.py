from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from littoral.errors import BadInput, FleetError, NotFound, Unavailable, Untrusted
from littoral_node.identity.files import read_json, write_atomic, write_json
from littoral_node.identity.folder import NodeFolder
from littoral_node.identity.identity import Identity
from littoral_node.update.events import Findings
from littoral_node.update.journal import CommittedSlots, UpdateJournal
from littoral_node.update.state import ModelUpdateState, ProbationPolicy, Update

WHO = Identity("n-1", "gateway", "127.0.0.1:7444", b"cert", b"ca", b"key", {"ab": b"\x01" * 32})
DIGEST, OTHER = ("sha256:" + letter * 64 for letter in "ab")


@pytest.fixture
def folder(tmp_path: Path) -> NodeFolder:
    place = NodeFolder(tmp_path / "node")
    place.prepare()
    return place


def test_an_identity_is_read_back_and_its_key_is_for_the_owner_alone(folder: NodeFolder) -> None:
    folder.keep_pending_key(b"key")
    folder.keep_identity(WHO)
    assert folder.identity() == WHO
    assert stat.S_IMODE((folder.root / "key.pem").stat().st_mode) == 0o600
    assert not folder.pending_key.exists()


def test_a_folder_without_node_json_is_not_enrolled(folder: NodeFolder) -> None:
    with pytest.raises(NotFound, match="no node is enrolled"):
        folder.identity()


def test_parts_of_two_identities_are_told_apart(folder: NodeFolder) -> None:
    folder.keep_identity(WHO)
    folder.identity_copy.unlink()  # as an older agent left it
    assert folder.identity() == WHO
    write_atomic(folder.root / "key.pem", b"another key")  # a crash in the middle of enrolling again
    with pytest.raises(Untrusted, match="join line brings the node back"):
        folder.identity()
    (folder.root / "key.pem").unlink()
    with pytest.raises(Untrusted, match=r"key\.pem"):
        folder.identity()
    found = folder.look()
    assert (found.identity, found.node_name, found.signing_keys) == (None, "gateway", WHO.signing_keys)


@pytest.mark.parametrize("file", ["node.json", "key.pem", "cert.pem", "ca.pem", "identity.json"])
@pytest.mark.parametrize("damage", [b"", b"\0" * 40, None])
def test_one_damaged_file_is_named_and_costs_nothing(folder: NodeFolder, file: str, damage: bytes | None) -> None:
    folder.keep_identity(WHO)
    place = folder.root / file
    place.unlink() if damage is None else place.write_bytes(damage)
    found = folder.look()
    assert (found.identity, found.mended) == (WHO, True)
    assert file in found.damage or (file, damage, found.damage) == ("identity.json", None, "")
    folder.keep_identity(WHO)
    assert folder.look().damage == ""
    assert not folder.look().mended


def test_where_the_files_are_whole_they_count_and_not_the_copy(folder: NodeFolder) -> None:
    """An older agent, or a kill in the middle of a renewal, leaves a copy of something else."""
    folder.keep_identity(WHO)
    other = replace(WHO, certificate_pem=b"older")
    folder.keep_identity(other)
    stale = folder.identity_copy.read_bytes()
    folder.keep_identity(WHO)
    folder.identity_copy.write_bytes(stale)
    assert folder.identity() == WHO
    assert folder.look().mended


def test_each_bit_that_turns_in_a_file_of_ours_is_seen(folder: NodeFolder) -> None:
    place = folder.root / "slots.json"
    body = {"schema": 1, "active": DIGEST, "crashes": 0}
    write_json(place, body)
    whole = place.read_bytes()
    for bit in range(len(whole) * 8):
        turned = bytearray(whole)
        turned[bit // 8] ^= 1 << bit % 8
        place.write_bytes(bytes(turned))
        try:
            read = read_json(place) or {}
        except FleetError:
            continue
        assert {name: read.get(name) for name in body} == body  # it was the name of the checksum, or a space


def test_a_key_is_never_readable_by_others_not_even_for_a_moment(folder: NodeFolder) -> None:
    before = os.umask(0)
    try:
        folder.keep_pending_key(b"secret")
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.pending_key.stat().st_mode) == 0o600


def test_a_write_that_fails_leaves_the_old_file(folder: NodeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    write_json(folder.root / "x.json", {"a": 1})

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_json(folder.root / "x.json", {"a": 2})
    assert read_json(folder.root / "x.json") == {"a": 1}
    assert [entry.name for entry in folder.root.glob(".x*")] == []


def test_one_folder_is_for_one_process(folder: NodeFolder) -> None:
    with folder.claimed(), pytest.raises(Unavailable, match="another littoral-node"), folder.claimed():
        pass
    with folder.claimed():
        pass


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "x" * 64, "\0", "-x", "a b"])
def test_a_models_name_cannot_lead_out_of_the_folder(folder: NodeFolder, name: str) -> None:
    with pytest.raises(BadInput):
        folder.model(name)


def test_a_file_that_is_not_json_is_named(folder: NodeFolder) -> None:
    (folder.root / "node.json").write_text("{")
    with pytest.raises(FleetError, match=r"node\.json"):
        folder.identity()


def test_a_count_that_cannot_be_read_is_put_aside(folder: NodeFolder) -> None:
    (folder.root / "state.json").write_text("{")
    assert folder.reported_generation() == 0
    assert (folder.root / "state.damaged").read_text() == "{"


def test_the_journal_gives_back_what_was_written(tmp_path: Path) -> None:
    journal = UpdateJournal(tmp_path)
    assert (journal.read(), journal.committed()) == (None, CommittedSlots())
    update = Update(
        "digits",
        DIGEST,
        7,
        ProbationPolicy(1.5, 0.1, 0.2),
        DIGEST,
        True,
        ModelUpdateState.PROBATION,
        2,
        99.0,
        "r",
        "d",
        Findings(0.5, None, 3, 2, 1),
    )
    journal.write(update, clean=True)
    journal.commit(CommittedSlots(DIGEST, ""))
    entry = UpdateJournal(tmp_path).read()
    assert entry is not None
    assert entry.clean
    assert replace(entry.update, deadline=99.0) == update
    assert UpdateJournal(tmp_path).committed() == CommittedSlots(DIGEST, "")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"schema": 1}', '{"schema": 99}', '{"schema":1,"clean":true,"update":{"state":"?"}}']
)
def test_a_damaged_journal_is_put_aside_not_followed(tmp_path: Path, text: str) -> None:
    for name in ("update.json", "slots.json"):
        (tmp_path / name).write_text(text)
    journal = UpdateJournal(tmp_path)
    assert (journal.read(), journal.committed()) == (None, CommittedSlots())
    assert (tmp_path / "update.damaged").exists()


@pytest.mark.parametrize("writes", range(6))
def test_a_kill_anywhere_in_a_renewal_leaves_one_of_the_two_certificates(
    folder: NodeFolder, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    """Files are renamed into their places one after another: the process ends before one of them."""
    folder.keep_identity(WHO)
    renewed = replace(WHO, certificate_pem=b"renewed")
    rename, done = Path.replace, []

    def killed(self: Path, target: Path) -> Path:
        if len(done) == writes:
            raise KeyboardInterrupt
        done.append(target)
        return rename(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", killed)
        try:
            folder.keep_identity(renewed)
        except KeyboardInterrupt:
            assert writes < 5
    found = folder.look()
    assert found.identity in (WHO, renewed)
    folder.keep_identity(found.identity or WHO)
    assert folder.look() == replace(found, damage="", mended=False)


def test_what_an_agent_before_checksums_wrote_is_read(folder: NodeFolder) -> None:
    journal = UpdateJournal(folder.model("digits"))
    journal.commit(CommittedSlots(DIGEST, ""))
    journal.write(Update("digits", DIGEST, 7, state=ModelUpdateState.SUCCEEDED))
    folder.keep_identity(WHO)
    for path in folder.root.rglob("*.json"):
        body = json.loads(path.read_bytes())
        del body["crc32"]
        path.write_text(json.dumps(body))
    assert UpdateJournal(folder.model("digits")).committed() == CommittedSlots(DIGEST, "")
    assert folder.look().identity == WHO


@pytest.mark.parametrize(
    ("state", "replaces", "kept"),
    [
        (ModelUpdateState.SUCCEEDED, OTHER, CommittedSlots(DIGEST, OTHER)),
        (ModelUpdateState.SUCCEEDED, DIGEST, CommittedSlots(DIGEST, "")),  # kept once more
        (ModelUpdateState.SUCCEEDED, "", CommittedSlots(DIGEST, "")),
        (ModelUpdateState.PROBATION, OTHER, CommittedSlots(OTHER, "")),
        (ModelUpdateState.ROLLED_BACK, OTHER, CommittedSlots(OTHER, "")),
        (ModelUpdateState.FAILED, "", CommittedSlots()),
    ],
)
@pytest.mark.parametrize("damage", ["{", "", None])
def test_what_slots_json_said_is_found_in_the_journal_of_the_update(
    tmp_path: Path, state: ModelUpdateState, replaces: str, kept: CommittedSlots, damage: str | None
) -> None:
    UpdateJournal(tmp_path).write(Update("digits", DIGEST, 7, replaces=replaces, state=state))
    if damage is not None:
        (tmp_path / "slots.json").write_text(damage)
    said: list[str] = []
    journal = UpdateJournal(tmp_path, lambda path, why: said.append(path.name))
    assert journal.committed() == kept
    assert journal.lost == (damage is not None and kept == CommittedSlots())
    assert said == ([] if damage is None and kept == CommittedSlots() else ["slots.json"])
    assert UpdateJournal(tmp_path).committed() == kept
