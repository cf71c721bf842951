"""The coordinator as a process, started and ended as an operator would, and what the commands beside it say."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from littoral.fleet.v1 import blob_pb2, session_pb2
from littoral.identity import JoinLine
from littoral_cloud.api.open_files import room_for
from littoral_cloud.app import open_core
from littoral_cloud.cli import execute
from littoral_cloud.fleet.ledger import Change, Write
from littoral_cloud.fleet.measurements import MeasurementRecord, measurement_id
from littoral_cloud.fleet.records import Artifact, Desired, dump
from littoral_cloud.settings import CloudSettings
from tests.kit.cloud import a_node
from tests.kit.fleet import until_written
from tests.kit.node_client import NodeClient, hello_word
from tests.kit.patience import PATIENCE_S

GOOD, FAT = "sha256:" + "a" * 64, "sha256:" + "b" * 64


@pytest.fixture
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("d")


@dataclass(frozen=True, slots=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


async def command(*arguments: str, data_dir: Path) -> Ended:
    process = await start(*arguments, data_dir=data_dir)
    async with asyncio.timeout(PATIENCE_S):
        out, err = await process.communicate()
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


class Here:
    """Commands beside a coordinator, run in this process: to import everything once more takes longer than what they do."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    async def __call__(self, *arguments: str, data_dir: Path) -> Ended:
        self._capsys.readouterr()
        code = await asyncio.to_thread(execute, [*arguments, "--data-dir", str(data_dir)])
        return Ended(code, *self._capsys.readouterr())


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str]) -> Here:
    return Here(capsys)


async def start(*arguments: str, data_dir: Path, files: int | None = None) -> asyncio.subprocess.Process:
    """`files`: the hard limit of open files that it gets."""
    limited = () if files is None else ("sh", "-c", f'ulimit -n {files}; exec "$0" "$@"')
    return await asyncio.create_subprocess_exec(
        *(*limited, sys.executable, "-m", "littoral_cloud.cli", *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "LITTORAL_DATA_DIR": str(data_dir)},
    )


