"""The page in a real browser, over one coordinator and one fleet for all tests of this file."""

from __future__ import annotations

import asyncio
import secrets
import shlex
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page

from littoral.process.command import script
from littoral_cloud.trust.people import Caller, Role
from littoral_cloud.trust.web_sessions import create_link
from tests.kit import foreign
from tests.kit.browser import running_browser
from tests.kit.cloud import Cloud, running_cloud
from tests.kit.page_world import MARKUP, seed

pytestmark = [pytest.mark.asyncio(loop_scope="module")]

AXE = Path(__file__).parents[1] / "vendor" / "axe.min.js"
HOSTILE = "0000003b"
"""The id of the node that has markup in every field."""
PAGES = (
    "/",
    "/fleet",
    "/fleet/00000009",
    f"/fleet/{HOSTILE}",
    "/fleet/00000009/quarantine",
    "/fleet/no-such-node",
    "/enrol",
    "/releases",
    "/releases/tiny-1",
    "/artifacts/student-learnt",
    "/lineage/tiny",
    "/start-rollout?release=tiny-2",
    "/import",
    "/rollouts",
    "/runs",
    "/runs/tiny-run-1",
    "/runs/start",
    "/drift",
    "/audit",
    "/audit/verified",
    "/people",
    "/people/create",
)


@dataclass(slots=True)
class Stage:
    """`seen`: the address of each request; `wrong`: errors of scripts, dialogs, and what the policy refused."""

    cloud: Cloud
    browser: Browser
    seen: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def base(self) -> str:
        return f"https://{self.cloud.serving.api}"

    async def link(self, role: Role = Role.ADMIN) -> str:
        caller = Caller(name=f"ada-{role}", role=role)
        code = await create_link(self.cloud.core.ledger, caller, time.time(), secrets.token_urlsafe)  # noqa: TID251 - a shell
        return f"{self.base}/enter?code={code}"

    @asynccontextmanager
    async def visit(self, role: Role = Role.ADMIN, *, scripts: bool = True) -> AsyncIterator[Page]:
        """A page of somebody who has signed in."""
        context = await self.browser.new_context(
            ignore_https_errors=True,
            java_script_enabled=scripts,
            viewport={"width": 1280, "height": 900},
        )
        try:
            page = await self.watched(context)
            await page.goto(await self.link(role))
            yield page
        finally:
            await context.close()

    @asynccontextmanager
    async def visit_with(self, token: str) -> AsyncIterator[Page]:
        """A page of somebody who has signed in with a token."""
        context = await self.browser.new_context(ignore_https_errors=True)
        try:
            page = await self.watched(context)
            await page.goto(f"{self.base}/sign-in")
            await page.get_by_label("Token").fill(token)
            await page.get_by_role("button", name="Sign in").click()
            await page.get_by_role("heading", name="Overview").wait_for()
            yield page
        finally:
            await context.close()

    async def watched(self, context: BrowserContext) -> Page:
        page = await context.new_page()
        page.on("request", lambda request: self.seen.append(request.url))
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("dialog", lambda dialog: self.wrong.append(f"dialog {dialog.message}"))
        page.on("console", lambda line: self.wrong.append(line.text) if "Content Security Policy" in line.text else None)
        return page


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        browser = await stack.enter_async_context(running_browser())
        cloud = await stack.enter_async_context(running_cloud(tmp_path_factory.mktemp("c")))
        await seed(cloud.core, tmp_path_factory.mktemp("made"))
        yield Stage(cloud, browser)


async def test_the_link_signs_in_once(stage: Stage) -> None:
    link = await stage.link()
    context = await stage.browser.new_context(ignore_https_errors=True)
    page = await stage.watched(context)
    await page.goto(link)
    assert urlsplit(page.url).path == "/"
    assert await page.locator("h1").inner_text() == "Overview"
    [cookie] = await context.cookies()
    assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == (True, True, "Strict")
    other = await stage.browser.new_context(ignore_https_errors=True)
    again = await other.new_page()
    answer = await again.goto(link)
    assert answer is not None
    assert answer.status == 401
    assert "was used" in await again.locator("[role=alert]").inner_text()
    await asyncio.gather(context.close(), other.close())


