"""What it brings to put waiting requests together, for linear models of several sizes: one server with, one without, in turns."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np

from bench.edge.fleet import MODEL, load_command
from bench.factory.tables import Part
from bench.report import Figure, Table

SIZES = ((28, 10), (28, 600), (48, 800), (64, 1_000))
ROUNDS, SECONDS = 5, 2.0
ALONE, TOGETHER = 1, 32


def made(*, quick: bool = False) -> Part:
    began = time.perf_counter()
    rounds, seconds = (1, 1.0) if quick else (ROUNDS, SECONDS)
    rows, gains, costs = [], [], []
    for side, classes in SIZES:
        rates = measured(side, classes, rounds, seconds)
        middle = {key: statistics.median(found) for key, found in rates.items()}
        rows.append((f"{side * side * classes:,}", *(round(middle[key]) for key in sorted(middle))))
        gains.append([round(a / b, 3) for a, b in zip(rates[32, TOGETHER], rates[32, ALONE], strict=True)])
        costs.append(round(middle[1, TOGETHER] / middle[1, ALONE], 3))
    table = Table(
        "Waiting requests through one model together: requests a second",
        (
            "weights",
            "1 connection, one by one",
            "1 connection, batch 32",
            "32 connections, one by one",
            "32 connections, batch 32",
        ),
        rows,
        (f"Linear models, one thread, binary tensors over REST; medians of {rounds} rounds of {seconds:g} s, both in turns.",),
    )
    figures = {
        "batching_gain_c32": Figure(tuple(gains[-1]), "times", "higher", "4 million weights, 32 connections, over one by one"),
        "batching_c1_ratio_min": Figure.of(min(costs), "times", "higher", "one connection, the worst of the four sizes"),
    }
    return Part(table, figures, time.perf_counter() - began)


def measured(side: int, classes: int, rounds: int, seconds: float) -> dict[tuple[int, int], list[float]]:
    """Requests a second by connections and batch."""
    x = np.random.default_rng(0).integers(0, 256, (1, 1, side, side), dtype=np.uint8)
    tensor = {"name": "x", "shape": x.shape, "datatype": "UINT8", "parameters": {"binary_data_size": x.nbytes}}
    head = json.dumps({"inputs": [tensor], "outputs": [{"name": "label", "parameters": {"binary_data": True}}]}).encode()
    lines = f"POST /v2/models/{MODEL}/infer HTTP/1.1\r\nHost: localhost\r\nInference-Header-Content-Length: {len(head)}\r\n"
    request = f"{lines}Content-Length: {len(head) + x.nbytes}\r\n\r\n".encode() + head + x.tobytes()
    rates: dict[tuple[int, int], list[float]] = {(c, batch): [] for c in (1, 32) for batch in (ALONE, TOGETHER)}
    with ExitStack() as stack:
        ports = {batch: stack.enter_context(server(side, classes, batch)) for batch in (ALONE, TOGETHER)}
        for round_ in range(rounds + 1):  # the first one warms up
            for connections, batch in rates:
                command = load_command("http", ports[batch], connections, seconds)
                found = json.loads(subprocess.run(command, input=request, capture_output=True, check=True).stdout)
                if found["failed"]:
                    raise RuntimeError(f"{found['failed']} requests failed")
                if round_:
                    rates[connections, batch].append(len(found["latencies"]) / found["seconds"])
    return rates


@contextmanager
def server(side: int, classes: int, batch: int) -> Iterator[int]:
    command = [sys.executable, "-m", "bench.edge.linear_node", str(side), str(classes), str(batch)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.communicate("")
