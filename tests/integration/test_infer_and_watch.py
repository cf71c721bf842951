"""`littoral-node infer` and `watch` as processes, against a node that serves; a watcher is killed at the worst moment."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from littoral.preparation import Input, Resize
from littoral_node.artifacts.manifest_file import ENVELOPE
from littoral_node.identity.files import write_json
from littoral_node.identity.folder import NodeFolder
from littoral_node.serving.access import Access
from littoral_node.serving.listen_options import ListenOptions
from littoral_node.serving.rest import HttpServer
from littoral_node.serving.service import Service
from littoral_node.serving.tls import tls_of
from littoral_node.telemetry.counting import TelemetryWindows
from tests.kit.models import artifact, images, logits_of, weights
from tests.kit.patience import PATIENCE_S
from tests.kit.serving import Node, open_node, served, slots_with

RULE = Input("x", (1, 4, 4), 1 / 255, (0.0,), (1.0,), Resize("area", "stretch"))
SEED = 3


def saved(path: Path, seed: int) -> npt.NDArray[np.uint8]:
    """An image of the model's own size, put into place by one rename, as who copies with care does."""
    pixels = images(1, seed)
    beside = path.with_name(f".{path.name}")
    Image.fromarray(pixels[0, 0]).save(beside, "PNG")
    beside.rename(path)
    return pixels


def label_of(pixels: npt.NDArray[np.uint8]) -> str:
    return f"class {int(logits_of(pixels, weights(SEED)).argmax())}"


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with open_node(served(tmp_path / "model", seed=SEED, input=RULE)) as opened:
        yield opened


@pytest.fixture
def data(node: Node, tmp_path: Path) -> Path:
    """The folder in which a node says where it answers."""
    folder = NodeFolder(tmp_path / "node")
    folder.prepare()
    write_json(folder.serving, {"http": f"127.0.0.1:{node.client.base_url.port}"})
    return folder.root


async def said(*words: str | Path) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "littoral_node.cli", *map(str, words)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE_S):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_infer_says_what_a_node_says_and_names_what_it_cannot_read(data: Path, tmp_path: Path) -> None:
    pixels = saved(tmp_path / "a.png", 1)
    large = Image.fromarray(images(1, 2, (3, 50, 40))[0].transpose(1, 2, 0))
    large.save(tmp_path / "large.jpg")
    (tmp_path / "broken.png").write_bytes((tmp_path / "a.png").read_bytes()[:-40])
    files = [tmp_path / name for name in ("a.png", "large.jpg", "broken.png")]
    code, out, _ = await said("infer", *files, "--data", data, "--format", "json", "--top", "2")
    answer = json.loads(out)
    assert code == 2
    assert (answer["model"], answer["version"]) == ("tiny", f"seed-{SEED}")
    first, second, third = answer["predictions"]
    assert (first["label"], len(first["top"])) == (label_of(pixels), 2)
    assert "label" in second
    assert third["error"]["code"] == "bad-data"
    code, out, err = await said("infer", tmp_path / "a.png", "--data", data)
    assert (code, err) == (0, "")
    assert out.startswith(f"{tmp_path / 'a.png'}: {label_of(pixels)} ")


async def test_a_reader_that_has_seen_enough_ends_infer_quietly(data: Path, tmp_path: Path) -> None:
    saved(tmp_path / "a.png", 1)
    words = (sys.executable, "-m", "littoral_node.cli", "infer", *[tmp_path / "a.png"] * 20, "--data", data)
    piped = f"{shlex.join(map(str, words))} | true; exit ${{PIPESTATUS[0]}}"
    process = await asyncio.create_subprocess_exec("bash", "-c", piped, stderr=asyncio.subprocess.PIPE)
    async with asyncio.timeout(PATIENCE_S):
        _, err = await process.communicate()
    assert (process.returncode, err) == (141, b"")


