"""make screenshots: a picture of each page to docs/pictures, over a fleet of documents (tests/kit/page_world.py).

Needs chromium; takes half a minute.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import tempfile
from pathlib import Path

from littoral_cloud.releases.catalogue import read_release
from littoral_cloud.rollouts.commands import policy_with, start_rollout
from littoral_cloud.trust.people import Caller, Role
from littoral_cloud.trust.web_sessions import create_link
from tests.kit.browser import chromium, running_browser
from tests.kit.cloud import running_cloud
from tests.kit.page_world import seed

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
PAGES = {
    "overview": "/",
    "fleet": "/fleet",
    "node": "/fleet/00000009",
    "enrol": "/enrol",
    "releases": "/releases",
    "release": "/releases/tiny-1",
    "artifact": "/artifacts/student-learnt",
    "lineage": "/lineage/tiny",
    "rollouts": "/rollouts",
    "rollout": "/rollouts/tiny-2-r1",
    "start-rollout": "/start-rollout?release=tiny-1",
    "runs": "/runs",
    "run": "/runs/tiny-run-1",
    "drift": "/drift",
    "audit": "/audit",
    "people": "/people",
    "import": "/import",
}
VIEWS = {"": (1440, 900, "light"), "-dark": (1440, 900, "dark"), "-phone": (360, 740, "light")}
DARK = ("overview", "fleet", "releases")
PHONE = ("overview", "fleet", "rollout")


async def write() -> None:
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="littoral-") as folder:
        async with running_cloud(Path(folder) / "cloud") as cloud, running_browser() as browser:
            core = cloud.core
            await seed(core, Path(folder) / "made", hostile=False)
            release = await read_release(core.ledger, "tiny-2")
            await start_rollout(core.ledger, release, core.clock(), policy_with(600.0), large_first_wave=True, actor="ada")
            for view, (width, height, scheme) in VIEWS.items():
                only = {"": tuple(PAGES), "-dark": DARK, "-phone": PHONE}[view]
                context = await browser.new_context(
                    ignore_https_errors=True,
                    viewport={"width": width, "height": height},
                    color_scheme="dark" if scheme == "dark" else "light",
                )
                page = await context.new_page()
                code = await create_link(core.ledger, Caller(name="ada", role=Role.ADMIN), core.clock(), secrets.token_urlsafe)
                await page.goto(f"https://{cloud.serving.api}/enter?code={code}")
                for name in only:
                    await page.goto(f"https://{cloud.serving.api}{PAGES[name]}")
                    await page.wait_for_timeout(700)  # charts are drawn, and the page says that it is live
                    await page.screenshot(path=PICTURES / f"{name}{view}.png")
                await context.close()


if __name__ == "__main__":
    if not chromium():
        sys.exit("no chromium is installed here: apt-get install chromium")
    asyncio.run(write())
