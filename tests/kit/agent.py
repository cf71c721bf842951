"""Real `littoral-node run` processes, and tiny signed artifacts for them to serve."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from littoral.digest import digest_of, hex_of
from littoral.identity import key_id_of
from littoral.manifest import File, Manifest, Output
from littoral.preparation import Input
from littoral.probe import Probe
from littoral.sketch import fit
from littoral_cloud.fleet.records import Probation, ReportedModel
from littoral_node.artifacts.repository import ENVELOPE
from littoral_node.identity.folder import NodeFolder
from littoral_node.identity.identity import Identity
from littoral_node.update.journal import CommittedSlots, UpdateJournal
from littoral_node.update.state import ModelUpdateState, Update
from tests.kit import several
from tests.kit.fleet import Fleet
from tests.kit.patience import PATIENCE_S

SHAPE = (1, 4, 4)
CLASSES = 3
MODEL = "tiny"
NODE = several.NODE
QUICK = Probation(duration_s=0.3)


def examples(count: int, seed: int = 0) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Images whose class is the column that is lit: (n, 4, 4) uint8 and (n,)."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, CLASSES, count)
    x = rng.integers(0, 60, (count, 4, 4))
    x[np.arange(count), :, y] += 150
    return x.astype(np.uint8), y.astype(np.int64)


def onnx_bytes(
    weights: npt.NDArray[np.float32], *, note: str = "", fragile: bool = False, trap: str = "", given: str = "x"
) -> bytes:
    """logits = flatten(x) @ weights; weights is (16, 3). An input with a pixel of 255 makes the runtime fail (`fragile`), or does
    what `trap` says: "crash" (an integer division that x86 traps) or "hang" (10**15 turns of a loop). `given`: input name."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["right"])]
    constants = [numpy_helper.from_array(weights, "w")]
    if given != "x":
        nodes.insert(0, helper.make_node("Identity", [given], ["x"]))
    if fragile:
        nodes += [
            helper.make_node("ReduceMax", ["x"], ["peak"], keepdims=0),
            helper.make_node("Mul", ["peak", "two"], ["twice"]),
            helper.make_node("Cast", ["twice"], ["index"], to=TensorProto.INT64),
            helper.make_node("Gather", ["table", "index"], ["nothing"]),
            helper.make_node("Add", ["right", "nothing"], ["logits"]),
        ]
        constants += [
            numpy_helper.from_array(np.float32(2), "two"),
            numpy_helper.from_array(np.zeros(2, np.float32), "table"),  # index 2, of a peak of 1.0, lies outside
        ]
    elif trap:
        more, values = (_crash if trap == "crash" else _hang)()
        nodes += [helper.make_node("ReduceMax", ["x"], ["peak"], keepdims=0), *more]
        nodes += [
            helper.make_node("Mul", ["trapped", "zero"], ["nothing"]),
            helper.make_node("Add", ["right", "nothing"], ["logits"]),
        ]
        constants += [numpy_helper.from_array(value, name) for name, value in values.items()]
    else:
        nodes.append(helper.make_node("Identity", ["right"], ["logits"]))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(given, TensorProto.FLOAT, ["n", *SHAPE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", CLASSES])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9, doc_string=note)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _crash() -> tuple[list[Any], dict[str, Any]]:
    """-2**31 / -1 where the peak is 1, and / 1 where it is less."""
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("Cast", ["peak"], ["whole"], to=TensorProto.INT32),
        helper.make_node("Mul", ["whole", "minus_two"], ["down"]),
        helper.make_node("Add", ["down", "one"], ["divisor"]),
        helper.make_node("Div", ["least", "divisor"], ["quotient"]),
        helper.make_node("Cast", ["quotient"], ["trapped"], to=TensorProto.FLOAT),
    ]
    numbers = {"minus_two": np.int32(-2), "one": np.int32(1), "least": np.int32(-(2**31))}
    return nodes, {**numbers, "zero": np.float32(0)}


def _hang() -> tuple[list[Any], dict[str, Any]]:
    """10**15 turns where the peak is 1, none where it is less."""
    from onnx import TensorProto, helper

    turn = helper.make_graph(
        [helper.make_node("Add", ["sum", "step"], ["next"]), helper.make_node("Identity", ["go"], ["on"])],
        "turn",
        [
            helper.make_tensor_value_info("number", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, []),
        ],
        [helper.make_tensor_value_info("on", TensorProto.BOOL, []), helper.make_tensor_value_info("next", TensorProto.FLOAT, [])],
    )
    nodes = [
        helper.make_node("Floor", ["peak"], ["whole"]),
        helper.make_node("Mul", ["whole", "huge"], ["wide"]),
        helper.make_node("Cast", ["wide"], ["turns"], to=TensorProto.INT64),
        helper.make_node("Loop", ["turns", "yes", "zero"], ["trapped"], body=turn),
    ]
    return nodes, {"huge": np.float32(1e15), "yes": np.array(True), "step": np.float32(1e-9), "zero": np.float32(0)}


def glaring() -> npt.NDArray[np.uint8]:
    """The input that a fragile or trapped model cannot take: (1, 4, 4)."""
    return np.full((1, 4, 4), 255, np.uint8)


def good_weights() -> npt.NDArray[np.float32]:
    """Reads the lit column: right on every one of `examples`."""
    weights = np.zeros((4, 4, CLASSES), np.float32)
    for column in range(CLASSES):
        weights[:, column, column] = 1.0
    return weights.reshape(16, CLASSES)


class Maker:
    """Makes artifacts, signs them, and puts them where a fleet's nodes get them."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.key = Ed25519PrivateKey.generate()

    @property
    def signing_keys(self) -> dict[str, bytes]:
        public = self.key.public_key().public_bytes_raw()
        return {key_id_of(public): public}

    def artifact(
        self,
        name: str = "good",
        *,
        weights: npt.NDArray[np.float32] | None = None,
        padding: int = 0,
        probe_error: float = 0.0,
        fragile: bool = False,
        trap: str = "",
        **fields: Any,
    ) -> str:
        """The manifest's digest.

        Args:
            padding: bytes that the file is made larger by.
            probe_error: added to the logits that the probe expects.
        """
        used = good_weights() if weights is None else weights
        note = np.random.default_rng(7).bytes(padding // 2).hex() + name
        given = fields["input"].name if "input" in fields else "x"
        file = onnx_bytes(used, note=note, fragile=fragile, trap=trap, given=given)
        return self.seal(self.manifest(name, used, file, probe_error=probe_error, **fields))

    def manifest(
        self, name: str, weights: npt.NDArray[np.float32], file: bytes, *, probe_error: float = 0.0, **fields: Any
    ) -> Manifest:
        self.fleet.blobs.put(file)
        prepared = Input("x", SHAPE, 1 / 255, (0.0,), (1.0,))
        x, _ = examples(4, seed=1)
        logits = prepared.prepare(x.reshape(-1, *SHAPE)).reshape(4, -1) @ weights
        manifest = Manifest(
            model=MODEL,
            name=name,
            architecture={"name": "linear"},
            parameters=weights.size,
            runtime="onnxruntime",
            runtime_options={},
            requires={"opset": 18, "ir": 9},
            files=(File("model.onnx", digest_of(file), len(file)),),
            input=prepared,
            output=Output("logits", tuple("abc")),
            accuracy=1.0,
            accuracy_examples=100,
            probe=Probe.of(x.reshape(-1, *SHAPE), (logits + probe_error).astype(np.float32), 1e-3),
            sketch=fit(examples(200, seed=2)[0].reshape(-1, *SHAPE), seed=5, features=4, bins=8),
        )
        return replace(manifest, **fields)

    def seal(self, manifest: Manifest) -> str:
        return self.fleet.blobs.put(manifest.seal(self.key))

    def install(self, folder: NodeFolder, digest: str) -> None:
        """Makes an artifact the active one of a folder, as an update of generation 1 leaves it."""
        manifest = Manifest.open(self.fleet.blobs.read(digest), self.signing_keys)
        place = folder.artifacts / hex_of(digest)
        place.mkdir()
        (place / ENVELOPE).write_bytes(self.fleet.blobs.read(digest))
        for file in manifest.files:
            (place / file.path).write_bytes(self.fleet.blobs.read(file.digest))
        journal = UpdateJournal(folder.model(manifest.model))
        journal.commit(CommittedSlots(active=digest))
        journal.write(Update(manifest.model, digest, 1, state=ModelUpdateState.SUCCEEDED))

    async def enrol(self, folder: Path, node_id: str = NODE, *, days_ago: float | None = None) -> NodeFolder:
        """A node's folder as `littoral-node enroll` leaves it.

        Args:
            days_ago: when its certificate of ninety days was issued; None: it has one for ever.
        """
        life = {}
        if days_ago is not None:
            begins = float(int(self.fleet.clock() - days_ago * 86_400))
            life = {"begins_at": begins, "expires_at": begins + 90 * 86_400}
        credential = await self.fleet.enrol(node_id, **life)
        place = NodeFolder(folder)
        place.prepare()
        place.keep_identity(
            Identity(
                node_id=node_id,
                node_name=f"name-of-{node_id}",
                fleet_address=self.fleet.address,
                certificate_pem=credential.certificate,
                ca_pem=self.fleet.authority.pem,
                key_pem=credential.key,
                signing_keys=self.signing_keys,
            )
        )
        return place


async def want(fleet: Fleet, digest: str, generation: int, probation: Probation = QUICK) -> None:
    await several.want(fleet, **{MODEL: (digest, generation, probation)})


async def reported(fleet: Fleet, generation: int, *states: str, serving: str = "") -> ReportedModel:
    """What the cloud knows of the model, once its update of this generation came to one of these states."""
    models = await several.until(fleet, {MODEL: (generation, states)}, **({MODEL: serving} if serving else {}))
    return models[MODEL]


class AgentProcess:
    """One running `littoral-node run`, and what it logged."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.events: list[dict[str, Any]] = []
        self.noise: list[str] = []
        self._grew = asyncio.Condition()
        self._reader = asyncio.create_task(self._read())
        self.http = ""
        self.said: dict[str, Any] = {}  # when it was ready

    @classmethod
    async def start(
        cls, folder: Path, *flags: str, crash_at: str = "", module: str = "", environment: Mapping[str, str] | None = None
    ) -> AgentProcess:
        """Started, not yet ready: see `ready`."""
        module = module or ("tests.kit.crashing_agent" if crash_at else "littoral_node.cli")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error::ResourceWarning", "-m", module, "run", "--data", str(folder)),
            *("--http", "127.0.0.1:0", "--format", "json", *flags),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "CRASH_AT": crash_at, **(environment or {})},
        )
        return cls(process)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ready(self) -> AgentProcess:
        """Waits for the line that says so. Fails with what it logged where it ends before."""
        assert self._process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            line = await self._process.stdout.readline()
        if not line:
            await self._process.wait()
            await self._reader
            raise AssertionError(f"ended with {self._process.returncode} before it was ready: {self.events} {self.noise}")
        self.said = json.loads(line)
        self.http = self.said["http"]
        return self

    async def _read(self) -> None:
        assert self._process.stderr is not None
        async for raw in self._process.stderr:
            try:
                self.events.append(json.loads(raw))
            except ValueError:
                self.noise.append(raw.decode(errors="replace"))
            async with self._grew:
                self._grew.notify_all()
        async with self._grew:
            self._grew.notify_all()

    async def until(self, event: str, **fields: Any) -> dict[str, Any]:
        """The first logged event of this name with these fields; fails where the process ends without it."""

        def found() -> dict[str, Any] | None:
            wanted = {"event": event, **fields}
            return next((seen for seen in self.events if all(seen.get(name) == value for name, value in wanted.items())), None)

        try:
            async with asyncio.timeout(PATIENCE_S), self._grew:
                await self._grew.wait_for(lambda: found() is not None or self._reader.done())
        except TimeoutError:
            raise AssertionError(f"no {event} {fields} in {self.events} {self.noise}") from None
        seen = found()
        assert seen is not None, f"ended without {event} {fields}: {self.events} {self.noise}"
        return seen

    async def infer(self, x: npt.NDArray[np.uint8], model: str = MODEL) -> tuple[int, npt.NDArray[np.float32]]:
        """(HTTP status, logits); x is (n, 4, 4)."""
        body = {"inputs": [{"name": "x", "shape": [len(x), *SHAPE], "datatype": "UINT8", "data": x.ravel().tolist()}]}
        request = urllib.request.Request(
            f"http://{self.http}/v2/models/{model}/infer", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        status, answer = await asyncio.to_thread(_fetch, request)
        if status != 200:
            return status, np.zeros((0, CLASSES), np.float32)
        return status, np.asarray(answer["outputs"][0]["data"], np.float32).reshape(len(x), CLASSES)

    async def problems(self) -> list[str]:
        """That its health names."""
        status, answer = await asyncio.to_thread(_fetch, urllib.request.Request(f"http://{self.http}/v2/health/live"))
        assert status == 200
        return list(answer.get("problems", []))

    async def accuracy(self) -> float:
        """Of what it serves, on 60 examples; a fraction."""
        x, y = examples(60, seed=9)
        status, logits = await self.infer(x)
        assert status == 200
        return float((logits.argmax(1) == y).mean())

    def rss_bytes(self) -> int:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    async def kill(self) -> None:
        """kill -9."""
        self._process.kill()
        await self.ended()

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        return await self.ended()

    async def ended(self) -> int:
        assert self._process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            code = await self._process.wait()
            await self._reader
            await self._process.stdout.read()  # to its end, which closes the pipe
        return code


def _fetch(request: urllib.request.Request) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, {}
