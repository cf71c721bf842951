"""Every file of a node's folder, as the folder itself lists them after a life of two updates, cut, zeroed, with one bit turned
and missing, in turn, with the cloud there and away. The agent is the real one, in this process."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from littoral.digest import hex_of
from littoral_cloud.fleet.records import Desired, Reported, load
from littoral_node.agent import Agent
from littoral_node.config.settings import NodeSettings
from littoral_node.identity.files import write_json
from littoral_node.identity.folder import NodeFolder
from littoral_node.machine.hardware import HardwareProfile, profile
from littoral_node.runtimes import facts
from littoral_node.runtimes.using import VARIABLE
from littoral_node.supervision.log import Log
from littoral_node.supervision.notify import Notifier
from tests.kit.agent import MODEL, NODE, SHAPE, Maker, examples, good_weights, reported, want
from tests.kit.fleet import Fleet
from tests.kit.patience import PATIENCE_S

pytest_plugins = ("tests.kit.redis", "tests.kit.agent_fixture", "tests.kit.disk")

NOBODY = "127.0.0.1:9"


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def zeroed(data: bytes) -> bytes:
    return bytes(len(data))


def turned(data: bytes) -> bytes:
    """One bit, in the middle."""
    found = bytearray(data or b"\0")
    found[len(found) // 2] ^= 1
    return bytes(found)


DAMAGES: Mapping[str, Callable[[bytes], bytes | None]] = {
    "cut": cut,
    "zeroed": zeroed,
    "turned": turned,
    "missing": lambda data: None,
}

UNREAD = (".lock", "serving.json")
"""The one is held, never read; the other is written anew by each start."""

UNMISSED = ("identity.json", "memory.json", "state.json", "crashes.json", "connections.json", "telemetry.spool")
"""That one of these is not there says nothing: an older agent, a first start, nothing to tell."""


class Written(io.StringIO):
    """A log that wakes whoever waits for a line."""

    def __init__(self) -> None:
        super().__init__()
        self.grew = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def write(self, text: str) -> int:
        self._loop.call_soon_threadsafe(self.grew.set)
        return super().write(text)


@dataclass
class Running:
    folder: NodeFolder
    http: str
    stream: Written
    started_ms: float  # since 1970

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    async def until_named(self, file: str) -> bool:
        """In the log; False where it never is."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not named(file, self.stream.getvalue()):
                    self.stream.grew.clear()
                    await self.stream.grew.wait()
        except TimeoutError:
            return False
        return True

    async def until(self, event: str, **fields: Any) -> None:
        while not any({"event": event, **fields}.items() <= seen.items() for seen in self.events):
            self.stream.grew.clear()
            await self.stream.grew.wait()

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://{self.http}{path}", timeout=PATIENCE_S) as answer:
            return json.load(answer)

    async def problems(self) -> list[str]:
        found: list[str] = (await asyncio.to_thread(self._get, "/v2/health/live")).get("problems", [])
        return found

    async def accuracy(self) -> float:
        """Of what it serves; 0 where nothing does."""
        x, y = examples(20, seed=9)
        body = {"inputs": [{"name": "x", "shape": [len(x), *SHAPE], "datatype": "UINT8", "data": x.ravel().tolist()}]}
        request = urllib.request.Request(f"http://{self.http}/v2/models/{MODEL}/infer", json.dumps(body).encode())

        def ask() -> float:
            try:
                with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                    data = json.load(answer)["outputs"][0]["data"]
            except urllib.error.HTTPError:
                return 0.0
            return float((np.reshape(data, (len(x), -1)).argmax(1) == y).mean())

        return await asyncio.to_thread(ask)


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent settles on runtimes for its own process, which here is also that of other tests."""
    monkeypatch.setenv(VARIABLE, "")


@pytest.fixture(scope="module")
def hardware(tmp_path_factory: pytest.TempPathFactory) -> HardwareProfile:
    return profile(tmp_path_factory.mktemp("h"), facts(), threads=1, root=Path("/"))


@asynccontextmanager
async def agent_on(place: Path, hardware: HardwareProfile) -> AsyncIterator[Running]:
    """The agent as `littoral-node run` starts it, ready, in this process."""
    folder, stream, stop = NodeFolder(place), Written(), asyncio.Event()
    log = Log(time.time, as_json=True, stream=stream)  # noqa: TID251 - a shell
    started_ms = time.time() * 1000  # noqa: TID251 - a shell
    ready: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
    folder.prepare()
    with folder.claimed():
        agent = Agent(folder, NodeSettings(http_port=0, grpc=None), log, Notifier(""), hardware=lambda: hardware)
        running = asyncio.create_task(agent.run(ready.set_result, stop))
        await asyncio.wait({running, ready}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            await running
        try:
            with suppress(OSError):
                write_json(folder.serving, {**ready.result(), "settings": {}})
            yield Running(folder, ready.result()["http"], stream, started_ms)
        finally:
            stop.set()
            async with asyncio.timeout(PATIENCE_S):
                await running


@pytest.fixture
async def lived(fleet: Fleet, maker: Maker, folder: NodeFolder, hardware: HardwareProfile) -> tuple[NodeFolder, str, str]:
    """A folder after two updates, and what is kept and what is active in it."""
    first, second = maker.artifact("first"), maker.artifact("second", weights=good_weights() * 2)
    async with agent_on(folder.root, hardware) as agent:
        for generation, digest in enumerate((first, second), 1):
            await want(fleet, digest, generation)
            await reported(fleet, generation, "SUCCEEDED", serving=digest)
        assert await agent.accuracy() == 1.0
    doc = await fleet.ledger.get("desired", NODE)
    assert doc is not None
    await fleet.want(NODE, replace(load(Desired, doc), former=(first,)))  # as every change of what is wanted leaves it
    return folder, first, second


def files_of(folder: NodeFolder) -> list[str]:
    return sorted(str(path.relative_to(folder.root)) for path in folder.root.rglob("*") if path.is_file())


def damaged_copy(folder: NodeFolder, place: Path, file: str, damage: Callable[[bytes], bytes | None]) -> bool:
    """False where that damage cannot be done to this file: an empty one can only be missing."""
    data = (folder.root / file).read_bytes()
    left = damage(data)
    if left == data:
        return False
    shutil.copytree(folder.root, place)
    (place / file).unlink() if left is None else (place / file).write_bytes(left)
    return True


def to_be_named(file: str, kind: str) -> bool:
    name = Path(file).name
    return name not in UNREAD and not (kind == "missing" and name in UNMISSED)


def named(file: str, words: str) -> bool:
    """By its name, or as the artifact that it is a part of."""
    parts = Path(file).parts
    return Path(file).name in words or (parts[0] == "artifacts" and parts[1][:12] in words)


@pytest.mark.slow
async def test_with_the_cloud_away_what_verifies_serves_and_what_is_wrong_is_named(
    lived: tuple[NodeFolder, str, str], hardware: HardwareProfile, tmp_path: Path
) -> None:
    folder, *_ = lived
    folder.keep_identity(replace(folder.identity(), fleet_address=NOBODY))
    files, wrong = files_of(folder), []
    assert {"node.json", "key.pem", "cert.pem", "ca.pem", f"models/{MODEL}/slots.json", "crashes.json"} <= set(files)
    assert sum(Path(file).name in ("manifest.dsse", "model.onnx") for file in files) == 4
    for file in files:
        for kind, damage in DAMAGES.items():
            place = tmp_path / f"{kind}-{file.replace('/', '-')}"
            if not damaged_copy(folder, place, file, damage):
                continue
            async with agent_on(place, hardware) as agent:
                accuracy = await agent.accuracy()
                said = not to_be_named(file, kind) or await agent.until_named(file)
                problems = await agent.problems()
                said = said and (not to_be_named(file, kind) or any(named(file, words) for words in problems))
            if accuracy != 1.0 or not said:
                wrong.append((file, kind, accuracy, problems))
            shutil.rmtree(place)
    assert not wrong, wrong


TWO = [("cert.pem", "identity.json"), ("ca.pem", "identity.json"), ("key.pem", "identity.json"),
       (f"models/{MODEL}/slots.json", f"models/{MODEL}/update.json"), ("node.json", "identity.json")]  # fmt: skip


async def test_where_the_copy_is_damaged_too_there_is_no_session_and_inference_goes_on(
    lived: tuple[NodeFolder, str, str], hardware: HardwareProfile, tmp_path: Path
) -> None:
    """But for the keys that say whose signature counts: nothing is verified without them."""
    folder, *_ = lived
    for files in TWO:
        place = tmp_path / "-".join(Path(file).name for file in files)
        shutil.copytree(folder.root, place)
        for file in files:
            (place / file).write_bytes(zeroed((place / file).read_bytes()))
        async with agent_on(place, hardware) as agent:
            assert await agent.accuracy() == (0.0 if "node.json" in files else 1.0), files
            said = " ".join(await agent.problems())
            assert all(Path(file).name in said for file in files), (files, said)
            if "identity.json" in files:
                async with asyncio.timeout(PATIENCE_S):
                    await agent.until("identity-damaged", node="" if "node.json" in files else f"name-of-{NODE}")
                assert "littoral-node enroll JOIN_LINE" in said
                assert not any(event["event"] == "session-open" for event in agent.events)


@pytest.mark.parametrize("damaged", ["", f"models/{MODEL}/slots.json"])
async def test_a_disk_that_takes_no_write_any_more_serves_what_it_holds(
    lived: tuple[NodeFolder, str, str], hardware: HardwareProfile, read_only: Callable[[Path], Path], damaged: str
) -> None:
    """As a card that fails: the kernel mounts it read-only."""
    folder, *_ = lived
    if damaged:
        (folder.root / damaged).write_bytes(zeroed((folder.root / damaged).read_bytes()))
    async with agent_on(read_only(folder.root), hardware) as agent:
        async with asyncio.timeout(PATIENCE_S):
            await agent.until("session-open")
        assert await agent.accuracy() == 1.0
        assert not damaged or any(named(damaged, words) for words in await agent.problems())


@pytest.mark.slow
async def test_with_the_cloud_there_all_is_as_it_was(
    fleet: Fleet, lived: tuple[NodeFolder, str, str], hardware: HardwareProfile, tmp_path: Path
) -> None:
    folder, first, second = lived
    wrong = []
    for file in files_of(folder):
        for kind, damage in DAMAGES.items():
            place = tmp_path / f"{kind}-{file.replace('/', '-')}"
            if not damaged_copy(folder, place, file, damage):
                continue
            async with agent_on(place, hardware) as agent:
                told = to_be_named(file, kind) and hex_of(second) not in file  # what was mended is no problem any more
                try:
                    async with asyncio.timeout(PATIENCE_S):
                        await served_again(
                            fleet, agent, second, lambda words, file=file, told=told: not told or named(file, words)
                        )
                        if hex_of(first) in file:
                            await agent.until("artifact-fetched", manifest=first)
                except TimeoutError:
                    wrong.append((file, kind, agent.events, await agent.problems()))
                if to_be_named(file, kind) and not await agent.until_named(file):
                    wrong.append((file, kind, agent.events))
                if await agent.accuracy() != 1.0 or agent.folder.look().damage or not whole(agent.folder, first, second):
                    wrong.append((file, kind, await agent.accuracy(), agent.folder.look()))
            shutil.rmtree(place)
    assert not wrong, wrong


async def served_again(fleet: Fleet, agent: Running, digest: str, said: Callable[[str], bool]) -> None:
    """Until this very agent has told the cloud that it serves the artifact, and what is wrong with it."""
    boot = next(event["boot"] for event in agent.events if event["event"] == "started")
    async with fleet.ledger.watch("reported", "presence") as announcements:
        while True:
            presence = await fleet.ledger.get("presence", NODE)
            doc = await fleet.ledger.get("reported", NODE)
            if presence is not None and presence.body["boot_id"] == boot and doc is not None:
                told = load(Reported, doc)
                if told.generation >= agent.started_ms and told.models[MODEL].serving == digest and said(told.problem):
                    return
            await anext(announcements)


def whole(folder: NodeFolder, *digests: str) -> bool:
    return all(
        (folder.artifacts / hex_of(digest) / name).is_file() for digest in digests for name in ("manifest.dsse", "model.onnx")
    )
