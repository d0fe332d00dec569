"""Who signs in with a token, and what they may."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from backroom.web import Token
from tests.browser.conftest import SCREENSHOTS
from tests.browser.site import site


def test_a_reader_signs_in_looks_and_signs_out(browser: Browser) -> None:
    made = Token.make("ada", "read")
    with site([made.token]) as shop:
        shop.do(shop.service.schedule("SHIP_ORDER", {"order": 1}, queue="orders"))
        context = browser.new_context(base_url=shop.url, reduced_motion="reduce")
        page = context.new_page()
        page.goto("/queues")
        expect(page.locator("h1")).to_have_text("Sign in")
        assert Axe().run(page).response["violations"] == []
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENSHOTS / "sign-in.png")
        page.get_by_label("Token or password").fill("br_wrong")
        page.keyboard.press("Enter")
        expect(page.locator("#flash .note")).to_be_visible()
        page.get_by_label("Token or password").fill(made.secret)
        page.keyboard.press("Enter")
        # Where they wanted to go; what they may not do is not there.
        expect(page.locator("h1")).to_have_text("Queues")
        expect(page.locator("tbody tr")).to_contain_text("orders")
        expect(page.get_by_role("button", name="Pause")).to_have_count(0)
        expect(page.locator(".who")).to_contain_text("ada")
        page.get_by_role("button", name="Sign out").click()
        page.goto("/queues")
        expect(page.locator("h1")).to_have_text("Sign in")
        context.close()
