"""How long after a native crash the last good model answers: of a model on trial, which runs in a process of its own, and of the
agent itself, which is started again at once by whoever started it.

The agent runs without its cloud: what was served before needs none.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from bench.edge.fleet import MODEL, agent, free_port, image_request
from bench.factory.tables import Part
from bench.report import Figure, Table
from littoral.manifest import Manifest
from littoral.process.command import script
from littoral_node.isolated.model import IsolatedModel, open_isolated
from littoral_node.runtimes import load
from littoral_node.serving.inference import Inference
from littoral_node.serving.slots import Served, Slots
from littoral_node.serving.tensors import asked
from littoral_node.telemetry.counting import TelemetryWindows

TIMES = 20
PATIENCE_S = 60.0


def made(*, quick: bool = False) -> Part:
    began, times = time.perf_counter(), 2 if quick else TIMES
    with agent("node-crash") as running:
        folder, artifact, manifest = running.folder, running.model_file.parent, running.manifest
        body = image_request(running.http, np.zeros((1, 1, 28, 28), np.uint8))
    in_service = crashes_of_the_agent(folder, body, times)
    on_trial = asyncio.run(crashes_on_trial(manifest, artifact, body, times))
    rows = [
        ("a model on trial, in its process", times, *(round(pick(on_trial) * 1_000, 1) for pick in (np.median, max))),
        ("a model in service, with the agent", times, *(round(pick(in_service) * 1_000, 1) for pick in (np.median, max))),
    ]
    table = Table(
        "From a native crash to the next answer",
        ("what crashes", "times", "median ms", "longest ms"),
        rows,
        (
            "SIGSEGV each time. On trial: to the answer of the very request that the process had. In service: from the "
            "signal over a new start of the agent to its first answer; systemd waits another second (RestartSec=1).",
        ),
    )
    figures = {
        "crash_on_trial_s": Figure(tuple(on_trial), "s", "lower", "to the answer of the request that was in it"),
        "crash_in_service_s": Figure(
            tuple(in_service), "s", "lower", "to the first answer of an agent that is started again at once"
        ),
    }
    return Part(table, figures, time.perf_counter() - began)


def crashes_of_the_agent(folder: Path, body: dict[str, Any], times: int) -> list[float]:
    taken = []
    port = free_port()
    command = [script("littoral-node"), "run", "--data", str(folder), "--http", f"127.0.0.1:{port}", "--grpc", "127.0.0.1:0"]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        answered(port, body)
        for _ in range(times):
            (folder / "crashes.json").unlink(missing_ok=True)  # else the third crash is the last: the model would be given up
            at = time.perf_counter()
            running.send_signal(signal.SIGSEGV)
            running.wait()
            running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            answered(port, body)
            taken.append(time.perf_counter() - at)
    finally:
        running.terminate()
        running.wait(PATIENCE_S)
    return taken


def answered(port: int, body: dict[str, Any]) -> None:
    """Asks until it is answered."""
    url = f"http://127.0.0.1:{port}/v2/models/{MODEL}/infer"
    end = time.perf_counter() + PATIENCE_S
    while time.perf_counter() < end:
        request = urllib.request.Request(url, json.dumps(body).encode())
        with (
            suppress(urllib.error.URLError, ConnectionError, http.client.HTTPException),
            urllib.request.urlopen(request, timeout=5),
        ):
            return
        time.sleep(0.005)  # noqa: TID251 - a client that tries again
    raise RuntimeError(f"no answer on port {port} in {PATIENCE_S:g} s")


async def crashes_on_trial(manifest: Manifest, artifact: Path, body: dict[str, Any], times: int) -> list[float]:
    slots = Slots()
    inference = Inference(slots, TelemetryWindows())
    slots.swap(MODEL, Served(manifest, "before", load(manifest, artifact, 1)))
    taken = []
    for _ in range(times):
        model = await open_isolated(artifact, 1, memory=200_000_000, limit_s=30)
        slots.try_out(MODEL, Served(manifest, "on trial", model, isolated=True))
        taken.append(await crash_in_a_request(inference, model, body))
    slots.close()
    inference.close()
    return taken


async def crash_in_a_request(inference: Inference, model: IsolatedModel, body: dict[str, Any]) -> float:
    os.kill(model.pid, signal.SIGSTOP)  # so that the request is in it when it crashes
    waiting = asyncio.create_task(inference.answer(MODEL, asked(body)))
    await asyncio.sleep(0.05)
    at = time.perf_counter()
    os.kill(model.pid, signal.SIGSEGV)
    os.kill(model.pid, signal.SIGCONT)
    answer = await waiting
    taken = time.perf_counter() - at
    if answer.manifest_digest != "before":
        raise RuntimeError("the model on trial answered")
    return taken
