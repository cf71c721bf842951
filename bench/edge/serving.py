"""Requests a second, latency, CPU and memory of the agent beside MLServer's and beside the bare runtime, with one ONNX model.

The servers take turns, in rounds, and medians of the rounds count: what else the machine does hits all of them. The client is a
process of its own that costs little (load.py). Every server decodes the same request, prepares the same 784 float32 values, runs
the same file with one thread, and answers with logits and label.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.edge.fleet import MODEL, PLACE, Agent, agent, cpu_seconds, free_port, load_command, rss_mb
from bench.factory.tables import Part
from bench.report import Figure, Table
from littoral.inference.v2 import inference_pb2 as pb
from littoral.manifest import Manifest

MLSERVER = Path("build/mlserver/bin/mlserver")
ROUNDS, SECONDS = 5, 4.0
SLICES, SLICE_S = 20, 0.7
READY_S = 60.0


@dataclass(frozen=True, slots=True)
class Server:
    name: str
    pid: int
    ports: dict[str, int]  # by kind of load.py


@dataclass(frozen=True, slots=True)
class Run:
    rate: float  # requests a second
    p50_ms: float
    p99_ms: float
    cpu_ms: float  # a request
    failed: int


def made(*, quick: bool = False) -> Part:
    began = time.perf_counter()
    rounds, seconds = (1, 1.0) if quick else (ROUNDS, SECONDS)
    with agent() as running:
        manifest = running.manifest
        ours = Server("littoral-node", running.pid, {"http": running.http, "grpc": running.grpc})
        with mlserver(running, manifest) as theirs, echo(running) as nothing:
            runs = measured((ours, theirs), nothing, manifest, rounds, seconds)
            over = over_echo(ours, nothing, manifest, 5 if quick else SLICES)
            memory = {server.name: rss_mb(server.pid) for server in (ours, theirs)}
        bare = bare_run(running.model_file, manifest)
    return part(runs, over, bare, memory, rounds, seconds, time.perf_counter() - began)


def measured(
    servers: tuple[Server, Server], nothing: Server, manifest: Manifest, rounds: int, seconds: float
) -> dict[tuple[str, str, int], list[Run]]:
    """By server, transport and connections."""
    requests = requests_for(manifest)
    runs: dict[tuple[str, str, int], list[Run]] = defaultdict(list)
    for _ in range(rounds + 1):  # the first one warms up, and is thrown away
        for transport, connections in (
            ("REST JSON", 1), ("gRPC", 1), ("REST binary", 1), ("REST JSON", 32), ("gRPC", 32), ("REST binary", 32),
        ):  # fmt: skip
            kind = "grpc" if transport == "gRPC" else "http"
            both = servers if transport != "REST binary" else servers[:1]
            for server in (*both, *([nothing] if (transport, connections) == ("gRPC", 1) else [])):
                found = loaded(server, kind, requests[transport](server.ports[kind]), connections, seconds)
                runs[server.name, transport, connections].append(found)
    return {key: found[1:] for key, found in runs.items()}


def over_echo(ours: Server, nothing: Server, manifest: Manifest, slices: int) -> tuple[float, ...]:
    """p50 of ours minus that of the servicer that infers nothing, ms: in short turns, for what the machine does drifts."""
    request = requests_for(manifest)["gRPC"](0)
    pairs = [[loaded(server, "grpc", request, 1, SLICE_S).p50_ms for server in (ours, nothing)] for _ in range(slices)]
    return tuple(round(ours_ms - nothing_ms, 4) for ours_ms, nothing_ms in pairs)


def loaded(server: Server, kind: str, request: bytes, connections: int, seconds: float) -> Run:
    command = load_command(kind, server.ports[kind], connections, seconds)
    before = cpu_seconds(server.pid)
    answer = json.loads(subprocess.run(command, input=request, capture_output=True, check=True).stdout)
    cpu, latencies = cpu_seconds(server.pid) - before, answer["latencies"]
    p50, p99 = (float(q) * 1_000 for q in np.quantile(latencies, (0.5, 0.99)))
    return Run(len(latencies) / answer["seconds"], p50, p99, cpu / len(latencies) * 1_000, answer["failed"])


def requests_for(manifest: Manifest) -> dict[str, Any]:
    """What goes to a port, by transport: one image of float32 values, with four digits behind the point as JSON."""
    given = manifest.input
    x = (np.random.default_rng(1).random((1, *given.shape)) * 255).round(4).astype("<f4")
    tensor = {"name": given.name, "shape": list(x.shape), "datatype": "FP32"}
    whole = json.dumps({"inputs": [{**tensor, "data": [round(float(v), 4) for v in x.ravel()]}]}, separators=(",", ":")).encode()
    head = json.dumps(
        {
            "inputs": [{**tensor, "parameters": {"binary_data_size": x.nbytes}}],
            "parameters": {"binary_data_output": True},
        },
        separators=(",", ":"),
    ).encode()
    message = pb.ModelInferRequest(model_name=MODEL, raw_input_contents=[x.tobytes()])
    message.inputs.add(**tensor)

    def http(body: bytes, extra: str = "") -> Any:
        words = f"POST /v2/models/{MODEL}/infer HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n{extra}"
        return lambda port: (words % port + f"Content-Length: {len(body)}\r\n\r\n").encode() + body

    return {
        "REST JSON": http(whole),
        "REST binary": http(head + x.tobytes(), f"Inference-Header-Content-Length: {len(head)}\r\n"),
        "gRPC": lambda port: message.SerializeToString(),
    }


@contextmanager
def mlserver(running: Agent, manifest: Manifest) -> Iterator[Server]:
    """MLServer with its model, in its own environment and, as its documentation has it for one small model, without workers."""
    if not MLSERVER.exists():
        raise RuntimeError(f"{MLSERVER} is not there: make bench-edge-serving installs it")
    ports = {"http": free_port(), "grpc": free_port()}
    folder = (PLACE / "mlserver").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mlserver_onnx.py").write_text(Path(__file__).with_name("mlserver_onnx.py").read_text())
    server = {"http_port": ports["http"], "grpc_port": ports["grpc"], "metrics_port": free_port(), "host": "127.0.0.1"}
    (folder / "settings.json").write_text(json.dumps({**server, "parallel_workers": 0, "debug": False}))
    given = manifest.input
    extra = {"model": str(running.model_file.absolute()), "shape": given.shape, "scale": given.scale, "mean": given.mean,
             "std": given.std, "input": given.name, "output": manifest.output.name}  # fmt: skip
    model = {"name": MODEL, "implementation": "mlserver_onnx.Onnx", "parameters": {"extra": extra}}
    (folder / "model-settings.json").write_text(json.dumps(model))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([MLSERVER.absolute(), "start", "."], cwd=folder, stdout=log, stderr=log)
    try:
        wait_until_ready(ports["http"], process, folder / "log")
        yield Server("MLServer 1.7.1", process.pid, ports)
    finally:
        process.terminate()
        process.wait(30)


def wait_until_ready(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    import httpx

    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/v2/models/{MODEL}/ready", trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)  # noqa: TID251 - it says nothing by itself
    raise RuntimeError(f"MLServer does not become ready: see {log}")


@contextmanager
def echo(running: Agent) -> Iterator[Server]:
    command = [sys.executable, "-m", "bench.edge.echo", str(running.model_file.parent)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield Server("infers nothing", process.pid, {"grpc": int(process.stdout.readline())})
        process.communicate("")


def bare_run(model: Path, manifest: Manifest, seconds: float = 2.0) -> Run:
    """`session.run` on a prepared input and nothing else, in this process."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    feeds = {manifest.input.name: np.random.default_rng(1).random((1, *manifest.input.shape), np.float32)}
    latencies: list[float] = []
    began, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds:
        at = time.perf_counter()
        session.run([manifest.output.name], feeds)
        latencies.append(time.perf_counter() - at)
    p50, p99 = (float(q) * 1_000 for q in np.quantile(latencies, (0.5, 0.99)))
    spent = time.process_time() - cpu
    return Run(len(latencies) / (time.perf_counter() - began), p50, p99, spent / len(latencies) * 1_000, 0)


