"""Chromium for tests of the page. Where none is installed, tests that need it are skipped, and say so."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Browser, async_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium() -> str:
    """Its path; "": there is none."""
    return os.environ.get("LITTORAL_TEST_CHROMIUM", "") or next(filter(None, map(shutil.which, NAMES)), "")


@asynccontextmanager
async def running_browser() -> AsyncIterator[Browser]:
    """Skips the test where there is no Chromium."""
    if not (path := chromium()):
        pytest.skip("no chromium is installed here: apt-get install chromium, or set LITTORAL_TEST_CHROMIUM")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        try:
            yield browser
        finally:
            await browser.close()
