"""`littoral-node enroll` and `doctor` as an operator types them, against a whole coordinator."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import ssl
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from littoral.identity import JoinLine
from littoral_cloud.fleet.admitting import revoke
from littoral_cloud.fleet.records import Node, load
from littoral_node.identity.folder import NodeFolder
from tests.kit.agent import AgentProcess
from tests.kit.certificates import Authority
from tests.kit.cloud import Cloud, running_cloud
from tests.kit.patience import PATIENCE_S

PORT_OF_NOBODY = "127.0.0.1:9"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("c")


@pytest.fixture
async def cloud(data_dir: Path) -> AsyncIterator[Cloud]:
    async with running_cloud(data_dir) as running:
        yield running


async def littoral_node(*arguments: str, **environment: str) -> tuple[int, Any, Any]:
    """(exit code, stdout, stderr) of one command with --format json; what is not JSON comes as text."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "littoral_node.cli", *arguments, "--format", "json"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    async with asyncio.timeout(PATIENCE_S):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, _parsed(out), _parsed(err)


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode()


async def test_a_node_enrols_once_runs_and_is_well(cloud: Cloud, tmp_path: Path) -> None:
    place = tmp_path / "node"
    line = await cloud.join_line()
    code, out, err = await littoral_node("enroll", line.render(), "--data", str(place), "--name", "gateway")
    assert (code, err) == (0, "")
    assert (out["node_name"], out["enrolled_before"]) == ("gateway", False)
    node = load(Node, await _doc(cloud, "node", out["node_id"]))
    assert node.name == "gateway"
    assert stat.S_IMODE((place / "key.pem").stat().st_mode) == 0o600

    code, again, _ = await littoral_node("enroll", line.render(), "--data", str(place))  # its token is spent, and not needed
    assert (code, again["node_id"], again["enrolled_before"]) == (0, out["node_id"], True)
    code, again, said = await littoral_node("enroll", line.render(), "--data", str(place), "--name", "other")
    assert (code, again["node_name"]) == (0, "gateway")
    assert "stays 'gateway', not 'other'" in said

    agent = await (await AgentProcess.start(place)).ready()
    await agent.until("session-open", node=out["node_id"])
    code, _, err = await littoral_node("run", "--data", str(place), "--http", "127.0.0.1:0")
    assert (code, err["error"]["code"]) == (8, "unavailable")
    code, _, err = await littoral_node("run", "--data", str(place), "--http", agent.http)
    assert code == 8
    assert await agent.stop() == 0

    code, found, _ = await littoral_node("doctor", "--data", str(place))
    verdicts = {finding["check"]: finding["verdict"] for finding in found["findings"]}
    assert (code, verdicts["enrolled"], verdicts["certificate"], verdicts["cloud"]) == (0, "ok", "ok", "ok")

    await revoke(cloud.core.ledger, out["node_id"], reason="stolen", actor="ann")
    code, found, _ = await littoral_node("doctor", "--data", str(place))
    cloud_says = next(finding for finding in found["findings"] if finding["check"] == "cloud")
    assert (code, cloud_says["verdict"]) == (1, "bad")
    assert "does not accept this node: revoked: node gateway is revoked" in cloud_says["detail"]
    node = load(Node, await _doc(cloud, "node", out["node_id"]))
    assert node.renewed_at == 0.0  # asking gave it no certificate


@pytest.mark.slow
async def test_the_doctor_judges_what_the_agent_that_runs_was_told_and_not_node_toml_alone(cloud: Cloud, tmp_path: Path) -> None:
    place = tmp_path / "node"
    await littoral_node("enroll", (await cloud.join_line()).render(), "--data", str(place))
    (place / "node.toml").write_text('budget = "p95<=5ms"\nkeep_free = "32MB"\n')

    async def checks() -> dict[str, tuple[str, str]]:
        _, found, _ = await littoral_node("doctor", "--data", str(place))
        return {finding["check"]: (finding["verdict"], finding["detail"]) for finding in found["findings"]}

    found = await checks()
    assert found["agent"] == ("none", "none runs on this folder; flags of `run` are unknown here")
    assert found["settings"][1].startswith("budget p95<=5ms; ")

    flags = ("--budget", "artifact<=20KB", "--providers", "cpu")
    agent = await (await AgentProcess.start(place, *flags, environment={"LITTORAL_NODE_THREADS": "2"})).ready()
    found = await checks()
    assert found["agent"][0] == "ok"
    assert f"http at {agent.http} and grpc at {agent.said['grpc']}" in found["agent"][1]
    verdict, detail = found["settings"]
    assert verdict == "ok"
    assert detail == (
        f"budget artifact<=20000B; --budget artifact<=20KB; {place}/node.toml: keep_free 32MB; LITTORAL_NODE_THREADS 2; "
        "--http 127.0.0.1:0; --providers cpu"
    )

    (place / "node.toml").write_text('budget = "p95<=9ms"\n')
    assert (await checks())["agent"][0] == "warn"
    (place / "node.toml").write_text("budget = \n")
    assert (await checks())["settings"][0] == "bad"  # it would not start again
    assert await agent.stop() == 0
    (place / "node.toml").unlink()
    found = await checks()
    assert (found["agent"][0], found["settings"][1]) == ("none", "no limits")


