"""A fleet whose CA and signing key are elsewhere: behind a command (openssl, an HSM), or under a root of the operator."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import time
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from littoral.errors import BadInput
from littoral.fleet.v1 import hardware_pb2
from littoral.identity import seal, sha256_fingerprint, unseal
from littoral_cloud.cli import execute
from littoral_cloud.trust.command_key import KeyCommand
from littoral_cloud.trust.given_keys import GivenCa, made_ca
from littoral_cloud.trust.renewal import renew_ca
from littoral_node.certificates.anchors import roots_of
from littoral_node.certificates.asking import next_certificate, told_time
from littoral_node.certificates.enrol import enrol
from littoral_node.identity.folder import NodeFolder
from littoral_node.identity.identity import Identity
from littoral_node.link.channel import CloudChannels
from tests.kit.cloud import Cloud, running_cloud
from tests.kit.own_keys import SOFTHSM, KeyElsewhere, OwnRoot, SoftHsm, openssl_ec, openssl_ed25519
from tests.kit.patience import PATIENCE_S


def now() -> float:
    return time.time()  # noqa: TID251 - the shell of a test


async def enrolled(cloud: Cloud, place: Path) -> Identity:
    folder = NodeFolder(place)
    folder.prepare()
    hardware = hardware_pb2.HardwareProfile(hardware_class="test")
    line = await cloud.join_line()
    await enrol(folder, line, name=place.name, hardware=hardware, now=now(), monotonic=time.monotonic, rng=random.Random(1))
    return folder.identity()


def init(words: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    assert execute(["fleet", *words, "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)  # type: ignore[no-any-return]


def behind_openssl(folder: Path) -> tuple[KeyElsewhere, KeyElsewhere]:
    return openssl_ec(folder), openssl_ed25519(folder)


def behind_softhsm(folder: Path) -> tuple[KeyElsewhere, KeyElsewhere]:
    token = SoftHsm(folder / "hsm")
    return token.ec(), token.ed25519()


NO_HSM = not (SOFTHSM.exists() and shutil.which("pkcs11-tool"))


@pytest.mark.parametrize(
    "keys",
    [
        behind_openssl,
        pytest.param(behind_softhsm, marks=pytest.mark.skipif(NO_HSM, reason="needs the packages softhsm2 and opensc")),
    ],
)
async def test_a_fleet_whose_keys_are_behind_commands(
    keys,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],  # type: ignore[no-untyped-def]
) -> None:
    ca, signing = keys(tmp_path)
    data = tmp_path / "cloud"
    settings = {"ca_key_command": ca.command, "signing_key_command": signing.command}
    for name, value in {**settings, "data_dir": str(data)}.items():
        monkeypatch.setenv(f"LITTORAL_{name.upper()}", value)
    made = init(["init-ca", "--public-key", str(ca.public)], capsys)
    init(["init-signing-key", "--public-key", str(signing.public)], capsys)
    assert not list(data.rglob("key.pem"))
    await asyncio.to_thread(execute, ["doctor"])
    assert capsys.readouterr().out.count("signs with") == 2

    async with running_cloud(data, **settings) as cloud:
        identity = await enrolled(cloud, tmp_path / "node")
        assert sha256_fingerprint(roots_of(identity.ca_pem)[0]) == made["ca"]
        envelope = seal(b"a manifest", "x", cloud.core.trust.signing_key)
        assert unseal(envelope, "x", identity.signing_keys) == b"a manifest"
        async with CloudChannels().enrolment(cloud.serving.enrolment, identity.ca_pem) as channel:
            at = await the_time(channel, identity.signing_keys)
        assert abs(at - now()) < 600
    assert not list(data.rglob("key.pem"))


async def the_time(channel: Any, keys: Any) -> float:
    """As a node asks: again where the key that signs times is not made yet."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return (await told_time(channel, keys))[1]
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                await asyncio.sleep(0.1)