async def test_every_page_is_accessible_asks_no_other_host_and_runs_no_markup(
    stage: Stage, record_property: Callable[[str, object], None]
) -> None:
    async with stage.visit() as page:
        for path in PAGES:
            await page.emulate_media(color_scheme="light")
            await page.goto(stage.base + path)
            assert await page.locator("h1").count() == 1, path
            await page.evaluate(AXE.read_text())
            assert await violations(page) == [], path
            await page.emulate_media(color_scheme="dark")
            assert await violations(page, "color-contrast") == [], f"{path}, dark"
            for width in (360, 3840):
                await page.set_viewport_size({"width": width, "height": 800})
                await page.wait_for_function("width => document.documentElement.scrollWidth <= width", arg=width)
            await page.set_viewport_size({"width": 1280, "height": 900})
    hosts = {urlsplit(address).netloc for address in stage.seen if not address.startswith("data:")}
    assert hosts == {stage.cloud.serving.api}
    assert stage.wrong == []
    record_property("axe_pages", len(PAGES))


async def violations(page: Page, *rules: str) -> list[str]:
    """Of axe-core: each rule that the page breaks, with the first place. No rules: all."""
    options = {"resultTypes": ["violations"], **({"runOnly": list(rules)} if rules else {})}
    found = await page.evaluate("options => axe.run(document, options).then(r => r.violations)", options)
    return [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in found]


async def test_every_page_reads_without_scripts(stage: Stage) -> None:
    async with stage.visit(Role.VIEWER, scripts=False) as page:
        for path in ("/", "/fleet", "/fleet/00000009", "/releases", "/lineage/tiny", "/runs/tiny-run-1", "/drift", "/audit"):
            answer = await page.goto(stage.base + path)
            assert answer is not None
            assert answer.status == 200, path
            assert await page.locator("main table, main .rows").count() >= 1, path
        await page.goto(f"{stage.base}/fleet?state=cloned")
        assert await page.locator("tbody tr").count() == 1


async def test_a_keyboard_is_enough(stage: Stage) -> None:
    async with stage.visit() as page:
        await page.goto(f"{stage.base}/fleet/00000008")
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.textContent") == "Skip to content"
        await page.keyboard.press("Enter")
        await page.get_by_role("link", name="Quarantine…").focus()
        await page.keyboard.press("Enter")
        await page.get_by_role("dialog").get_by_label("Why").wait_for()
        assert await page.evaluate("document.activeElement.name") == "reason"
        await page.keyboard.press("Escape")
        await page.get_by_role("dialog").wait_for(state="hidden")
        assert await page.evaluate("document.activeElement.textContent") == "Quarantine…"


async def test_axe_sees_what_is_wrong(stage: Stage) -> None:
    async with stage.visit() as page:
        await page.evaluate(AXE.read_text())
        await page.evaluate("document.querySelector('main').insertAdjacentHTML('beforeend', '<p id=pale>pale</p><input>')")
        await page.evaluate("document.getElementById('pale').style.color = 'var(--line)'")
        assert {each.partition(":")[0] for each in await violations(page)} >= {"color-contrast", "label"}


async def test_scripts_and_styles_come_from_here_and_are_asked_for_again_after_an_upgrade(stage: Stage) -> None:
    async with stage.visit() as page:
        answer = await page.request.get(f"{stage.base}/static/vendor/htmx.min.js")
        assert (answer.headers["cache-control"], answer.headers["x-content-type-options"]) == ("no-cache", "nosniff")
        page_headers = (await page.request.get(stage.base)).headers
        assert "default-src 'none'" in page_headers["content-security-policy"]
        assert "unsafe" not in page_headers["content-security-policy"]


async def test_markup_of_a_node_is_text(stage: Stage) -> None:
    async with stage.visit() as page:
        for path in ("/", "/fleet", f"/fleet/{HOSTILE}"):
            await page.goto(stage.base + path)
            assert MARKUP[:20] in await page.locator("main").inner_text(), path
            assert await page.locator("img, script:not([src])").count() == 0
    assert stage.wrong == []


async def test_an_action_asks_in_a_dialog_and_without_scripts_on_a_page(stage: Stage) -> None:
    async with stage.visit() as page:
        await page.goto(f"{stage.base}/fleet/00000001")
        await page.get_by_role("link", name="Quarantine…").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_label("Why").fill("a worn disk")
        await dialog.get_by_role("button", name="Put in quarantine").click()
        await page.get_by_text("The node is in quarantine.").wait_for()
        assert "a worn disk" in await page.locator("main").inner_text()
    async with stage.visit(Role.OPERATOR, scripts=False) as page:
        await page.goto(f"{stage.base}/fleet/00000001")
        await page.get_by_role("link", name="End quarantine…").click()
        await page.get_by_role("button", name="End quarantine").click()
        await page.get_by_text("Updates and rounds reach the node again.").wait_for()


