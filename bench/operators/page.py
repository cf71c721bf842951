"""The first page of a fleet of 10,000 nodes, in Chromium: to its last byte, and painted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from statistics import median
from typing import Any

from playwright.async_api import Browser, async_playwright

from bench.fleet.population import populate
from bench.fleet.rows import tell
from bench.fleet.stage import Given, staged
from bench.report import Figure, Table

ABOUT = "the first page of 10,000 nodes in a browser"
NODES, QUICK_NODES = 10_000, 200
TIMES, QUICK_TIMES = 7, 2
PATH = "/fleet"
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
_TIMES = """() => {
  const page = performance.getEntriesByType('navigation')[0];
  const paints = performance.getEntriesByType('paint').map(each => each.startTime);
  return {first_byte: page.responseStart, last_byte: page.responseEnd, painted: Math.max(...paints, page.loadEventEnd)};
}"""


async def measured(*, quick: bool) -> tuple[Table, dict[str, Figure]]:
    nodes, times = (QUICK_NODES, QUICK_TIMES) if quick else (NODES, TIMES)
    given = Given(nodes, None, place=Path("build/bench-operators"))
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        raise SystemExit("no chromium is installed here: apt-get install chromium")
    async with staged("page", given) as stage:
        async with stage.core() as core:
            await populate(core.ledger, nodes, stage.release.digests, core.clock())
        await stage.start()
        token = json.loads(await stage.cloud("operator", "create", "bench", "--format", "json"))["secret"]
        url = f"https://{json.loads((stage.data / 'serve.json').read_text())['api']}"
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=path, args=list(FLAGS))
            found = [await _opened(browser, url, token) for _ in range(times + 1)][1:]  # the first one fills caches
            await browser.close()
    painted = [round(each["painted"] / 1e3, 3) for each in found]
    hosts = sorted({host for each in found for host in each["hosts"]})
    tell(f"  painted after {painted} s; requests went to {hosts}")
    table = Table(
        f"The first page of a fleet with {nodes:,} nodes",
        ("nodes", "first byte, s", "last byte, s", "painted, s", "kB", "other hosts"),
        [
            [
                nodes,
                *(round(median(each[name] for each in found) / 1e3, 3) for name in ("first_byte", "last_byte", "painted")),
                round(median(each["bytes"] for each in found) / 1e3, 1),
                len(hosts) - 1,
            ]
        ],
        (
            f"Median of {times} times in a new browser context, from the start of the navigation (its TLS handshake included) to "
            "the later one of the last paint and the load event. The browser and the coordinator share the machine.",
        ),
    )
    return table, {
        "page_10k_nodes_s": Figure(tuple(painted), "s", "lower"),
        "requests_to_other_hosts": Figure.of(len(hosts) - 1, "hosts", "lower", ", ".join(hosts)),
    }


async def _opened(browser: Browser, url: str, token: str) -> dict[str, Any]:
    context = await browser.new_context(ignore_https_errors=True)
    page = await context.new_page()
    await page.goto(f"{url}/sign-in")
    await page.fill("input[name=token]", token)
    await page.press("input[name=token]", "Enter")
    await page.wait_for_url(f"{url}/")
    other = await context.new_page()
    asked: list[str] = []
    other.on("request", lambda request: asked.append(request.url))
    answer = await other.goto(f"{url}{PATH}", wait_until="load")
    assert answer is not None
    assert answer.status == 200, answer.status
    times: dict[str, Any] = await other.evaluate(_TIMES)
    assert await other.locator("tbody tr").count() >= 20
    size = len(await answer.body())
    await context.close()
    hosts = {each.split("/")[2] for each in asked if each.startswith("http")}
    return {**times, "bytes": size, "hosts": hosts}