async def test_infer_without_a_node_says_so_and_an_artifact_needs_none(data: Path, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    pixels = saved(tmp_path / "a.png", 1)
    manifest = artifact(tmp_path / "artifact", seed=SEED, input=RULE)
    (tmp_path / "artifact" / ENVELOPE).write_bytes(manifest.seal(Ed25519PrivateKey.generate()))
    code, out, err = await said("infer", tmp_path / "a.png", "--data", data, "--model", tmp_path / "artifact", "--format", "json")
    assert (code, json.loads(out)["predictions"][0]["label"]) == (0, label_of(pixels))
    assert "signature was not checked" in err
    model = tmp_path / "artifact" / manifest.files[0].path
    model.write_bytes(model.read_bytes() + b" ")
    code, _, err = await said("infer", tmp_path / "a.png", "--data", data, "--model", tmp_path / "artifact", "--format", "json")
    assert (code, json.loads(err.splitlines()[-1])["error"]["code"]) == (3, "digest-mismatch")
    code, _, err = await said("infer", tmp_path / "a.png", "--http", "127.0.0.1:9", "--format", "json")
    assert (code, json.loads(err)["error"]["code"]) == (8, "unavailable")
    code, _, err = await said("infer", tmp_path / "a.png", "--data", tmp_path / "nowhere", "--format", "json")
    assert (code, "there is no such folder" in json.loads(err)["error"]["message"]) == (4, True)
    code, _, err = await said("infer", tmp_path / "a.png", "--data", data, "--model", "other", "--format", "json")
    assert (code, json.loads(err)["error"]["code"]) == (4, "not-found")


async def test_beyond_loopback_the_certificate_is_compared_before_the_token_is_shown(tmp_path: Path) -> None:
    pixels = saved(tmp_path / "a.png", 1)
    folder = NodeFolder(tmp_path / "node")
    folder.prepare()
    everywhere = "0.0.0.0"
    tls = tls_of(folder.root, (everywhere,), now=time.time())  # noqa: TID251 - a certificate's time is the machine's
    token = tmp_path / "token"
    token.write_text("a-token-of-some-length")
    token.chmod(0o600)
    service = Service(slots_with(served(tmp_path / "model", seed=SEED, input=RULE)), TelemetryWindows())
    server = HttpServer(service, everywhere, 0, ListenOptions(Access(token.read_text()), tls))
    await server.start()
    try:
        address = f"{everywhere}:{server.port}"
        write_json(folder.serving, {"http": address, "certificate_sha256": tls.fingerprint})
        words = ("infer", tmp_path / "a.png", "--data", folder.root, "--format", "json")
        code, out, err = await said(*words, "--token-file", token)
        assert code == 0, err
        assert json.loads(out)["predictions"][0]["label"] == label_of(pixels)
        cases: list[tuple[tuple[str | Path, ...], int, str]] = [
            ((), 2, "it demands a token, and none is known here"),
            (("--token-file", tmp_path / "none"), 2, "--token-file FILE, the one that the node runs with"),
            (("--token-file", token, "--certificate-sha256", "ab" * 32), 3, "shows the certificate"),
            (("--token-file", token, "--http", f"localhost.:{server.port}"), 2, "its certificate is unknown here"),
        ]
        for more, wanted, message in cases:
            code, _, err = await said(*words, *more)
            assert (code, message in err) == (wanted, True), err
        told = {"file": {}, "environment": {}, "flag": {"token_file": str(token)}}  # as the agent was started
        write_json(folder.serving, {"http": address, "certificate_sha256": tls.fingerprint, "settings": told})
        code, _, err = await said(*words)
        assert code == 0, err
    finally:
        await server.stop()


class Watcher:
    """A running `littoral-node watch --format json`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []

    @classmethod
    async def start(cls, *words: str | Path) -> Watcher:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "littoral_node.cli", "watch", *map(str, words), "--format", "json"),
            *("--settle", "0.02", "--give-up", "0.3"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )
        return cls(process)

    async def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            while line := await self.process.stdout.readline():
                self.lines.append(json.loads(line))
                if wanted(self.lines[-1]):
                    return self.lines[-1]
        raise AssertionError(f"it ended before: {self.lines}")

    async def file(self, name: str) -> dict[str, Any]:
        return await self.until(lambda line: line.get("file") == name)

    async def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            self.lines += [json.loads(line) for line in (await self.process.stdout.read()).splitlines()]
            return await self.process.wait()


def results(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_every_image_is_asked_about_once_also_over_a_kill(node: Node, data: Path, tmp_path: Path) -> None:
    folder, found = tmp_path / "in", tmp_path / "found.jsonl"
    folder.mkdir()
    labels = {name: label_of(saved(folder / name, seed)) for seed, name in enumerate(["a.png", "b.png"])}
    (folder / "notes.txt").write_text("not an image")
    (folder / "deeper").mkdir()
    watcher = await Watcher.start(folder, "--data", data, "--results", found)
    await watcher.file("a.png")
    await watcher.file("b.png")
    labels["c.png"] = label_of(saved(folder / "c.png", 7))
    assert (await watcher.file("c.png"))["label"] == labels["c.png"]
    await watcher.end(signal.SIGKILL)
    with found.open("ab") as file:
        file.write(b'{"file": "d.png", "seen": ["d.png", 1')  # as a kill in the middle of a line leaves it
    labels["d.png"] = label_of(saved(folder / "d.png", 8))
    watcher = await Watcher.start(folder, "--data", data, "--results", found)
    await watcher.file("d.png")
    assert await watcher.end() == 0
    assert watcher.lines[-1] == {"event": "stopped"}
    assert {line["file"]: line["label"] for line in results(found)} == labels
    assert len(results(found)) == len(labels)
    before = node.telemetry.counts("tiny").requests
    watcher = await Watcher.start(folder, "--data", data, "--results", found, "--once")
    assert await watcher.end(signal.SIGCONT) == 0  # it ends by itself: all is done
    assert node.telemetry.counts("tiny").requests == before
    saved(folder / "a.png", 9)  # written anew: another image
    watcher = await Watcher.start(folder, "--data", data, "--results", found, "--once")
    assert (await watcher.file("a.png"))["label"] == label_of(images(1, 9))
    assert await watcher.end(signal.SIGCONT) == 0


async def test_sorted_into_classes_and_what_is_broken_set_aside(data: Path, tmp_path: Path) -> None:
    folder, into = tmp_path / "in", tmp_path / "sorted"
    folder.mkdir()
    labels = {name: label_of(saved(folder / name, seed)) for seed, name in enumerate(["a.png", "b.png", "c.png"])}
    (folder / "cut.png").write_bytes((folder / "a.png").read_bytes()[:-40])
    (folder / "rows.npy").write_bytes(b"no array")
    taken = into / labels["a.png"]
    taken.mkdir(parents=True)
    (taken / "a.png").write_bytes(b"there already")
    watcher = await Watcher.start(folder, "--data", data, "--sort", into, "--once")
    assert await watcher.end(signal.SIGCONT) == 0
    assert (taken / "a.png").read_bytes() == b"there already"
    assert sorted(path.relative_to(into).as_posix() for path in into.rglob("*.png")) == sorted(
        [
            *(f"{label}/{name}" for name, label in labels.items() if name != "a.png"),
            f"{labels['a.png']}/a.png",
            f"{labels['a.png']}/a-1.png",
        ]
    )
    assert sorted(path.name for path in (folder / "broken").iterdir()) == ["cut.png", "rows.npy"]
    errors = {line["file"]: line["error"]["code"] for line in results(folder / "results.jsonl") if "error" in line}
    assert errors == {"cut.png": "bad-data", "rows.npy": "bad-data"}


async def test_an_image_that_is_still_being_written_is_waited_for(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    pixels = saved(tmp_path / "whole.png", 4)
    whole = (tmp_path / "whole.png").read_bytes()
    with (folder / "slow.png").open("wb") as file:
        watcher = await Watcher.start(folder, "--data", data, "--give-up", "3600")
        await watcher.until(lambda line: line.get("event") == "watching")
        file.write(whole[:-40])
        file.flush()
        saved(folder / "other.png", 5)
        await watcher.file("other.png")
        file.write(whole[-40:])
    assert (await watcher.file("slow.png"))["label"] == label_of(pixels)
    assert await watcher.end() == 0


async def test_a_name_that_utf8_cannot_say_stops_no_watcher(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    watcher = await Watcher.start(folder, "--data", data)
    await watcher.until(lambda line: line.get("event") == "watching")
    saved(folder / os.fsdecode(b"caf\xe9.png"), 4)
    await watcher.until(lambda line: line.get("event") == "looks-each-second" or "caf" in line.get("file", ""))
    saved(folder / "after.png", 5)
    await watcher.file("after.png")
    assert await watcher.end() == 0


async def test_a_watcher_waits_for_its_node(node: Node, data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    pixels = saved(folder / "a.png", 1)
    address = f"127.0.0.1:{node.client.base_url.port}"
    model = node.slots.get("tiny")
    assert model is not None
    node.slots.remove("tiny")
    watcher = await Watcher.start(folder, "--http", address)
    assert "serves no model yet" in (await watcher.until(lambda line: line.get("event") == "waiting"))["detail"]
    node.slots.swap("tiny", served(tmp_path / "again", seed=SEED, input=RULE))
    assert (await watcher.file("a.png"))["label"] == label_of(pixels)
    assert await watcher.end() == 0


async def test_results_turn_over_and_nothing_is_done_twice_for_it(data: Path, tmp_path: Path) -> None:
    folder, found = tmp_path / "in", tmp_path / "found.jsonl"
    folder.mkdir()
    for seed in range(6):
        saved(folder / f"{seed}.png", seed)
    words = (folder, "--data", data, "--results", found, "--max-results", "1KB", "--once")
    assert await (await Watcher.start(*words)).end(signal.SIGCONT) == 0
    assert found.with_name("found.jsonl.1").exists()
    sizes = found.stat().st_size
    watcher = await Watcher.start(*words)
    assert await watcher.end(signal.SIGCONT) == 0
    assert [line["event"] for line in watcher.lines] == ["watching", "stopped"]
    assert found.stat().st_size == sizes


async def test_a_file_of_several_images_is_one_line_of_text(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "several"
    folder.mkdir()
    np.save(folder / "both.npy", np.concatenate([images(1, 3), images(1, 4)]))
    code, out, err = await said("watch", folder, "--data", data, "--once")
    assert (code, err) == (0, "")
    [line] = [line for line in out.splitlines() if line.startswith("both.npy: [")]
    assert label_of(images(1, 3)) in line
