"""200 requests a second over 2,000 connected nodes that send telemetry: how long the answers take."""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import time
from collections import Counter
from pathlib import Path
from urllib.parse import quote

import aiohttp
import numpy as np

from bench.fleet.rows import tell
from bench.fleet.session_load import TELEMETRY_S, connected, enrolled_herd
from bench.fleet.stage import Given, Stage
from bench.fleet.usage import cpu_s
from bench.report import Figure, Table

ABOUT = "the API's answers at 200 requests a second"
NODES, QUICK_NODES = 2_000, 20
PER_SECOND = 200
SECONDS, QUICK_SECONDS = 60, 3
WARM_S = 15.0
TOKENS = 4
"""Each has a rate of its own, of 100 requests a second."""


async def measured(*, quick: bool) -> tuple[Table, dict[str, Figure]]:
    nodes, seconds = (QUICK_NODES, QUICK_SECONDS) if quick else (NODES, SECONDS)
    given = Given(nodes, 3.0 if quick else None, place=Path("build/bench-operators"))
    async with enrolled_herd("api", given) as scene:
        await connected(scene)
        await scene.herd.ask(do="telemetry", every_s=TELEMETRY_S)
        tokens = [await _token(scene.stage, number) for number in range(TOKENS)]
        paths = await _paths(scene.stage)
        await asyncio.sleep(1.0 if quick else WARM_S)
        before = cpu_s(scene.stage.pid)
        took, statuses = await _asked(scene.stage, tokens, paths, seconds)
        cpu_share = (cpu_s(scene.stage.pid) - before) / seconds
    wrong = {status: count for status, count in statuses.items() if status != 200}
    rows = [_row(kind, values) for kind, values in sorted(took.items())]
    every = [value for values in took.values() for value in values]
    rows.append(_row("all", every))
    tell(f"  {len(every)} answers, statuses {dict(statuses)}, coordinator {cpu_share:.2f} of a core")
    note = f"{len(every)} requests, {sum(wrong.values())} not answered with 200; the coordinator used {cpu_share:.2f} of a core"
    table = Table(
        f"The operator API at {PER_SECOND} requests a second over {nodes:,} connected nodes",
        ("request", "answers", "p50_ms", "p95_ms", "p99_ms", "longest_ms"),
        rows,
        (
            "Requests leave at their own times whether or not the ones before were answered, over TLS, with four tokens in turn; "
            "from before a request is written to its last byte. The nodes are real sessions that send telemetry each 10 s.",
            f"{note}. The client, the nodes and the coordinator share the machine.",
        ),
    )
    p99 = float(np.percentile(every, 99))
    return table, {
        "api_p99_ms": Figure.of(round(p99, 2), "ms", "lower", note),
        "api_p50_ms": Figure.of(round(float(np.median(every)), 2), "ms", "lower"),
        "api_errors": Figure.of(sum(wrong.values()), "requests", "lower"),
    }


def _row(kind: str, values: list[float]) -> list[str | int | float | None]:
    return [kind, len(values), *(round(float(np.percentile(values, q)), 2) for q in (50, 95, 99)), round(max(values), 2)]


async def _token(stage: Stage, number: int) -> str:
    words = ("operator", "create", f"bench-{number}", "--role", "viewer", "--format", "json")
    return str(json.loads(await stage.cloud(*words))["secret"])


async def _paths(stage: Stage) -> list[tuple[str, str]]:
    """(kind, path) of mixed reads, as the page and scripts ask."""
    page = json.loads(await stage.cloud("node", "list", "--limit", "50", "--format", "json"))
    names = [node["name"] for node in page]
    paths = [("a node", f"/nodes/{quote(name, safe='')}") for name in names[:12]]
    paths += [("a page of 50 nodes", "/nodes?limit=50"), ("a filtered page", "/nodes?limit=50&state=online")]
    paths += [("a later page", f"/nodes?limit=50&after={quote(f'nodes:{names[-1]}')}")]
    paths += [("lists", f"/{noun}") for noun in ("releases", "rollouts", "cohorts", "runs")]
    return [*paths, ("who am I", "/whoami"), ("who am I", "/whoami")]


async def _asked(
    stage: Stage, tokens: list[str], paths: list[tuple[str, str]], seconds: float
) -> tuple[dict[str, list[float]], Counter[int]]:
    serving = json.loads((stage.data / "serve.json").read_text())
    context = ssl.create_default_context(cafile=str(stage.data / "ca" / "ca.pem"))
    took: dict[str, list[float]] = {kind: [] for kind, _ in paths}
    statuses: Counter[int] = Counter()
    rng = random.Random(5)
    connector = aiohttp.TCPConnector(ssl=context, limit=64)
    async with aiohttp.ClientSession(connector=connector) as http, asyncio.TaskGroup() as tasks:

        async def ask(number: int) -> None:
            kind, path = rng.choice(paths)
            headers = {"authorization": f"Bearer {tokens[number % len(tokens)]}"}
            began = time.perf_counter()
            async with http.get(f"https://{serving['api']}/api/v1{path}", headers=headers) as answer:
                await answer.read()
            took[kind].append((time.perf_counter() - began) * 1e3)
            statuses[answer.status] += 1

        loop = asyncio.get_running_loop()
        began = loop.time()
        for number in range(int(seconds * PER_SECOND)):
            await asyncio.sleep(max(0.0, began + number / PER_SECOND - loop.time()))
            tasks.create_task(ask(number))
    return {kind: values for kind, values in took.items() if values}, statuses
