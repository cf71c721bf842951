"""What a manifest says of an artifact's making: written, read, refused; and every older manifest is still read."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from littoral.errors import BadManifest
from littoral.identity import key_id_of
from littoral.lineage import DATA, TEACHER, Lineage
from littoral.manifest import Manifest
from tests.kit.models import artifact

OLD = sorted((Path(__file__).parents[2] / "old" / "manifests").glob("*.json"))
PUBLIC = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"tests/old").digest()).public_key().public_bytes_raw()
DIGESTS = ("sha256:" + "a" * 64, "sha256:" + "b" * 64)
LINEAGE = Lineage((DATA, TEACHER), 2, 1, {"littoral": "0.1.0"}, "x86_64 AVX2")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return artifact(tmp_path_factory.mktemp("artifact"), parents=DIGESTS, lineage=LINEAGE)


@pytest.mark.parametrize("path", OLD, ids=lambda path: path.stem)
def test_a_manifest_that_lies_in_the_field_is_read_and_written_again_byte_for_byte(path: Path) -> None:
    envelope = path.read_bytes()
    manifest = Manifest.open(envelope, {key_id_of(PUBLIC): PUBLIC})
    assert manifest.name == path.stem.partition("-")[2]
    assert manifest.encode() == base64.b64decode(json.loads(envelope)["payload"])


def test_the_first_releases_manifests_know_no_lineage() -> None:
    first = [Manifest.open(path.read_bytes(), {key_id_of(PUBLIC): PUBLIC}) for path in OLD if path.stem.startswith("0.1.0-tiny")]
    assert {manifest.runtime for manifest in first} == {"onnxruntime", "ncnn"}
    assert [manifest.lineage for manifest in first] == [None, None]


@given(
    st.lists(st.text(), min_size=2, max_size=2),
    st.none() | st.integers(),
    st.none() | st.integers(),
    st.dictionaries(st.text(), st.text()),
    st.text(),
)
@settings(deadline=None)
def test_what_is_written_is_read_again(
    made: Manifest, roles: list[str], seed: int | None, threads: int | None, libraries: dict[str, str], processor: str
) -> None:
    lineage = Lineage(tuple(roles), seed, threads, libraries, processor)
    assert Manifest.decode(replace(made, lineage=lineage).encode()).lineage == lineage


def test_a_parent_is_found_by_its_role() -> None:
    assert LINEAGE.found(DIGESTS, TEACHER) == DIGESTS[1:]
    assert LINEAGE.found(DIGESTS, "member") == ()


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"roles": ["data"]}, "roles: must hold 2 names"),
        ({"roles": ["data", 1]}, r"roles\[1\]: 1 is a whole number"),
        ({"roles": None}, r"roles: None is null \(it must be a list, each a text"),
        ({"seed": True}, r"seed: True is true or false \(it must be a whole number"),
        ({"threads": 1.5}, r"threads: 1\.5 is a number \(it must be a whole number"),
        ({"libraries": {"torch": 2}}, r"libraries\.torch: 2 is a whole number"),
        ({"processor": None}, "processor: None is null"),
    ],
)
def test_what_is_wrong_is_refused_by_its_name(made: Manifest, changed: dict[str, Any], says: str) -> None:
    body = json.loads(made.encode())
    body["lineage"] |= changed
    with pytest.raises(BadManifest, match=rf"manifest\.lineage\.{says}"):
        Manifest.decode(json.dumps(body).encode())


@pytest.mark.parametrize("value", [None, [], "torch 2.13"])
def test_a_lineage_that_is_no_table_is_refused(made: Manifest, value: Any) -> None:
    body = {**json.loads(made.encode()), "lineage": value}
    with pytest.raises(BadManifest, match=r"manifest\.lineage: (is null|.* \(it must be a table)"):
        Manifest.decode(json.dumps(body).encode())
