"""Swaps under full load, and what loading and unloading leaves behind.

A hundred swaps while 32 connections send as fast as they are answered: how many requests fail, and what the slowest hundredth has
to wait, beside the same load without swaps. Then a real agent's model is unloaded and loaded a hundred times over its own REST
interface, and its memory after the last ten is held against the first ten.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time

import httpx
import numpy as np

from bench.edge.fleet import MODEL, Agent, agent, image_request, load_command, rss_mb
from bench.edge.serving import requests_for
from bench.factory.tables import Part
from bench.report import Figure, Table
from littoral.manifest import Manifest

SWAPS, CYCLES, CONNECTIONS, ROUNDS = 100, 100, 32, 3
PAUSE_S = 0.15
FIRST = 10


def made(*, quick: bool = False) -> Part:
    began = time.perf_counter()
    swaps, cycles, rounds = (10, 20, 1) if quick else (SWAPS, CYCLES, ROUNDS)
    with agent("node-swap") as running:
        memory = unloaded(running, cycles)
        manifest = running.manifest
        found = [swapped(running, manifest, swaps // rounds + (swaps % rounds > 0)) for _ in range(rounds)]
    growth = round(statistics.median(memory[-FIRST:]) - statistics.median(memory[:FIRST]), 2)
    rows = [
        (f"round {number}", requests, failed, round(steady, 3), round(during, 3), round(during / steady, 2), round(took * 1e3, 1))
        for number, (requests, failed, steady, during, took) in enumerate(found, 1)
    ]
    total = sum(row[1] for row in rows)
    table = Table(
        "Swaps under full load",
        ("", "requests", "failed", "steady p99 ms", "p99 ms while swapping", "ratio", "ms a swap"),
        rows,
        (
            f"{CONNECTIONS} connections over REST, binary tensors; a swap every {PAUSE_S:g} s and what it takes; the new one is",
            f"loaded and probed beside the one that serves. Unload and load: {cycles} cycles on a real agent, which held",
            f"{memory[0]:.1f} MB after the first and {memory[-1]:.1f} MB after the last.",
        ),
    )
    figures = {
        "swap_failed_requests": Figure.of(sum(row[2] for row in rows), "requests", "lower", f"of {total}, over all rounds"),
        "swap_p99_ratio": Figure(
            tuple(row[5] for row in rows), "times", "lower", "p99 while swapping over steady p99, a round each"
        ),
        "unload_rss_growth_mb": Figure.of(
            growth, "MB", "lower", f"median of the last {FIRST} of {cycles} cycles over that of the first {FIRST}"
        ),
    }
    return Part(table, figures, time.perf_counter() - began)


def swapped(running: Agent, manifest: Manifest, swaps: int) -> tuple[int, int, float, float, float]:
    """(requests while swapping, failed, steady p99 ms, p99 ms while swapping, seconds a swap)"""
    command = [sys.executable, "-m", "bench.edge.swapper", str(running.model_file.parent)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        port = int(process.stdout.readline())
        request = requests_for(manifest)["REST binary"](port)
        seconds = swaps * (PAUSE_S + 0.05)
        loaded(port, request, 1.0)  # warm
        steady, steady_failed = loaded(port, request, seconds)
        with started(port, request, seconds) as client:
            taken = []
            while client.poll() is None and len(taken) < swaps:
                process.stdin.write("swap\n")
                taken.append(float(process.stdout.readline()))
                time.sleep(PAUSE_S)  # noqa: TID251 - the pace of the benchmark
            during, failed = answer_of(client)
        for _ in range(swaps - len(taken)):  # a slow machine: those that are left count for the time alone
            process.stdin.write("swap\n")
            taken.append(float(process.stdout.readline()))
        process.stdin.close()
        process.wait(30)
    p99 = [float(np.quantile(latencies, 0.99)) * 1e3 for latencies in (steady, during)]
    return len(during), failed + steady_failed, p99[0], p99[1], statistics.median(taken)


def started(port: int, request: bytes, seconds: float) -> subprocess.Popen[bytes]:
    command = load_command("http", port, CONNECTIONS, seconds)
    client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert client.stdin is not None
    client.stdin.write(request)
    client.stdin.close()
    return client


def answer_of(client: subprocess.Popen[bytes]) -> tuple[list[float], int]:
    assert client.stdout is not None
    answer = json.loads(client.stdout.read())
    client.wait()
    return answer["latencies"], answer["failed"]


def loaded(port: int, request: bytes, seconds: float) -> tuple[list[float], int]:
    with started(port, request, seconds) as client:
        return answer_of(client)


def unloaded(running: Agent, cycles: int) -> list[float]:
    """Resident MB of the agent after each cycle of unload, load and one request."""
    body = image_request(running.http, np.zeros((1, 1, 28, 28), np.uint8))
    found = []
    with httpx.Client(base_url=f"http://127.0.0.1:{running.http}", trust_env=False, timeout=30.0) as client:
        for _ in range(cycles):
            for word in ("unload", "load"):
                client.post(f"/v2/repository/models/{MODEL}/{word}").raise_for_status()
            client.post(f"/v2/models/{MODEL}/infer", json=body).raise_for_status()
            found.append(rss_mb(running.pid))
    return found
