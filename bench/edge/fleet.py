"""A real agent with its cloud, as `littoral-cloud up` starts them, serving a small digits model; both end with the benchmark.

The model is trained once (a teacher and one student of one epoch, a minute) and kept in build/bench-edge.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from littoral.manifest import Manifest
from littoral.process.command import script
from littoral_node.artifacts.manifest_file import ENVELOPE, payload_of

PLACE = Path("build/bench-edge")
RECIPE = Path(__file__).with_name("digits.toml")
MODEL = "digits"


@dataclass(frozen=True, slots=True)
class Agent:
    """`model_file`: the ONNX file that it serves; `manifest`: of it."""

    http: int
    grpc: int
    pid: int
    folder: Path
    model_file: Path
    manifest: Manifest


@contextmanager
def agent(name: str = "node") -> Iterator[Agent]:
    """Serving, over REST and gRPC, with everything on. `name`: of its folder."""
    environment = os.environ | {"LITTORAL_DATA_DIR": str(PLACE / "cloud"), "OMP_NUM_THREADS": "1"}
    PLACE.mkdir(parents=True, exist_ok=True)
    if not (PLACE / "trained").exists():
        train = [script("littoral-cloud"), "train", "--data", "data/mnist", "--model", MODEL, "--recipe", str(RECIPE)]
        subprocess.run(train, env=environment, check=True, stdout=subprocess.DEVNULL)
        (PLACE / "trained").touch()
    http, grpc = free_port(), free_port()
    environment |= {"LITTORAL_NODE_RUNTIMES": "onnxruntime", "LITTORAL_NODE_GRPC": f"127.0.0.1:{grpc}"}
    node = (PLACE / name).absolute()
    command = [script("littoral-cloud"), "up", "--http", f"127.0.0.1:{http}", "--node", str(node), "--format", "json"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True) as up:
        try:
            assert up.stdout is not None
            line = up.stdout.readline()
            if not line:
                raise RuntimeError(f"littoral-cloud up ended with {up.wait()}: its logs are in {PLACE}/cloud/logs")
            json.loads(line)
            [model] = (node / "artifacts").glob("*/*.onnx")
            manifest = Manifest.decode(payload_of(model.with_name(ENVELOPE).read_bytes()))
            yield Agent(http, grpc, pid_of_agent(node), node, model, manifest)
        finally:
            up.send_signal(signal.SIGTERM)
            up.wait(60)


def load_command(kind: str, port: int, connections: int, seconds: float) -> list[str]:
    """The client's: see bench/edge/load.py."""
    return [sys.executable, "-m", "bench.edge.load", kind, str(port), str(connections), str(seconds)]


def image_request(port: int, x: npt.NDArray[np.uint8]) -> dict[str, Any]:
    """A request's JSON for one image, (1, ...) uint8, as the served model's metadata names its input."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/models/{MODEL}", timeout=10) as answer:
        given = json.load(answer)["inputs"][0]
    tensor = {"name": given["name"], "shape": [1, *given["shape"][1:]], "datatype": "UINT8", "data": x.ravel().tolist()}
    return {"inputs": [tensor]}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def pid_of_agent(folder: Path) -> int:
    """The process that runs `littoral-node run --data FOLDER`, not the one that started it."""
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if len(words) > 2 and words[1].endswith("littoral-node") and words[2] == "run" and str(folder) in words:
            return int(place.name)
    raise RuntimeError(f"no agent runs on {folder}")


def cpu_seconds(pid: int) -> float:
    """Of a process and its children: user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return own + sum(cpu_seconds(child) for child in children(pid))


def rss_mb(pid: int) -> float:
    """Of a process and its children."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6 + sum(rss_mb(child) for child in children(pid))


def children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("[0-9]*"):
        found += [int(child) for child in (task / "children").read_text().split()]
    return found