async def test_a_form_from_elsewhere_changes_nothing(stage: Stage) -> None:
    async with stage.visit() as page:
        address = f"{stage.base}/fleet/00000002/quarantine"
        answer = await page.request.post(address, form={"reason": "x", "form_secret": "guessed"})
        assert answer.status == 403
        answer = await page.request.post(address, form={"reason": "x"})
        assert answer.status == 403
        await page.goto(f"{stage.base}/fleet/00000002")
        assert await page.get_by_role("link", name="Quarantine…").count() == 1


async def test_a_viewer_sees_no_actions_and_may_not_do_them(stage: Stage) -> None:
    async with stage.visit(Role.VIEWER) as page:
        await page.goto(f"{stage.base}/fleet/00000002")
        assert await page.locator("a[data-ask]").count() == 0
        answer = await page.goto(f"{stage.base}/fleet/00000002/quarantine")
        assert answer is not None
        assert answer.status == 403


async def test_what_changes_shows_up_by_itself_and_filters_work(stage: Stage) -> None:
    async with stage.visit() as page:
        await page.goto(f"{stage.base}/fleet?text=cam-quay-00002")
        await page.get_by_text("Live").wait_for()
        assert await page.locator("tbody tr").count() == 1
        async with stage.visit(Role.OPERATOR, scripts=False) as other:
            await other.goto(f"{stage.base}/fleet/00000002/quarantine")
            await other.get_by_role("button", name="Put in quarantine").click()
        await page.locator("tbody").get_by_text("quarantined").wait_for(timeout=10_000)
        await page.get_by_label("Name").fill("cam-north")
        await until(lambda: "text=cam-north" in page.url)
        assert all("north" in name for name in await page.locator("tbody th").all_inner_texts())


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - what a browser does has no event here
            await asyncio.sleep(0.05)


async def test_a_token_is_made_renewed_and_revoked_and_its_secret_is_shown_once(stage: Stage) -> None:
    async with stage.visit() as page:
        await page.goto(f"{stage.base}/people")
        await page.get_by_role("link", name="Make a token…").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_label("Name", exact=True).fill("ci-pipeline")
        await dialog.get_by_label("Role").select_option("operator")
        await dialog.get_by_role("button", name="Make token").click()
        secret = await page.locator("#secret").inner_text()
        assert secret.startswith("litt_")
        await page.goto(f"{stage.base}/people")
        row = page.get_by_role("row", name="ci-pipeline")
        assert "operator" in await row.inner_text()
        assert secret not in await page.content()
        async with stage.visit_with(secret) as scripts:
            await scripts.goto(f"{stage.base}/people")
            assert "You are ci-pipeline" in await scripts.locator("main").inner_text()
            await row.get_by_role("link", name="Revoke…").click()
            await page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
            await page.get_by_text("The token opens nothing any more.").wait_for()
            await scripts.goto(f"{stage.base}/fleet")
            assert urlsplit(scripts.url).path == "/sign-in"


async def test_a_node_enrols_with_what_the_page_shows(stage: Stage, tmp_path: Path) -> None:
    async with stage.visit(Role.OPERATOR) as page:
        await page.goto(f"{stage.base}/fleet")
        await page.get_by_role("link", name="Enrol a node").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_label("The node's name").fill("porch")
        await dialog.get_by_label("Labels").fill("site=harbour")
        await dialog.get_by_role("button", name="Show the commands").click()
        commands = await page.locator("#commands").inner_text()
    [enroll] = [line for line in commands.splitlines() if " enroll " in line]
    _, *words = shlex.split(enroll)
    words[words.index("--data") + 1] = str(tmp_path / "node")
    process = await asyncio.create_subprocess_exec(script("littoral-node"), *words, stdout=asyncio.subprocess.DEVNULL)
    assert await process.wait() == 0
    async with stage.visit(Role.VIEWER) as page:
        await page.goto(f"{stage.base}/fleet?text=porch")
        assert "harbour" in await page.get_by_role("row", name="porch").inner_text()


