"""The fleet's CA and signing key are renewed while nodes are connected, away, or about to enrol: over real TLS."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from littoral.errors import Conflict, NotFound, Unavailable
from littoral.fleet.v1 import hardware_pb2, session_pb2
from littoral.identity import JoinLine, seal, sha256_fingerprint
from littoral_cloud.fleet.anchors import KIND, FleetAnchors, read_anchors
from littoral_cloud.fleet.ledger import Change, Write, until
from littoral_cloud.fleet.records import Desired, DesiredModel, Node, dump, load
from littoral_cloud.releases.signed_by import in_use_by
from littoral_cloud.trust.renewal import renew_ca, renew_signing_key, retire_signing_key
from littoral_cloud.trust.store import open_trust
from littoral_node.certificates.anchors import roots_of
from littoral_node.certificates.enrol import enrol, presented_chain
from littoral_node.certificates.renewal import CertificateRenewal
from littoral_node.identity.folder import NodeFolder
from littoral_node.link.messages import SessionMessages
from littoral_node.link.session import NodeSession
from littoral_node.telemetry.counting import TelemetryWindows
from littoral_node.telemetry.outbox import TelemetryOutbox
from littoral_node.telemetry.spool import Spool
from tests.kit.cloud import Cloud, running_cloud

SHORT_S = 1.0
LONG_S = 600.0


async def enrolled(line: JoinLine, place: Path) -> NodeFolder:
    folder = NodeFolder(place)
    folder.prepare()
    now = time.time()  # noqa: TID251 - the shell of a test
    hardware = hardware_pb2.HardwareProfile(hardware_class="test")
    await enrol(folder, line, name=place.name, hardware=hardware, now=now, monotonic=time.monotonic, rng=random.Random(1))
    return folder


@asynccontextmanager
async def connected(folder: NodeFolder) -> AsyncIterator[CertificateRenewal]:
    """The agent's session and identity over this folder, without its models."""

    def log(event: str, **fields: object) -> None:
        if event == "anchors-not-followed":
            pytest.fail(f"{event}: {fields}")

    rng = random.Random(2)
    identity = CertificateRenewal(
        folder,
        clock=time.time,  # noqa: TID251 - the shell of a test
        monotonic=time.monotonic,
        rng=rng,
        log=log,
    )
    outbox = TelemetryOutbox(TelemetryWindows(), "b", lambda _: False, lambda: False, Spool(folder.telemetry), log)
    messages = SessionMessages(
        lambda: session_pb2.Hello(protocol_version=1, boot_id="b" * 32),
        list,
        outbox,
        [],
        lambda welcome: None,
        identity.follow_anchors,
    )
    session = NodeSession(lambda: messages, identity.way(), log=log, monotonic=time.monotonic, rng=rng)
    running = asyncio.create_task(session.run())
    try:
        yield identity
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def anchors_once(cloud: Cloud, is_so: Callable[[FleetAnchors], bool]) -> FleetAnchors:
    async def look() -> FleetAnchors | None:
        found, _ = await read_anchors(cloud.core.ledger)
        return found if found is not None and is_so(found) else None

    return await until(cloud.core.ledger, (KIND,), look, seconds=20, what="the fleet's anchors")


async def node_once(cloud: Cloud, node_id: str, number: int) -> None:
    async def look() -> bool | None:
        doc = await cloud.core.ledger.get("node", node_id)
        return True if doc is not None and load(Node, doc).anchors == number else None

    await until(cloud.core.ledger, ("node",), look, seconds=20, what=f"node {node_id} to know anchors {number}")


def shown_by(cloud: Cloud) -> list[str]:
    chain = presented_chain(cloud.serving.enrolment, time.monotonic)
    return [sha256_fingerprint(each.public_bytes(Encoding.DER)) for each in chain]


def issuer_key_of(certificate_pem: bytes) -> bytes:
    certificate = x509.load_pem_x509_certificate(certificate_pem)
    found = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert found is not None
    return found