@dataclass(frozen=True, slots=True)
class Server:
    process: asyncio.subprocess.Process
    ready: dict[str, Any]

    async def end(self, how: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Exit code, standard error."""
        self.process.send_signal(how)
        async with asyncio.timeout(PATIENCE_S):
            _, err = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, err.decode()


@asynccontextmanager
async def serving(data_dir: Path, *arguments: str, files: int | None = None) -> AsyncIterator[Server]:
    ports = ("--enrolment-port", "0", "--fleet-port", "0", "--api-port", "0", "--format", "json")
    process = await start("serve", *ports, *arguments, data_dir=data_dir, files=files)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            line = await process.stdout.readline()
        assert line, (await process.communicate())[1].decode()
        yield Server(process, json.loads(line))
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def test_it_drains_and_waits_for_nothing_that_is_open(data_dir: Path) -> None:
    arguments = ("--heartbeat-interval", "3600", "--log-format", "json")
    async with serving(data_dir, *arguments) as server, open_core(CloudSettings(data_dir=data_dir)) as core:
        assert server.ready["event"] == "ready"
        assert json.loads((data_dir / "serve.json").read_text())["fleet"] == server.ready["fleet"]
        credential = await a_node(core, "n1", "gateway")
        big = core.blobs.put(os.urandom(30_000_000))
        await core.ledger.commit(Change((Write("desired", "n1", dump(Desired(benchmarks=(big,))), None),)))
        async with NodeClient(server.ready["fleet"], core.trust.ca.pem, credential) as node:
            line = await node.begin()
            download = node.blobs.GetBlob(blob_pb2.GetBlobRequest(digest=big))
            await download.read()  # and no further: it stays open
            ending = asyncio.create_task(server.end())
            refusal = await line.hear("refusal")
            assert refusal.reason == session_pb2.REFUSAL_REASON_UNAVAILABLE
            assert refusal.retry_after_s > 0
            assert await line.ended() is grpc.StatusCode.OK
            code, errors = await ending
        assert (code, "Traceback" in errors) == (0, False), errors
        lines = [json.loads(line) for line in errors.splitlines()]
        assert [line.get("request_id") for line in lines if line["message"] == "draining"] == [None]
        [session] = [line for line in lines if line["message"].startswith("session of n1")]
        assert len(session["request_id"]) == 16
        assert not (data_dir / "serve.json").exists()
        presence = await core.ledger.get("presence", "n1")
        assert presence is not None
        assert presence.body["connected"] is False


async def test_one_that_was_killed_comes_back_and_knows_who_is_not_there(data_dir: Path) -> None:
    async with open_core(CloudSettings(data_dir=data_dir)) as core:
        credential = await a_node(core, "n1", "gateway")
        async with serving(data_dir) as server, NodeClient(server.ready["fleet"], core.trust.ca.pem, credential) as node:
            await node.begin()
            server.process.kill()
            await server.process.communicate()
        presence = await core.ledger.get("presence", "n1")
        assert presence is not None
        assert presence.body["connected"] is True, "nobody was left to write it"
        async with serving(data_dir) as server:
            await until_written(core.ledger, "presence", "n1", connected=False)
            assert (await server.end(signal.SIGINT))[0] == 0


@pytest.mark.parametrize("name", ["enrolment", "fleet"])
async def test_a_port_in_use_is_named_with_its_setting(data_dir: Path, name: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        port = str(taken.getsockname()[1])
        other = "fleet" if name == "enrolment" else "enrolment"
        ended = await command("serve", f"--{name}-port", port, f"--{other}-port", "0", data_dir=data_dir)
    assert ended.code == 8
    assert f"{name}_port: {port} on 127.0.0.1 is in use" in ended.err
    assert f"LITTORAL_{name.upper()}_PORT" in ended.err
    assert "Traceback" not in ended.err
    assert not (data_dir / "serve.json").exists()


async def test_a_second_server_on_the_same_ports_is_refused_and_the_first_goes_on(
    data_dir: Path, tmp_path: Path, here: Here
) -> None:
    async with serving(data_dir) as server:
        port = server.ready["fleet"].rpartition(":")[2]
        ended = await command("serve", "--fleet-port", port, "--enrolment-port", "0", "--api-port", "0", data_dir=tmp_path)
        assert ended.code == 8
        assert (await here("doctor", "--server", data_dir=data_dir)).code == 0


async def test_a_second_server_on_the_same_data_folder_is_refused_and_nothing_of_the_first_is_touched(
    data_dir: Path, here: Here
) -> None:
    ended = await command("token", "create", data_dir=data_dir)
    assert (ended.code, ended.out) == (8, "")
    assert f"no coordinator runs on {data_dir}" in ended.err
    async with serving(data_dir, "--heartbeat-interval", "300") as server, open_core(CloudSettings(data_dir=data_dir)) as core:
        credential = await a_node(core, "n1", "gateway")
        said = (data_dir / "serve.json").read_text()
        async with NodeClient(server.ready["fleet"], core.trust.ca.pem, credential) as node:
            line = await node.begin()
            before = await core.ledger.get("presence", "n1")
            ended = await command("serve", "--fleet-port", "0", "--enrolment-port", "0", "--api-port", "0", data_dir=data_dir)
            assert ended.code == 8
            assert f"is served by another coordinator (process {server.ready['pid']}, " in ended.err
            assert "Traceback" not in ended.err
            await line.say(heartbeat=session_pb2.Heartbeat(sequence=1))
            await line.hear("heartbeat")
            assert await core.ledger.get("presence", "n1") == before
        assert (data_dir / "serve.json").read_text() == said
        token = await here("token", "create", data_dir=data_dir)
        assert JoinLine.parse(token.out).address == server.ready["enrolment"]
        server.process.kill()
        await server.process.communicate()
        assert (data_dir / "serve.json").exists(), "nobody was left to remove it"
        ended = await command("token", "create", data_dir=data_dir)
        assert (ended.code, ended.out) == (8, "")


async def test_at_the_limit_of_open_files_newcomers_are_told_so_and_redis_is_had(data_dir: Path) -> None:
    files = 150
    room = room_for(files)
    async with (
        serving(data_dir, "--heartbeat-interval", "300", files=files) as server,
        open_core(CloudSettings(data_dir=data_dir)) as core,
        AsyncExitStack() as open,
    ):
        lines = []
        for number in range(room.nodes):
            client = NodeClient(server.ready["fleet"], core.trust.ca.pem, await a_node(core, f"n{number}", f"node {number}"))
            lines.append(await (await open.enter_async_context(client)).begin())
        late = NodeClient(server.ready["fleet"], core.trust.ca.pem, await a_node(core, "late", "latecomer"))
        line = (await open.enter_async_context(late)).open()
        with suppress(grpc.aio.AioRpcError):  # the refusal may have ended the stream before this was written
            await line.say(hello=hello_word())
        refusal = await line.hear("refusal")
        assert refusal.reason == session_pb2.REFUSAL_REASON_UNAVAILABLE
        assert f"holds {room.nodes} nodes, as many as its limit of {files} open files allows" in refusal.detail
        assert refusal.retry_after_s > 0
        for address in (server.ready["fleet"], server.ready["enrolment"]):
            host, _, port = address.rpartition(":")
            for _ in range(2 * files):  # strangers: those for whom there is no room are closed
                open.callback(socket.create_connection((host, int(port)), timeout=PATIENCE_S).close)
        for number, line in enumerate(lines):  # what a node says goes to Redis, and back from there
            model = session_pb2.ReportedModel(state=session_pb2.UPDATE_STATE_SUCCEEDED, target_manifest_digest=GOOD)
            await line.say(reported=session_pb2.ReportedState(generation=1, models={"digits": model}))
            await until_written(core.ledger, "reported", f"n{number}", generation=1)
        code, errors = await server.end()
    assert code == 0
    assert f"{files} open files: room for {room.nodes} nodes" in errors
    assert "Too many open files" not in errors
    assert "Errno 24" not in errors


async def test_an_address_that_is_not_ours_is_named(data_dir: Path) -> None:
    ended = await command(
        "serve", "--host", "192.0.2.1", "--fleet-port", "0", "--enrolment-port", "0", "--api-port", "0", data_dir=data_dir
    )
    assert ended.code == 2
    assert "host: '192.0.2.1' cannot be bound" in ended.err


@pytest.mark.slow
async def test_the_doctor_knows_whether_a_server_answers(data_dir: Path, here: Here) -> None:
    ended = await command("doctor", "--server", data_dir=data_dir)
    assert ended.code == 1
    assert "littoral-cloud serve" in ended.err
    async with serving(data_dir) as server:
        ended = await here("doctor", "--server", "--format", "json", data_dir=data_dir)
        assert ended.code == 0, ended.err
        assert [finding["check"] for finding in ended.json] == ["enrolment listener", "fleet listener", "ready", "redis"]
        assert (await here("doctor", data_dir=data_dir)).code == 0
        server.process.send_signal(signal.SIGSTOP)  # it is there and answers nobody
        try:
            ended = await here("doctor", "--server", "--format", "json", data_dir=data_dir)
            assert ended.code == 1
            assert not ended.json[0]["ok"]
        finally:
            server.process.send_signal(signal.SIGCONT)
    (data_dir / "ca" / "key.pem").chmod(0o644)
    ended = await command("doctor", data_dir=data_dir)
    assert ended.code == 1
    assert "chmod 600" in ended.out


async def test_the_node_commands_show_explain_and_end_a_node(data_dir: Path, here: Here) -> None:
    patient = ("--heartbeat-interval", "300")  # its node beats no heart while the commands run
    async with serving(data_dir, *patient) as server, open_core(CloudSettings(data_dir=data_dir)) as core:
        credential = await a_node(core, "n1", "camera")
        await a_node(core, "n2", "idle")
        writes = []
        for digest, name, size in ((GOOD, "small", 10_000), (FAT, "large", 90_000)):
            artifact = Artifact(
                manifest_digest=digest,
                model="digits",
                name=name,
                runtime="onnxruntime",
                accuracy=0.98 if name == "small" else 0.99,
                artifact_bytes=size,
                parameters=1,
                architecture={"name": "cnn"},
                class_accuracy={"3": 0.99, "8": 0.97} if name == "small" else {"3": 1.0, "8": 0.9},
            )
            measured = MeasurementRecord(manifest_digest=digest, node_id="n1", hardware_class="c", p95_ms=1.0, samples=10)
            writes.append(Write("artifact", digest, dump(artifact), 0))
            writes.append(Write("measurement", measurement_id(digest, "n1"), dump(measured), 0))
        await core.ledger.commit(Change(tuple(writes)))
        async with NodeClient(server.ready["fleet"], core.trust.ca.pem, credential) as node:
            line = await node.begin(
                budgets={"": session_pb2.Budget(artifact_bytes=20_000, worst_class=0.95)},
                hardware={"hardware_class": "c", "runtimes": [{"name": "onnxruntime", "version": "1"}]},
            )
            model = session_pb2.ReportedModel(
                state=session_pb2.UPDATE_STATE_SUCCEEDED, target_manifest_digest=GOOD, serving_manifest_digest=GOOD
            )
            await line.say(reported=session_pb2.ReportedState(generation=1, models={"digits": model}))
            await until_written(core.ledger, "reported", "n1", generation=1)

            listed = (await here("node", "list", "--format", "json", data_dir=data_dir)).json
            assert [(each["name"], each["state"]) for each in listed] == [("camera", "online"), ("idle", "offline")]
            assert listed[0]["models"][0]["student"] == "small"
            table = (await here("node", "list", data_dir=data_dir)).out
            assert "SUCCEEDED" in table

            shown = (await here("node", "show", "camera", "--format", "json", data_dir=data_dir)).json
            assert shown["budgets"] == dict.fromkeys(("*", "digits"), "artifact<=20000B,worst>=0.95")  # as the share leaves it
            explained = (await here("node", "explain", "camera", "--format", "json", data_dir=data_dir)).json["digits"]
            assert [(row["name"], row["chosen"]) for row in explained] == [("large", False), ("small", True)]
            assert explained[0]["out"] == ["artifact_bytes: 90000 is over 20000", "worst_class: 0.9 of '8' is under 0.95"]
            assert explained[0]["class_accuracy"] == {"3": 1.0, "8": 0.9}
            table = (await here("node", "explain", "camera", data_dir=data_dir)).out
            assert "0.97 (8)" in table

            assert (await here("node", "decommission", "camera", data_dir=data_dir)).code == 0
            refusal = await line.hear("refusal")
            assert refusal.reason == session_pb2.REFUSAL_REASON_NODE_REVOKED
        listed = (await here("node", "list", "--format", "json", data_dir=data_dir)).json
        assert listed[0]["state"] == "decommissioned"
        missing = await here("node", "show", "nobody", data_dir=data_dir)
        assert missing.code == 4
        assert "node list" in missing.err
