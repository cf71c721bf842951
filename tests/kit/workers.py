"""Every user of littoral.process's workers: how each is started and asked once.

A user's `once` starts the child where there is none, as the user itself does it, and makes one call.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.kit.models import artifact, images

Once = Callable[[], Awaitable[object]]
LONG_S = 60.0


@dataclass(frozen=True)
class Waits:
    """Seconds."""

    ready: float = LONG_S
    call: float = LONG_S


@dataclass(frozen=True)
class User:
    """`blocks`: its calls block a thread; only `end` can cancel one. `limited`: its first call has a limit of time.
    `one_shot`: its child ends with the call. `memory`: the limit that its child has, (kind, at most)."""

    module: str
    opened: Callable[[Path, Waits], AbstractAsyncContextManager[Once]]
    blocks: bool = False
    limited: bool = True
    one_shot: bool = False
    memory: tuple[int, int] | None = None


@asynccontextmanager
async def isolated(folder: Path, waits: Waits) -> AsyncIterator[Once]:
    from littoral_node.artifacts.manifest_file import ENVELOPE
    from littoral_node.isolated.model import IsolatedModel, open_isolated

    manifest = artifact(folder)
    (folder / ENVELOPE).write_bytes(manifest.seal(Ed25519PrivateKey.generate()))
    model: IsolatedModel | None = None

    async def once() -> None:
        nonlocal model
        if model is None:
            model = await open_isolated(folder, 1, memory=200_000_000, limit_s=waits.call, load_s=waits.ready)
        try:
            await asyncio.to_thread(model.infer, manifest.input.prepare(images(1)))
        except BaseException:
            model.close()
            model = None
            raise

    try:
        yield once
    finally:
        if model is not None:
            model.close()


@asynccontextmanager
async def foreign(folder: Path, waits: Waits) -> AsyncIterator[Once]:
    import numpy as np

    from littoral_cloud.foreign.opened import ForeignLimits, ForeignModel, open_model
    from tests.kit.foreign import house_prices, write

    path = write(folder / "m.onnx", house_prices())
    feeds = {"area": np.ones((1, 2), np.float32), "rooms": np.int64([[0]])}
    model: ForeignModel | None = None

    async def once() -> None:
        nonlocal model
        try:
            if model is None:
                limits = ForeignLimits(2 << 30, min(waits.call, waits.ready))
                model = await asyncio.to_thread(open_model, path, limits=limits)  # a thread that is not the main one
            await asyncio.to_thread(model.run, feeds)
        except BaseException:
            if model is not None:
                model.close()
            model = None
            raise

    try:
        yield once
    finally:
        if model is not None:
            model.close()


@asynccontextmanager
async def training(folder: Path, waits: Waits) -> AsyncIterator[Once]:
    from littoral_node.federation.warm import TrainingFailed, WarmWorker

    worker = WarmWorker(folder / "labelled", folder / "state", ready_s=waits.ready)

    async def once() -> None:
        try:
            await worker.train(b"no message")
        except TrainingFailed as error:  # an answer: that there is no message
            assert error.code == "bad-input"  # noqa: PT017

    try:
        yield once
    finally:
        worker.end()


@asynccontextmanager
async def teacher(folder: Path, waits: Waits) -> AsyncIterator[Once]:
    import numpy as np

    from littoral.architectures import build
    from littoral.preparation import Input
    from littoral_cloud.releases.teacher_store import described
    from littoral_cloud.store.blobs import BlobFolder
    from littoral_cloud.teacher_service.process import TeacherProcess
    from littoral_cloud.teachers.teacher import NetworkTeacher
    from littoral_cloud.training.train import Trained

    spec, shape = {"name": "perceptron", "widths": [8]}, (1, 4, 4)
    net = build(spec, channels=1, height=4, width=4, classes=3)
    network = NetworkTeacher.of(Trained.of("t", net, spec, Input("input", shape, 1 / 255, (0.1,), (0.5,)), 0.0))
    kept = described(network, shape, 3, BlobFolder(folder / "blobs").put)
    assert kept is not None
    process = TeacherProcess(folder, limit_s=waits.call, start_s=waits.ready, pause_s=0.0)

    async def once() -> None:
        await process.ask(network.digest, kept, np.zeros((2, 1, 4, 4), np.uint8))

    try:
        yield once
    finally:
        await process.close()


@asynccontextmanager
async def measuring(folder: Path, waits: Waits) -> AsyncIterator[Once]:
    from littoral.errors import RuntimeFailure
    from littoral.measuring import Measurer

    manifest = artifact(folder)
    measurer = Measurer(1, folder / "lock", limit_s=waits.call, ready_s=waits.ready)

    async def once() -> None:
        result = await measurer.measure(manifest, folder)
        if result.failure:
            raise RuntimeFailure.with_code(result.failure, result.detail)

    try:
        yield once
    finally:
        measurer.end()


@asynccontextmanager
async def unpacking(folder: Path, waits: Waits) -> AsyncIterator[Once]:
    from littoral import codec
    from littoral_node.artifacts.unpack import Coded, unpack

    (folder / "coded").write_bytes(codec.encode(b"a file", quick=True))

    async def once() -> None:
        await unpack([Coded(folder / "coded", folder / "file", 100)], limit_s=min(waits.ready, waits.call))

    yield once


@asynccontextmanager
async def facts(folder: Path, waits: Waits) -> AsyncIterator[Once]:
    from littoral.errors import RuntimeFailure
    from littoral_node.runtimes.facts import looked_up

    async def once() -> None:
        found = await asyncio.to_thread(looked_up, ("onnxruntime",), limit_s=min(waits.ready, waits.call))
        if found["onnxruntime"][0] is None:
            raise RuntimeFailure(found["onnxruntime"][1])

    yield once


USERS: Mapping[str, User] = {
    "isolated": User("littoral_node.isolated.main", isolated, blocks=True, memory=(resource.RLIMIT_DATA, 1_000_000_000)),
    "foreign": User("littoral_cloud.foreign.opened_main", foreign, blocks=True, memory=(resource.RLIMIT_AS, 2 << 30)),
    "training": User("littoral_node.federation.worker", training, limited=False),
    "teacher": User("littoral_cloud.teacher_service.worker", teacher),
    "measuring": User("littoral_node.measuring.measure", measuring, limited=False),
    "unpacking": User("littoral_node.artifacts.unpack", unpacking, one_shot=True),
    "facts": User("littoral_node.runtimes.present", facts, blocks=True, one_shot=True),
}


def bad_child(how: str) -> Callable[[str], tuple[str, ...]]:
    """In place of littoral.process.worker.command_of: starts tests.kit.bad_child, whatever the module."""
    return lambda _: (sys.executable, "-m", "tests.kit.bad_child", how)


def children_of(pid: int, module: str) -> list[int]:
    """Children of a process that run a module, in the order of their ids."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and module.encode() in (entry / "cmdline").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:  # it ended meanwhile
            continue
    return sorted(found)


async def child_of_this_process(module: str) -> int:
    """Its id, once there is one."""
    while not (found := children_of(os.getpid(), module)):  # noqa: ASYNC110 - the kernel sends no event
        await asyncio.sleep(0.01)
    return found[0]


async def ended(pid: int) -> None:
    """Returns once a process, child of this one or of another, has ended."""
    while Path(f"/proc/{pid}").exists() and ") Z " not in _stat(pid):  # noqa: ASYNC110 - the kernel sends no event
        await asyncio.sleep(0.01)


def _stat(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