async def test_a_taken_name_is_said(cloud: Cloud, tmp_path: Path) -> None:
    for place, name in (("one", "camera"), ("two", "camera-2")):
        line = await cloud.join_line()
        code, out, said = await littoral_node("enroll", line.render(), "--data", str(tmp_path / place), "--name", "camera")
        assert (code, out["node_name"]) == (0, name)
    assert "'camera' is taken in this fleet: the node is called 'camera-2'" in str(said)


async def test_a_try_that_was_cut_off_ends_as_the_same_node_when_it_is_repeated(cloud: Cloud, tmp_path: Path) -> None:
    place = tmp_path / "node"
    line = await cloud.join_line()
    _, first, _ = await littoral_node("enroll", line.render(), "--data", str(place), "--name", "camera")
    folder = NodeFolder(place)
    folder.keep_pending_key((place / "key.pem").read_bytes())  # as if the answer had been lost on its way
    (place / "node.json").unlink()
    code, second, err = await littoral_node("enroll", "--join-file", str(_file(tmp_path, line)), "--data", str(place))
    assert (code, second["node_id"]) == (0, first["node_id"]), err


async def test_force_takes_a_new_identity(cloud: Cloud, tmp_path: Path) -> None:
    place = str(tmp_path / "node")
    _, first, _ = await littoral_node("enroll", "--data", place, LITTORAL_NODE_JOIN=(await cloud.join_line()).render())
    code, second, err = await littoral_node("enroll", "--force", (await cloud.join_line()).render(), "--data", place)
    assert code == 0, err
    assert second["node_id"] != first["node_id"]
    assert NodeFolder(Path(place)).identity().node_id == second["node_id"]


async def test_a_line_that_names_another_ca_sends_nothing(cloud: Cloud, tmp_path: Path) -> None:
    line = dataclasses.replace(await cloud.join_line(), ca_sha256="ab" * 32)
    code, _, err = await littoral_node("enroll", line.render(), "--data", str(tmp_path / "node"))
    assert (code, err["error"]["code"]) == (3, "untrusted")
    assert "wrong CA fingerprint" in err["error"]["message"]
    assert not (tmp_path / "node" / "key.new.pem").exists()


async def test_an_impostor_on_the_address_never_sees_the_token(tmp_path: Path) -> None:
    """A TLS server with a certificate of its own: the handshake is all that it gets."""
    impostor = Authority("not the fleet's").issue("server", server=True)
    for name, pem in (("key", impostor.key), ("cert", impostor.certificate)):
        (tmp_path / name).write_bytes(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    context.set_alpn_protocols(["h2"])
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            heard.put_nowait(await reader.read())
        except (ConnectionError, ssl.SSLError):
            heard.put_nowait(b"")
        writer.close()

    server = await asyncio.start_server(hear, "127.0.0.1", 0, ssl=context)
    async with server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        line = JoinLine(address, "the-secret", 4_000_000_000, "cd" * 32)
        code, _, err = await littoral_node("enroll", line.render(), "--data", str(tmp_path / "node"))
    assert (code, err["error"]["code"]) == (3, "untrusted")
    async with asyncio.timeout(PATIENCE_S):
        assert await heard.get() == b""


async def test_wrong_lines_are_refused_each_with_its_reason(cloud: Cloud, tmp_path: Path) -> None:
    good, place = await cloud.join_line(), tmp_path / "node"
    cases = [
        (("enroll", dataclasses.replace(good, expires_at=1_000_000_000).render()), 3, "bad-token"),
        (("enroll", dataclasses.replace(good, token="never-made").render()), 3, "bad-token"),
        (("enroll", dataclasses.replace(good, address=PORT_OF_NOBODY).render()), 8, "unavailable"),
        (("enroll", good.render()[:-9]), 2, "bad-input"),
        (("enroll", "hello"), 2, "bad-input"),
        (("enroll",), 2, "bad-input"),  # no line at all
        (("run",), 4, "not-found"),  # nobody is enrolled here
    ]
    answers = await asyncio.gather(*(littoral_node(*words, "--data", f"{place}-{i}") for i, (words, _, _) in enumerate(cases)))
    assert [(code, err["error"]["code"]) for code, _, err in answers] == [(code, name) for _, code, name in cases]
    assert (await littoral_node("doctor", "--data", str(place)))[0] == 1


async def _doc(cloud: Cloud, kind: str, id: str) -> Any:
    doc = await cloud.core.ledger.get(kind, id)
    assert doc is not None
    return doc


def _file(folder: Path, line: JoinLine) -> Path:
    path = folder / "join"
    path.write_text(line.render() + "\n")
    return path
