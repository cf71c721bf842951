from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from littoral.errors import Untrusted
from littoral.identity import key_id_of, seal
from littoral_cloud.fleet.ledger import Audit, AuditEntry
from littoral_cloud.trust.audit_chain import GENESIS, canonical, link
from littoral_cloud.trust.audit_checkpoint import PAYLOAD_TYPE, AuditCheckpoint, follow_on, id_key
from littoral_cloud.trust.audit_files import LinesWriter, read_content, read_lines

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()
TRUSTED = {key_id_of(PUBLIC): PUBLIC}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
AUDITS = st.builds(Audit, st.text(max_size=8), st.text(), st.text(max_size=8), st.dictionaries(st.text(max_size=4), JSON))


def checkpoints(sizes: list[int]) -> list[AuditCheckpoint]:
    made: list[AuditCheckpoint] = []
    chain, lines, at = GENESIS, 0, 1
    for number, size in enumerate(sizes, 1):
        after = link(chain, b"%d" % number)
        made.append(
            AuditCheckpoint(
                number=number,
                first=f"{at}-0",
                last=f"{at + size}-3",
                previous=chain,
                chain=after,
                lines=size,
                lines_before=lines,
                file=f"{number}.gz",
                folder="/data",
                sha256="0" * 64,
                file_bytes=9,
                at=5.0,
            )
        )
        chain, lines, at = after, lines + size, at + size + 1
    return made


def test_only_a_checkpoint_that_we_signed_is_opened() -> None:
    (one,) = checkpoints([3])
    assert AuditCheckpoint.open(one.seal(KEY), TRUSTED) == one
    with pytest.raises(Untrusted):
        AuditCheckpoint.open(one.seal(Ed25519PrivateKey.generate()), TRUSTED)
    with pytest.raises(Untrusted):
        AuditCheckpoint.open(one.seal(KEY).replace(b'"sig":"', b'"sig":"AAAA'), TRUSTED)
    with pytest.raises(Untrusted):
        AuditCheckpoint.open(seal(b'{"number": 1}', PAYLOAD_TYPE, KEY), TRUSTED)
    with pytest.raises(Untrusted):
        AuditCheckpoint.open(seal(b"{}", "application/vnd.littoral.manifest+json", KEY), TRUSTED)


@given(st.lists(st.integers(1, 5), max_size=5), st.randoms(use_true_random=False))
def test_checkpoints_follow_from_each_other_in_any_order(sizes: list[int], rng: random.Random) -> None:
    made = checkpoints(sizes)
    shuffled = list(made)
    rng.shuffle(shuffled)
    assert follow_on(shuffled) == tuple(made)


@given(st.lists(st.integers(1, 5), min_size=2, max_size=5), st.data())
def test_one_that_is_missing_or_changed_is_found(sizes: list[int], data: st.DataObject) -> None:
    made = checkpoints(sizes)
    at = data.draw(st.integers(0, len(made) - 2))
    with pytest.raises(Untrusted, match="does not follow"):
        follow_on(made[:at] + made[at + 1 :])
    changed: dict[str, Any] = data.draw(
        st.sampled_from([{"chain": "f" * 64}, {"lines": 77}, {"last": "99999-0"}, {"first": "99999-0"}])
    )
    with pytest.raises(Untrusted, match="does not follow"):
        follow_on([*made[:at], replace(made[at], **changed), *made[at + 1 :]])


def test_ids_of_a_stream_are_ordered_as_numbers() -> None:
    assert sorted(["10-0", "9-5", "9-10", "9"], key=id_key) == ["9", "9-5", "9-10", "10-0"]


@given(st.lists(AUDITS, min_size=1, max_size=8), st.integers(0, 10**6) | st.floats(0, 1e9))
def test_a_file_gives_back_every_line_as_it_was(tmp_path_factory: pytest.TempPathFactory, audits: list[Audit], at: float) -> None:
    folder: Path = tmp_path_factory.mktemp("files")
    entries, chain = [], GENESIS
    for number, line in enumerate(audits):
        chain = link(chain, canonical(at, line))
        entries.append(AuditEntry(f"{number}-0", at, line.action, line.subject, line.actor, dict(line.details), chain))
    with LinesWriter(folder, 1) as writer:
        writer.add(entries[:2])
        writer.add(entries[2:])
        place = writer.publish()
    content = read_content(place, GENESIS)
    assert list(read_lines(place)) == entries
    assert (content.first, content.last, content.chain, content.lines) == ("0-0", entries[-1].id, chain, len(entries))
    assert [each.name for each in folder.iterdir()] == [place.name]
    whole = place.read_bytes()
    for damaged in (whole[:-5], whole[:3], whole[:-8] + bytes(8)):
        place.write_bytes(damaged)
        with pytest.raises(Untrusted):
            read_content(place, GENESIS)
    place.write_bytes(b"")
    assert read_content(place, GENESIS).lines == 0
    place.write_bytes(whole)
    with pytest.raises(Untrusted, match="lines before it are gone"):
        read_content(place, "f" * 64)


def test_a_file_that_was_not_published_leaves_nothing(tmp_path: Path) -> None:
    with LinesWriter(tmp_path, 1) as writer:
        writer.add([AuditEntry("1-0", 1.0, "a.b", "c", "d", {}, "0" * 64)])
    assert list(tmp_path.iterdir()) == []
