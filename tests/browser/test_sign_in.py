"""Who signs in with a token, and what they may."""

from __future__ import annotations

import pytest
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


def test_a_page_says_once_its_session_has_ended_and_leads_back_in(browser: Browser) -> None:
    made = Token.make("ada", "operate")
    with site([made.token]) as shop:
        shop.do(shop.service.schedule("SHIP_ORDER", {"order": 1}, queue="orders"))
        context = browser.new_context(base_url=shop.url, reduced_motion="reduce")
        page = context.new_page()
        page.goto("/queues")
        page.get_by_label("Token or password").fill(made.secret)
        page.keyboard.press("Enter")
        page.locator("html[data-ready]").wait_for()
        expect(page.locator("h1")).to_have_text("Queues")
        [session] = context.cookies()
        context.clear_cookies()
        # By itself, with the next look; and what is asked for is refused with a word.
        expect(page.locator("#live-light")).to_have_text("Signed out")
        expect(page.locator("#flash")).to_contain_text("You are signed out")
        page.evaluate("document.getElementById('flash').replaceChildren()")
        page.get_by_role("button", name="Pause the queue orders").click()
        expect(page.locator("#flash")).to_contain_text("You are signed out")
        # In another tab somebody signs in: the page goes on.
        context.add_cookies([session])
        expect(page.locator("#live-light")).to_have_text("Live")
        expect(page.locator("#flash .note")).to_have_count(0)
        context.clear_cookies()
        page.locator("#flash").get_by_role("link", name="Sign in").click()
        page.get_by_label("Token or password").fill(made.secret)
        page.keyboard.press("Enter")
        expect(page.locator("h1")).to_have_text("Queues")
        context.close()


@pytest.mark.parametrize(
    ("status", "kind", "body", "said"),
    [
        (502, "text/html", "<h1>Bad Gateway</h1>", "The server answered 502. Whether it was done"),
        (413, "text/plain", "", "The server answered 413."),
        (429, "application/problem+json", '{"detail":"too many"}', "answered 429: too many."),
    ],
)
def test_an_answer_that_is_none_of_ours_is_told(
    browser: Browser, status: int, kind: str, body: str, said: str
) -> None:
    """Such as that of a proxy which finds nobody behind it."""
    with site() as shop:
        shop.do(shop.service.schedule("SHIP_ORDER", {"order": 1}, queue="orders"))
        context = browser.new_context(base_url=shop.url, reduced_motion="reduce")
        page = context.new_page()
        page.goto("/queues")
        page.locator("html[data-ready]").wait_for()
        page.route(
            "**/queues/orders/pause",
            lambda route: route.fulfill(status=status, content_type=kind, body=body),
        )
        page.get_by_role("button", name="Pause the queue orders").click()
        expect(page.locator("#flash .note.bad")).to_contain_text(said)
        page.unroute("**/queues/orders/pause")
        page.get_by_role("button", name="Pause the queue orders").click()
        expect(page.locator("#flash")).to_contain_text("The queue is paused")
        context.close()
