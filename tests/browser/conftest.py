"""A browser, and a page that notes whatever it complains of."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.chromium import NONE_FOUND, find
from tests.browser.site import Site, site

# A busy machine shows what is expected late.
expect.set_options(timeout=15_000)

ROOT = Path(__file__).resolve().parents[2]
SCREENSHOTS = ROOT / "build" / "screenshots"

Look = Callable[..., Page]

# Runs before anything of the page does, also where its policy forbids scripts.
WATCH = """
window.complaints = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.complaints.push(`CSP: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`);
});
window.alert = window.confirm = window.prompt = (text) => {
  window.complaints.push(`dialog: ${text}`); return true;
};
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for all tests of a file, and gone behind them: as long as it is there, a loop is running
    in this thread, and tests that want one of their own could not be run."""
    path = find()
    if path is None:
        pytest.skip(NONE_FOUND)
    # Chromium's sandbox cannot be set up by root.
    args = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=args)
        yield browser
        browser.close()


@pytest.fixture
def shop() -> Iterator[Site]:
    """The service of a shop, its worker and its dashboard."""
    with site() as made:
        yield made


@pytest.fixture
def look(browser: Browser, shop: Site) -> Iterator[Look]:
    """Opens a page of the dashboard. At the end of the test, none of them may have complained: no
    error on the console, no report of the policy, no dialog but those that were agreed to."""
    complaints: list[str] = []
    contexts: list[Any] = []

    def open_page(path: str = "/", *, width: int = 1280, dark: bool = False) -> Page:
        context = browser.new_context(
            base_url=shop.url,
            viewport={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
        )
        context.set_default_timeout(15_000)
        contexts.append(context)
        context.add_init_script(WATCH)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on(
            "console",
            lambda message: (
                complaints.append(f"console: {message.text} at {message.location}")
                if message.type in ("error", "warning")
                else None
            ),
        )
        page.goto(path)
        return page

    yield open_page
    for context in contexts:
        for page in context.pages:
            complaints += page.evaluate("window.complaints ?? []")
        context.close()
    assert complaints == []


@pytest.fixture
def keep(request: pytest.FixtureRequest) -> Callable[[Page, str], None]:
    """Keeps a screenshot as a build output."""

    def shoot(page: Page, name: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"{re.sub(r'[^a-z0-9-]', '-', name)}.png")

    return shoot
