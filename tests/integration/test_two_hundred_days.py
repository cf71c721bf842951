"""A node over 200 days: with a clock that a test turns; and as whole processes under libfaketime, where that is at hand."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from littoral.errors import Unavailable
from littoral.identity import certificate_request, key_id_of, new_node_key, private_pem
from littoral.signed_time import prove, seal_time
from littoral_cloud.fleet import renewal, sessions
from littoral_cloud.fleet.admitting import accept
from littoral_cloud.fleet.enrolment import EnrolmentRequest, enrol
from littoral_cloud.fleet.issued_tokens import create_token
from littoral_cloud.fleet.ledger import Ledger
from littoral_cloud.fleet.records import Enrolment, Node, load
from littoral_cloud.fleet.sessions import Peer
from littoral_cloud.trust.ca import CertificateAuthority, open_ca
from littoral_node.certificates.renewal import CertificateRenewal
from littoral_node.identity.files import write_record
from littoral_node.identity.folder import NodeFolder
from littoral_node.identity.identity import Identity
from littoral_node.link.addresses import NamedCoordinators
from tests.kit.certificates import Credential
from tests.kit.faketime import faketime, shifted
from tests.kit.patience import PATIENCE_S
from tests.kit.ports import lasting_port

pytest_plugins = ("tests.kit.redis",)

DAY_S = 86_400.0
CLOUD, NODE = (str(Path(sys.executable).with_name(name)) for name in ("littoral-cloud", "littoral-node"))
TOO_LONG = range(15, 150)
BEGAN = 1_700_000_000.0


class Turned:
    """A clock that goes on when somebody waits. `days`: since the node enrolled."""

    def __init__(self) -> None:
        self.days = 0.0

    def __call__(self) -> float:
        return BEGAN + self.days * DAY_S


def peer_of(identity: Identity) -> Peer:
    """As the handshake tells it."""
    certificate = x509.load_pem_x509_certificate(identity.certificate_pem)
    shown = Credential(identity.key_pem, identity.certificate_pem)
    return Peer(
        identity.node_id,
        shown.sha256,
        certificate.not_valid_after_utc.timestamp(),
        certificate.not_valid_before_utc.timestamp(),
        shown.public_key_sha256,
    )


async def enrolled(ledger: Ledger, authority: CertificateAuthority, place: Path, now: float) -> NodeFolder:
    key = new_node_key()
    secret, _ = await create_token(ledger, "t", 600.0, 1, {}, now, lambda n: "x" * n)
    wanted = EnrolmentRequest(token=secret, certificate_request=certificate_request(key), node_name="buoy")
    given = await enrol(ledger, authority, wanted, now, random.Random(1))
    folder = NodeFolder(place)
    folder.prepare()
    pem = x509.load_der_x509_certificate(given.certificate).public_bytes(Encoding.PEM)
    folder.keep_identity(Identity(given.node_id, given.node_name, "127.0.0.1:9", pem, authority.pem, private_pem(key), {}))
    return folder


@pytest.mark.parametrize(
    "away", [range(0), range(18, 28), range(15, 115), range(15, 150)], ids=["there", "a-week", "within-the-grace", "too-long"]
)
async def test_a_clock_that_is_turned_by_200_days(ledger: Ledger, tmp_path: Path, away: range) -> None:
    """The agent's own part over the coordinator's own: each half day it looks, and whatever it holds is what the cloud takes."""
    clock = Turned()
    authority = open_ca(tmp_path / "ca", clock())
    folder = await enrolled(ledger, authority, tmp_path / "node", clock())
    signing = Ed25519PrivateKey.generate()
    trusted = {key_id_of(raw := signing.public_key().public_bytes_raw()): raw}
    write_record(folder.coordinators, NamedCoordinators(enrolment=("127.0.0.1:9",)))
    log: list[str] = []
    refused_days: list[float] = []

    def there() -> bool:
        return int(clock.days) not in away

    async def ask(identity: Identity) -> bytes:
        key = load_pem_private_key(identity.key_pem, None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        if clock.days < 21:  # lost on the way, once or twice
            await renewal.renew(ledger, authority, peer_of(identity), certificate_request(key), clock())
            raise Unavailable("the answer was lost")
        issued = await renewal.renew(ledger, authority, peer_of(identity), certificate_request(key), clock())
        return x509.load_der_x509_certificate(issued.der).public_bytes(Encoding.PEM)

    async def ask_back(identity: Identity, addresses: Sequence[str], rng: random.Random) -> Identity:
        if not there():
            raise Unavailable("the cloud cannot be reached")
        key = load_pem_private_key(identity.key_pem, None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        request, challenge = certificate_request(key), seal_time(clock(), b"n" * 32, signing)
        proof = renewal.Proof(challenge=challenge, certificate_request=request, signature=prove(challenge, request, key))
        issued = await renewal.come_back(ledger, authority, proof, trusted, clock(), 90 * DAY_S)
        pem = x509.load_der_x509_certificate(issued.der).public_bytes(Encoding.PEM)
        return replace(identity, certificate_pem=pem)

    async def wait(event: asyncio.Event, seconds: float) -> None:
        clock.days += 0.5
        if clock.days > 200:
            raise asyncio.CancelledError
        if there() and await sessions.admission(ledger, peer_of(folder.identity()), clock()) is not None:
            refused_days.append(clock.days)
        if clock.days == 170 and away == TOO_LONG:
            await accept(ledger, "buoy", clock(), actor="ann")

    certificate = CertificateRenewal(
        folder,
        clock=clock,
        monotonic=clock,
        rng=random.Random(2),
        log=lambda event, **fields: log.append(event),
        ask=ask,
        ask_back=ask_back,
        wait=wait,
    )
    opened: list[float] = []
    with pytest.raises(asyncio.CancelledError):
        await certificate.run(lambda: there() and not certificate.barred(), lambda: opened.append(clock.days))
    [node] = [load(Node, doc) for doc in await ledger.all("node")]
    assert node.node_id == certificate.node_id
    assert node.enrolment is Enrolment.ACCEPTED
    assert node.certificate_expires_at > clock()
    assert log.count("certificate-renewed") + log.count("certificate-returned") == len(opened) >= 2
    assert log.count("certificate-returned") == (len(away) > 30)
    actions = [line.action for line in await ledger.audit()]
    assert ("node.waits" in actions) == ("node.accepted" in actions) == (away == TOO_LONG)
    if len(away) < 30:
        assert refused_days == []
        assert all(19 < after - before < 31 for before, after in itertools.pairwise(opened))
    elif away == TOO_LONG:
        assert (refused_days[0], refused_days[-1]) == (150.0, 170.0)
    else:
        assert refused_days == [115.0]  # it asks at once


# -- whole processes ---------------------------------------------------------------------------------------------------


@asynccontextmanager
async def process(days: float, *words: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, Any]]:
    """One that runs so many days from now, and the line of JSON with which it is ready; ended with SIGTERM."""
    running = await asyncio.create_subprocess_exec(
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **shifted(days)},
    )
    assert running.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE_S):
            line = await running.stdout.readline()
        assert line, (await running.communicate())[1].decode()
        yield running, json.loads(line)
    finally:
        if running.returncode is None:
            running.terminate()
            await running.communicate()


async def command(days: float, *words: str) -> str:
    running = await asyncio.create_subprocess_exec(
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **shifted(days)},
    )
    out, err = await running.communicate()
    assert running.returncode == 0, err.decode()
    return out.decode()


async def until(agent: asyncio.subprocess.Process, event: str) -> dict[str, Any]:
    """The next line of this event in the agent's log."""
    assert agent.stderr is not None
    seen = []
    async with asyncio.timeout(PATIENCE_S):
        async for raw in agent.stderr:
            seen.append(raw)
            if raw.startswith(b"{") and (line := json.loads(raw))["event"] == event:
                return dict(line)
    raise AssertionError(f"no {event} in {seen}")


