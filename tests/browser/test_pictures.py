"""Pictures for the README, of the example's own jobs: `build/screenshots/readme-*.png`.

`BACKROOM_PICTURES_OF=http://127.0.0.1:8000` takes them of a dashboard that runs already, such as
of one that has run for an hour (`python3 dev.py dashboard`), and so has charts to show.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import ROOT, SCREENSHOTS


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[str]:
    """Where the dashboard of the example is."""
    running = os.environ.get("BACKROOM_PICTURES_OF")
    if running:
        yield running
        return
    command = [sys.executable, "-m", "examples.mail.dashboard", "--no-browser", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--dir", str(tmp_path / "demo")], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found is not None, f"the example said {line!r}"
        yield found[0]
    finally:
        process.terminate()
        process.communicate(timeout=30)


def test_the_readme_shows_the_real_thing(browser: Browser, demo: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    context = browser.new_context(
        base_url=urljoin(demo, "/"),
        viewport={"width": 1200, "height": 760},
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.goto(demo)
    # Mails to a domain that the server does not know fail for good, and are grouped.
    group = page.locator("tr", has_text="FailJob")
    expect(group).to_be_visible(timeout=30_000)
    expect(page.locator(".uplot").first).to_be_visible(timeout=30_000)
    page.screenshot(path=SCREENSHOTS / "readme-overview.png")
    group.get_by_role("link").first.click()
    page.locator("tbody a.name").first.click()
    expect(page.locator(".frames .end").last).to_contain_text("FailJob")
    page.screenshot(path=SCREENSHOTS / "readme-job.png")
    context.close()
