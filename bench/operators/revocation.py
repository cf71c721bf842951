"""500 connected nodes are revoked: from the first command to the moment when the last session is closed."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from statistics import median

import aiohttp

from bench.fleet.rows import tell
from bench.fleet.session_load import TELEMETRY_S, connected, enrolled_herd
from bench.fleet.stage import Given, Stage
from bench.report import Figure, Table

ABOUT = "from `node revoke` to the end of the last session"
NODES, QUICK_NODES = 500, 20
GONE_S = 60.0
LOOK_S = 0.02
ONE_BY_ONE = 5


async def measured(*, quick: bool) -> tuple[Table, dict[str, Figure]]:
    nodes = QUICK_NODES if quick else NODES
    given = Given(nodes, 3.0 if quick else None, place=Path("build/bench-operators"))
    async with enrolled_herd("revocation", given) as scene:
        await connected(scene)
        await scene.herd.ask(do="telemetry", every_s=TELEMETRY_S)
        names = [node["name"] for node in json.loads(await scene.stage.cloud("node", "list", "--format", "json"))]
        one = []
        for number, name in enumerate(names[:ONE_BY_ONE]):
            began = time.monotonic()
            await scene.stage.cloud("node", "revoke", name)
            await _open(scene.stage, nodes - number - 1)
            one.append(round(time.monotonic() - began, 3))
        tell(f"  one node by the command line: {one} s")
        began = time.monotonic()
        await _revoke(scene.stage, names[ONE_BY_ONE:])
        asked_s = time.monotonic() - began
        await _open(scene.stage, 0)
        all_s = round(time.monotonic() - began, 3)
        tell(f"  {len(names) - ONE_BY_ONE} nodes by the API: {all_s} s, of which the requests took {asked_s:.2f} s")
    table = Table(
        "Nodes are revoked, and lose their sessions",
        ("nodes", "sessions before", "until the last session is closed, s"),
        [[1, nodes, median(one)], [nodes - ONE_BY_ONE, nodes - ONE_BY_ONE, all_s]],
        (
            "First row: `littoral-cloud node revoke NAME`, the start of Python included; median. Second row: one request for "
            "each node to the API, all at once, until the coordinator has no session any more. Telemetry goes on meanwhile.",
        ),
    )
    return table, {
        "revocation_s": Figure.of(all_s, "s", "lower", f"{nodes - ONE_BY_ONE} sessions, a request each"),
        "revocation_one_s": Figure(tuple(one), "s", "lower", "one of 500, by the command line"),
    }


async def _open(stage: Stage, most: int) -> None:
    """Returns when at most so many sessions are open."""
    async with asyncio.timeout(GONE_S):
        while (await stage.counts())["sessions"] > most:  # noqa: ASYNC110 - of another process
            await asyncio.sleep(LOOK_S)


async def _revoke(stage: Stage, names: list[str]) -> None:
    """Over the socket in the data folder, as its own user."""
    connector = aiohttp.UnixConnector(path=str(stage.data / "api.sock"), limit=32)
    async with aiohttp.ClientSession(connector=connector) as http:

        async def revoke(name: str) -> None:
            async with http.post(f"http://littoral/api/v1/nodes/{name}/revoke", json={"reason": "a benchmark"}) as answer:
                assert answer.status == 200, (answer.status, await answer.text())

        await asyncio.gather(*map(revoke, names))