@pytest.mark.slow
@pytest.mark.skipif(faketime() is None, reason="no libfaketime here: the test above turns a clock in its place")
async def test_whole_processes_over_130_days(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    data, node = str(tmp_path_factory.mktemp("c")), str(tmp_path / "node")
    # The node is told one once, and has to find the coordinator there at each of its starts.
    ports = ("--enrolment-port", str(lasting_port()), "--fleet-port", str(lasting_port()), "--api-port", "0")
    serve = (CLOUD, "serve", "--data-dir", data, *ports, "--format", "json")
    run = (NODE, "run", "--data", node, "--http", "127.0.0.1:0", "--grpc", "off", "--format", "json")
    ids = set()
    for days in (0, 22, 130):
        async with process(days, *serve):
            if not days:
                line = (await command(0, CLOUD, "token", "create", "--data-dir", data)).strip().splitlines()[0]
                await command(0, NODE, "enroll", line, "--data", node, "--name", "buoy")
            async with process(days, *run) as (agent, _):
                if days <= 22:
                    ids.add((await until(agent, "session-open"))["node"])
                if days:  # off for longer than its certificate lasted, it shows its key first
                    await until(agent, "certificate-renewed" if days == 22 else "certificate-returned")
                    ids.add((await until(agent, "session-open"))["node"])
    assert len(ids) == 1