def part(
    runs: dict[tuple[str, str, int], list[Run]],
    over: tuple[float, ...],
    bare: Run,
    memory: dict[str, float],
    rounds: int,
    seconds: float,
    took: float,
) -> Part:
    def median(key: tuple[str, str, int], field: str) -> float:
        return statistics.median(getattr(run, field) for run in runs[key])

    fields = ("rate", "p50_ms", "p99_ms", "cpu_ms")
    rows: list[tuple[str | int | float | None, ...]] = [
        (*key, *(round(median(key, field), 3) for field in fields), sum(run.failed for run in runs[key]), memory.get(key[0]))
        for key in sorted(runs, key=lambda key: (key[1], key[2], key[0]))
    ]
    rows.append(("session.run alone", "in process", 1, bare.rate, bare.p50_ms, bare.p99_ms, bare.cpu_ms, 0, None))

    def ratios(connections: int) -> tuple[float, ...]:
        pairs = zip(
            runs["littoral-node", "REST JSON", connections], runs["MLServer 1.7.1", "REST JSON", connections], strict=True
        )
        return tuple(round(a.rate / b.rate, 3) for a, b in pairs)

    rest = {n: median(("MLServer 1.7.1", "REST JSON", n), "rate") for n in (1, 32)}
    figures = {
        "rest_throughput_vs_mlserver": Figure(
            ratios(32),
            "times",
            "higher",
            "32 connections, JSON tensors, one round each",
            ("MLServer 1.7.1, requests/s", rest[32]),
        ),
        "rest_throughput_vs_mlserver_c1": Figure(
            ratios(1), "times", "higher", "one connection, JSON tensors", ("MLServer 1.7.1, requests/s", rest[1])
        ),
        "grpc_p50_over_echo_ms": Figure(
            over, "ms", "lower", f"in turns of {SLICE_S:g} s with a servicer that infers nothing, the same libraries loaded"
        ),
        "agent_rss_mb": Figure.of(
            round(memory["littoral-node"], 1), "MB", "lower", "after all this load", ("MLServer 1.7.1", memory["MLServer 1.7.1"])
        ),
    }
    table = Table(
        "Serving one small ONNX model: a real agent, connected to its cloud, beside MLServer",
        ("server", "transport", "connections", "requests/s", "p50 ms", "p99 ms", "CPU ms a request", "failed", "RSS MB"),
        rows,
        (
            f"Medians of {rounds} rounds of {seconds:g} s in which the servers take turns; client and server share the cores.",
            "CPU counts the server's process alone. MLServer: parallel_workers 0. REST binary is not asked of MLServer,",
            "which does not know the extension.",
        ),
    )
    return Part(table, figures, took)