async def test_a_ca_by_the_operators_own_root(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = OwnRoot.made(tmp_path)
    chain, key = root.signs("first")
    data = tmp_path / "cloud"
    made = init(["init-ca", "--certificate", str(chain), "--key", str(key), "--data-dir", str(data)], capsys)
    own = x509.load_pem_x509_certificate(root.certificate.read_bytes()).public_bytes(Encoding.DER)
    assert made["root"] == sha256_fingerprint(own) != made["ca"]
    async with running_cloud(data, certificate_days=30) as cloud:
        identity = await enrolled(cloud, tmp_path / "node")
        assert roots_of(identity.ca_pem) == (own,)
        with pytest.raises(Exception, match="good for 30 days more"):  # it came in by mutual TLS, and it is too early
            await next_certificate(identity)

        trust = cloud.core.trust
        chain, key = OwnRoot.made(tmp_path, "stranger").signs("second-by-stranger")
        with pytest.raises(BadInput, match=r"its root is .*, nodes pin .*, of another owner"):
            await renew_ca(cloud.core.ledger, trust, now(), 600.0, "me", GivenCa(certificate=chain, key=key))
        chain, key = root.signs("second")
        after = await renew_ca(cloud.core.ledger, trust, now(), 600.0, "me", GivenCa(certificate=chain, key=key))
        assert (after.told.authorities, after.told.introductions) == ((own,), ())


def test_a_root_of_the_fleet_is_followed_by_one_of_the_operators(tmp_path: Path) -> None:
    old, _ = made_ca(GivenCa(), now(), None)
    chain, key = OwnRoot.made(tmp_path).signs("issuing")
    made, files = made_ca(GivenCa(certificate=chain, key=key), now(), None, old)
    assert made.introduction is not None
    made.introduction.verify_directly_issued_by(old.certificate)
    assert made.introduction.public_key() == made.root.public_key()
    assert sorted(files) == ["ca.pem", "introduced.pem", "key.pem"]


@pytest.mark.parametrize(
    ("extensions", "wrong"),
    [
        (("basicConstraints=critical,CA:FALSE",), "is no CA"),
        (("basicConstraints=critical,CA:TRUE", "keyUsage=critical,digitalSignature"), "may not issue"),
    ],
)
def test_a_certificate_that_cannot_issue_is_refused(tmp_path: Path, extensions: tuple[str, ...], wrong: str) -> None:
    chain, key = OwnRoot.made(tmp_path).signs("bad", *extensions)
    with pytest.raises(BadInput, match=f"certificate: .*CN=bad.* {wrong}"):
        made_ca(GivenCa(certificate=chain, key=key), now(), None)


def test_a_chain_or_key_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    root = OwnRoot.made(tmp_path)
    chain, key = root.signs("one")
    other_chain, other_key = root.signs("other")
    bare = tmp_path / "bare.pem"
    bare.write_bytes(x509.load_pem_x509_certificate(chain.read_bytes()).public_bytes(Encoding.PEM))
    broken = tmp_path / "broken.pem"
    broken.write_bytes(bare.read_bytes() + other_chain.read_bytes())
    for certificate, with_key, wrong in (
        (chain, other_key, "is not the key of the certificate"),
        (bare, key, "is not issued by itself, so it is no root"),
        (broken, key, "is not issued by .*CN=other"),
        (tmp_path / "none.pem", key, "cannot be read"),
        (key, key, "cannot be read"),
        (chain, chain, "cannot be read"),
        (root.certificate, root.key, "is not ECDSA P-256"),
        (chain, None, "no file and no command has it"),
    ):
        with pytest.raises(BadInput, match=wrong):
            made_ca(GivenCa(certificate=certificate, key=with_key), now(), None)
    with pytest.raises(BadInput, match="is not valid now"):
        made_ca(GivenCa(certificate=chain, key=key), now() + 40 * 365 * 86_400, None)


def test_the_key_of_another_command_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    ca, other = openssl_ec(tmp_path), openssl_ec(tmp_path, "other")
    command = KeyCommand.of("LITTORAL_CA_KEY_COMMAND", other.command)
    with pytest.raises(Exception, match="LITTORAL_CA_KEY_COMMAND: what it printed is no signature by that key"):
        made_ca(GivenCa(public_key=ca.public), now(), command)
    with pytest.raises(BadInput, match="names a command, and not which key"):
        made_ca(GivenCa(), now(), command)
