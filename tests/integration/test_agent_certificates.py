"""A node's certificate over its life, with real processes, real TLS and real clocks: what is old was issued so long ago."""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from littoral.identity import certificate_request, new_node_key, private_pem
from littoral_cloud.fleet.enrolment import EnrolmentRequest, enrol
from littoral_cloud.fleet.issued_tokens import create_token
from littoral_cloud.trust.ca import open_ca
from littoral_node.identity.files import write_record
from littoral_node.identity.folder import NodeFolder
from littoral_node.identity.identity import Identity, life_of
from littoral_node.link.addresses import NamedCoordinators
from tests.kit.agent import NODE, AgentProcess, Maker
from tests.kit.certificates import Credential
from tests.kit.cloud import Cloud, running_cloud
from tests.kit.fleet import Fleet, until_written
from tests.kit.patience import PATIENCE_S

pytest_plugins = ("tests.kit.redis", "tests.kit.agent_fixture")

DAY_S = 86_400.0


async def littoral_node(*arguments: str) -> tuple[int, Any, str]:
    """(exit code, what it printed, what it complained of)."""
    code, out, err = await ran(sys.executable, "-m", "littoral_node.cli", *arguments, "--format", "json")
    return code, json.loads(out) if out else None, err


async def littoral_cloud(cloud: Cloud, *arguments: str) -> tuple[int, str, str]:
    command = str(Path(sys.executable).with_name("littoral-cloud"))
    return await ran(command, *arguments, "--data-dir", str(cloud.settings.data_dir))


async def ran(*words: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def health(agent: AgentProcess) -> Any:
    with urllib.request.urlopen(f"http://{agent.http}/v2/health/live", timeout=PATIENCE_S) as answer:
        return json.load(answer)


async def test_an_agent_renews_its_certificate_by_itself_and_opens_a_new_channel(
    fleet: Fleet, maker: Maker, tmp_path: Path
) -> None:
    folder = await maker.enrol(tmp_path / "aged", days_ago=61)
    before = folder.identity()
    agent = await (await AgentProcess.start(folder.root)).ready()
    await agent.until("certificate-renewed", node=f"name-of-{NODE}")
    after = folder.identity()
    node = await fleet.until("node", NODE)
    assert (after.key_pem, after.node_id) == (before.key_pem, before.node_id)
    assert node.body["certificate_sha256"] == Credential(after.key_pem, after.certificate_pem).sha256
    assert life_of(after.certificate_pem).ends_at == pytest.approx(time.time() + 30 * DAY_S, abs=120)  # noqa: TID251 - a shell
    await agent.until("session-reopened")
    assert await agent.stop() == 0
    assert not any(event["event"] == "session-lost" for event in agent.events)
    agent = await (await AgentProcess.start(folder.root)).ready()
    await agent.until("session-open")
    assert await agent.stop() == 0
    assert not any(event["event"] == "certificate-renewed" for event in agent.events)


async def enrolled_long_ago(cloud: Cloud, place: Path, name: str, days: float) -> NodeFolder:
    """A node's folder as `littoral-node enroll` left it so many days ago."""
    core, then = cloud.core, cloud.core.clock() - days * DAY_S
    key = new_node_key()
    secret, _ = await create_token(core.ledger, "then", 600.0, 1, {}, then, lambda n: name * n, actor="test")
    wanted = EnrolmentRequest(token=secret, certificate_request=certificate_request(key), node_name=name)
    enrolled = await enrol(core.ledger, core.trust.ca, wanted, then, random.Random(1))
    folder = NodeFolder(place)
    folder.prepare()
    folder.keep_identity(
        Identity(
            node_id=enrolled.node_id,
            node_name=enrolled.node_name,
            fleet_address=cloud.serving.fleet,
            certificate_pem=x509.load_der_x509_certificate(enrolled.certificate).public_bytes(Encoding.PEM),
            ca_pem=core.trust.ca.pem,
            key_pem=private_pem(key),
            signing_keys=core.trust.signing_keys(),
        )
    )
    write_record(folder.coordinators, NamedCoordinators(enrolment=(cloud.serving.enrolment,)))
    return folder


@pytest.mark.slow
async def test_one_that_expired_serves_on_comes_back_by_itself_and_after_the_grace_when_an_operator_accepts_it(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = tmp_path_factory.mktemp("c")
    open_ca(data / "ca", time.time() - 200 * DAY_S)  # noqa: TID251 - a shell
    async with running_cloud(data) as cloud:
        ledger = cloud.core.ledger
        folder = await enrolled_long_ago(cloud, tmp_path / "within", "young", 100)
        agent = await (await AgentProcess.start(folder.root)).ready()
        await agent.until("certificate-returned", node="young")
        await agent.until("session-open")
        assert await agent.stop() == 0

        folder = await enrolled_long_ago(cloud, tmp_path / "node", "zed", 130)
        agent = await (await AgentProcess.start(folder.root)).ready()
        expired = await agent.until("certificate-expired", node="zed")
        assert "the certificate expired 100.0 days ago" in expired["detail"]
        told = await agent.until("certificate-not-renewed", node="zed")
        assert "waits: node zed waits for an operator" in told["detail"]
        assert any("waits for an operator" in problem for problem in health(agent)["problems"])
        code, found, _ = await littoral_node("doctor", "--data", str(folder.root))
        verdicts = {each["check"]: each for each in found["findings"]}
        assert (code, verdicts["certificate"]["verdict"]) == (1, "bad")
        said, listed, err = await littoral_cloud(cloud, "node", "list")
        assert said == 0, err
        assert "zed: waits for an operator" in listed
        said, text, err = await littoral_cloud(cloud, "node", "accept", "zed", "--format", "json")
        assert (said, json.loads(text)["state"]) == (0, "accepted"), err
        assert await agent.stop() == 0
        agent = await (await AgentProcess.start(folder.root)).ready()  # else it asks again in five minutes
        await agent.until("certificate-returned", node="zed")
        node = folder.identity().node_id
        await agent.until("session-open", node=node)
        await until_written(ledger, "presence", node, connected=True)
        assert "problems" not in health(agent)
        assert await agent.stop() == 0
        actions = [(line.action, line.actor) for line in await ledger.audit() if line.subject == node]
        assert [action for action, _ in actions] == ["node.enrolled", "node.waits", "node.accepted", "node.returned"]