async def test_a_rollout_is_previewed_started_paused_resumed_approved_and_aborted(stage: Stage) -> None:
    async with stage.visit(Role.OPERATOR) as page, stage.visit(Role.ADMIN) as other:
        await page.goto(f"{stage.base}/releases/tiny-2")
        await page.get_by_role("link", name="Roll out…").click()
        await page.get_by_label("Waves").fill("1, 200%")
        await page.get_by_role("button", name="Show what it would do").click()
        assert "200%" in await page.get_by_role("alert").inner_text()
        await page.get_by_label("Waves").fill("1, 25%")
        await page.get_by_label("Wait for the approval of another person").check()
        await page.get_by_role("button", name="Show what it would do").click()
        assert (
            "Another person has to approve it first" in await page.get_by_role("region", name="What it would do now").inner_text()
        )
        await page.get_by_role("button", name="Start the rollout").click()
        await page.get_by_text("The rollout has started.").wait_for()
        at = page.url.partition("?")[0]
        assert await page.get_by_role("link", name="Approve…").count() == 0  # who started it may not
        await other.goto(at)
        await click_through(other, "Approve…", "Approve")
        await other.get_by_text("The rollout is approved.").wait_for()
        await page.goto(at)
        await click_through(page, "Pause…", "Pause")
        await page.get_by_text("The rollout is paused.").wait_for()
        await other.get_by_text("paused").first.wait_for()  # by itself
        await click_through(page, "Resume…", "Resume")
        await page.get_by_text("The rollout goes on.").wait_for()
        await page.evaluate(AXE.read_text())
        assert await violations(page) == []
        await click_through(page, "Abort…", "Abort and go back")
        await page.get_by_text("The rollout was asked to stop").wait_for()
        await page.locator("h1 + .state").get_by_text("rolling back").wait_for()  # by itself


async def click_through(page: Page, link: str, button: str) -> None:
    await page.get_by_role("link", name=link).click()
    await page.get_by_role("dialog").get_by_role("button", name=button, exact=True).click()


async def test_a_model_is_imported_by_an_upload_and_a_bad_file_is_named(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    foreign.write(tmp_path / "prices.onnx", foreign.house_prices())
    np.savez(tmp_path / "houses.npz", **foreign.houses())
    async with stage.visit(Role.OPERATOR) as page:
        await page.goto(f"{stage.base}/releases")
        await page.get_by_role("link", name="Import a model").click()
        await page.get_by_label("The ONNX file").set_input_files(tmp_path / "broken.onnx")
        await page.get_by_label("The name under which").fill("prices")
        await page.get_by_role("button", name="Import").click()
        assert (
            "broken.onnx" in await page.get_by_role("alert").inner_text()
            or "model" in await page.get_by_role("alert").inner_text()
        )
        await page.get_by_label("The ONNX file").set_input_files(tmp_path / "prices.onnx")
        await page.get_by_label("Data to measure with").set_input_files(tmp_path / "houses.npz")
        await page.get_by_label("Task").select_option("regression")
        await page.get_by_role("button", name="Import").click()
        await page.get_by_role("heading", name="Imported as prices-1").wait_for(timeout=120_000)
        await page.get_by_role("link", name="Look at it").click()
        assert "rmse" in await page.locator("main").inner_text()
    async with stage.visit(Role.VIEWER) as page:
        answer = await page.request.post(f"{stage.base}/import/upload", multipart={"model": "prices"})
        assert answer.status == 403


@pytest.mark.slow
async def test_ten_thousand_nodes_open_within_a_second(stage: Stage, tmp_path: Path) -> None:
    async with running_cloud(tmp_path / "c") as cloud:
        await seed(cloud.core, tmp_path / "made", 10_000)
        big = Stage(cloud, stage.browser)
        async with big.visit() as page:
            for path in ("/", "/fleet", "/fleet?sort=state", "/fleet?state=quarantined", "/drift"):
                painted = [await first_paint_s(page, big.base + path) for _ in range(3)]
                assert min(painted) < 1, (path, painted)
                assert await page.locator("tbody tr").count() <= 60
        assert big.wrong == []


async def first_paint_s(page: Page, address: str) -> float:
    """From the request to the last byte, and painted."""
    await page.goto(address)
    milliseconds: float = await page.evaluate(
        """() => Math.max(performance.getEntriesByType("navigation")[0].responseEnd,
                          ...performance.getEntriesByType("paint").map((paint) => paint.startTime))"""
    )
    return milliseconds / 1000