async def test_the_ca_is_renewed_under_nodes_that_are_there_away_and_still_to_come(tmp_path: Path) -> None:
    async with running_cloud(tmp_path / "cloud") as cloud:
        core = cloud.core
        old = core.trust.ca.fingerprint
        early = await cloud.join_line()
        here = await enrolled(await cloud.join_line(), tmp_path / "here")
        away = await enrolled(await cloud.join_line(), tmp_path / "away")
        async with connected(here) as identity:
            made = await renew_ca(core.ledger, core.trust, core.clock(), LONG_S, "me")
            new = made.authorities[-1].fingerprint
            await node_once(cloud, identity.node_id, 1)
            assert [sha256_fingerprint(der) for der in roots_of(here.identity().ca_pem)] == [old, new]
            assert (await anchors_once(cloud, lambda found: found.number == 1)).authority.fingerprint == old
            assert new not in shown_by(cloud)

            async with connected(away):  # it has the old root alone
                in_force = await anchors_once(cloud, lambda found: found.authority.fingerprint == new)
            assert in_force.authority.in_force_at
            after = await running_chain(cloud, new)
            assert old in after

        core.trust.look_again(core.clock())
        core.trust.follow(in_force)
        late = await enrolled(await cloud.join_line(), tmp_path / "late")
        assert [sha256_fingerprint(der) for der in roots_of(late.identity().ca_pem)] == [new]
        before = await enrolled(early, tmp_path / "early")  # its line names the old root
        assert [sha256_fingerprint(der) for der in roots_of(before.identity().ca_pem)] == [old]
        issuer = x509.SubjectKeyIdentifier.from_public_key(
            open_trust(tmp_path / "cloud", core.clock()).ca.certificate.public_key()
        )
        assert {issuer_key_of(each.identity().certificate_pem) for each in (before, late)} == {issuer.key_identifier}
        async with connected(before) as identity:
            await node_once(cloud, identity.node_id, 1)


async def running_chain(cloud: Cloud, fingerprint: str) -> list[str]:
    """What the listener shows, once that has the CA with this fingerprint."""
    shown: list[str] = []
    while fingerprint not in shown:
        await asyncio.sleep(0.02)  # a listener does not say what it shows
        with suppress(Unavailable):  # its port is closed for a moment
            shown = await asyncio.to_thread(shown_by, cloud)
    return shown


async def test_a_node_that_was_away_until_the_old_ca_was_retired_comes_back_by_itself(tmp_path: Path) -> None:
    async with running_cloud(tmp_path / "cloud") as cloud:
        core = cloud.core
        old = core.trust.ca.fingerprint
        folder = await enrolled(await cloud.join_line(), tmp_path / "drawer")
        made = await renew_ca(core.ledger, core.trust, core.clock(), SHORT_S, "me")
        retired = await anchors_once(cloud, lambda found: bool(found.told.retired))
        assert (retired.number, retired.authority.fingerprint) == (2, made.authorities[-1].fingerprint)
        assert [sha256_fingerprint(der) for der in roots_of(folder.identity().ca_pem)] == [old]
        async with connected(folder) as identity:
            await node_once(cloud, identity.node_id, 2)
        assert [sha256_fingerprint(der) for der in roots_of(folder.identity().ca_pem)] == [retired.authority.fingerprint]
        lines = [line.action for line in await core.ledger.audit() if line.action.startswith("fleet.")]
        assert lines == ["fleet.ca-introduced", "fleet.ca-in-force", "fleet.ca-retired"]


async def test_the_signing_key_is_renewed_and_what_the_old_one_signed_is_verified(tmp_path: Path) -> None:
    async with running_cloud(tmp_path / "cloud") as cloud:
        core = cloud.core
        folder = await enrolled(await cloud.join_line(), tmp_path / "node")
        first = core.trust.signing_key_id
        async with connected(folder) as identity:
            made = await renew_signing_key(core.ledger, core.trust, core.clock(), LONG_S, "me")
            second = made.signing_keys[-1].key_id
            found = await anchors_once(cloud, lambda found: found.signing_key.key_id == second)
            assert set(identity.signing_keys) == {first, second}
        assert set(folder.identity().signing_keys) == {first, second}
        core.trust.look_again(core.clock())
        core.trust.follow(found)
        assert (core.trust.signing_key_id, set(core.trust.signing_keys())) == (second, {first, second})

        envelope = core.blobs.put(seal(b"{}", "x", open_trust(tmp_path / "cloud", core.clock()).key_of(first)))
        desired = Desired(models={"m": DesiredModel(manifest_digest=envelope, rollout_id="r", generation=1)})
        await core.ledger.commit(Change((Write("desired", identity.node_id, dump(desired), None),)))
        assert await in_use_by(core.ledger, core.blobs, first) == (envelope[:16],)
        assert await in_use_by(core.ledger, core.blobs, second) == ()
        with pytest.raises(Conflict, match="is in force, or not yet"):
            await retire_signing_key(core.ledger, core.trust, second, "me")
        with pytest.raises(NotFound, match="no signing key is 'zz'"):
            await retire_signing_key(core.ledger, core.trust, "zz", "me")
        retired = await retire_signing_key(core.ledger, core.trust, first[:12], "me")
        async with connected(folder) as identity:
            await node_once(cloud, identity.node_id, retired.number)
            assert set(identity.signing_keys) == {second}
        late = await enrolled(await cloud.join_line(), tmp_path / "late")
        assert set(late.identity().signing_keys) == {second}
