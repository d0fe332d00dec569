"""Jobs are changed from the pages: many at once, by a signal, and none is deleted unasked."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Browser, Page, expect

from backroom.web.bulk import Operation, _Running
from tests.browser.site import Site, site

Look = Callable[..., Page]
Keep = Callable[[Page, str], None]


def test_all_that_match_get_another_moment_and_another_priority(shop: Site, look: Look) -> None:
    service = shop.service
    ids = [
        shop.do(service.schedule("SHIP_ORDER", {"order": n}, delay=3600, tags=["late"]))
        for n in range(4)
    ]
    page = look("/jobs?tag=late")
    page.get_by_role("link", name="Priority of all").click()
    expect(page.locator("main")).to_contain_text("Change the priority of 4 jobs with")
    page.get_by_label("To the priority").select_option("critical")
    page.get_by_role("button", name="Change the priority of all").click()
    expect(page.locator("h1 .status")).to_have_text("done")
    expect(page.locator("main")).to_contain_text("4 of 4 changed")
    page.get_by_role("link", name="What matches now").click()
    expect(page.locator("tbody .tag.critical")).to_have_count(4)

    page.get_by_role("link", name="Reschedule all").click()
    page.get_by_label("or at (UTC)").fill("2040-01-31T03:00Z")
    page.get_by_role("button", name="Reschedule all").click()
    expect(page.locator("main")).to_contain_text("4 of 4 changed")
    moments = {shop.do(service.get_job(one)).run_at for one in ids}
    assert moments == {datetime(2040, 1, 31, 3, tzinfo=UTC)}


def test_the_page_of_a_change_that_goes_on_is_asked_each_second(shop: Site, look: Look) -> None:
    """Though no count of the overview moves, which is all that events tell of."""
    assert shop.app is not None
    one = Operation(
        id="x", verb="reschedule", which={"status": "scheduled"}, actor="ada", expected=1933,
        exact=False, begun_at=datetime.now(UTC),
    )  # fmt: skip
    running = shop.app.house.bulk._known["x"] = _Running(one)
    page = look("/operations/x")
    page.locator("html[data-ready]").wait_for()
    expect(page.locator(".progress")).to_contain_text("0 of at least 1,933 changed")
    for changed in (500, 12_000, 13_000):
        running.set(changed=changed)
        # Less than a page waits that nothing happens to.
        expect(page.locator(".progress b")).to_have_text(f"{changed:,}", timeout=4000)
    expect(page.locator(".progress")).to_contain_text("13,000 changed")
    running.end("done")
    expect(page.locator("h1 .status")).to_have_text("done", timeout=4000)
    expect(page.locator("[data-moving]")).to_have_count(0)


def test_without_scripts_a_form_that_is_refused_keeps_what_was_typed(browser: Browser) -> None:
    with site() as shop:
        shop.do(shop.service.schedule("SHIP_ORDER", {"order": 1}, delay=3600, tags=["late"]))
        context = browser.new_context(base_url=shop.url, java_script_enabled=False)
        page = context.new_page()
        page.goto("/bulk?verb=reschedule&tag=late")
        page.get_by_role("button", name="Reschedule all").click()
        expect(page.locator("#flash .bad")).to_contain_text("say run_at or delay")
        page.get_by_label("or at (UTC)").fill("tomorrow")
        page.get_by_role("button", name="Reschedule all").click()
        expect(page.locator("#flash .bad")).to_contain_text("run_at")
        expect(page.get_by_label("or at (UTC)")).to_have_value("tomorrow")
        expect(page.locator("dl.facts")).to_contain_text("late")
        page.get_by_label("or at (UTC)").fill("2040-01-31T03:00Z")
        page.get_by_role("button", name="Reschedule all").click()
        page.wait_for_url("**/operations/*")
        context.close()


def test_a_signal_is_sent_from_the_page_of_the_job_that_waits_for_it(
    shop: Site, look: Look
) -> None:
    job_id = shop.do(shop.service.schedule("APPROVE_ORDER", {"order": 1}))
    page = look(f"/jobs/{job_id}")
    page.locator("summary", has_text="Send a signal").click()
    expect(page.get_by_label("Its name")).to_have_value("approved")
    page.get_by_label("Its value").fill('{"by": "ada"}')
    page.get_by_role("button", name="Send a signal").click()
    expect(page.locator("#flash")).to_contain_text("The signal is sent")
    expect(page.locator("h1 .status")).to_have_text("completed")
    expect(page.locator("#result")).to_contain_text('"by": "ada"')
    expect(page.locator("summary", has_text="Send a signal")).to_have_count(0)


def test_a_value_that_is_no_json_is_told_and_stays_to_be_mended(browser: Browser) -> None:
    with site() as shop:
        job_id = shop.do(shop.service.schedule("APPROVE_ORDER", {"order": 1}))
        context = browser.new_context(base_url=shop.url, reduced_motion="reduce")
        page = context.new_page()
        page.goto(f"/jobs/{job_id}")
        page.locator("html[data-ready]").wait_for()
        page.locator("summary", has_text="Send a signal").click()
        page.get_by_label("Its value").fill("{by: ada}")
        page.get_by_role("button", name="Send a signal").click()
        expect(page.locator("#flash .bad")).to_contain_text("the value is no JSON")
        expect(page.get_by_label("Its value")).to_have_value("{by: ada}")
        page.get_by_label("Its value").fill('"ada"')
        page.get_by_role("button", name="Send a signal").click()
        expect(page.locator("#flash")).to_contain_text("The signal is sent")
        assert shop.do(shop.service.result(job_id, timeout=30)) == "ada"
        context.close()


def test_a_job_is_deleted_after_one_question(shop: Site, look: Look) -> None:
    job_id = shop.do(shop.service.schedule("SHIP_ORDER", {"order": 1}, delay=3600))
    page = look(f"/jobs/{job_id}")
    page.get_by_role("button", name="Delete").click()
    page.wait_for_url(lambda url: url.endswith("/jobs"))
    expect(page.locator("#flash")).to_contain_text("The job is deleted")
    # `look` has every dialog agreed to, and noted: one was there, and no page that asks again.
    assert page.evaluate("window.complaints") == []


def test_without_scripts_a_page_asks_before_a_job_is_deleted(browser: Browser) -> None:
    with site() as shop:
        job_id = shop.do(shop.service.schedule("SHIP_ORDER", {"order": 1}, delay=3600))
        context = browser.new_context(base_url=shop.url, java_script_enabled=False)
        page = context.new_page()
        page.goto(f"/jobs/{job_id}")
        page.get_by_role("button", name="Delete").click()
        expect(page.locator("h1")).to_have_text("Delete this job of the type SHIP_ORDER?")
        page.get_by_role("link", name="Do nothing").click()
        expect(page.locator("h1 .status")).to_have_text("scheduled")
        page.get_by_role("button", name="Delete").click()
        page.get_by_role("button", name="Delete").click()
        expect(page.locator("#flash")).to_contain_text("The job is deleted")
        assert len(shop.do(shop.service.get_jobs())) == 0
        context.close()


LOGIN = "<title>Intranet</title><h1>Sign in</h1><div id=live>hello</div><div id=side></div>"


@pytest.mark.parametrize("asked", ["by itself", "by hand"])
def test_the_page_of_a_proxy_is_no_news_of_ours(browser: Browser, asked: str) -> None:
    """One that lets nobody through until they have signed in, and says so with status 200."""
    with site() as shop:
        shop.do(shop.service.schedule("SHIP_ORDER", {"order": 1}, queue="orders"))
        context = browser.new_context(base_url=shop.url, reduced_motion="reduce")
        page = context.new_page()
        page.goto("/queues")
        page.locator("html[data-ready]").wait_for()
        path = "**/queues" if asked == "by itself" else "**/queues/orders/pause"
        page.route(path, lambda route: route.fulfill(content_type="text/html", body=LOGIN))
        if asked == "by hand":
            page.get_by_role("button", name="Pause the queue orders").click()
        else:
            shop.do(shop.service.schedule("SHIP_ORDER", {"order": 2}, queue="other"))
            expect(page.locator("#live-light")).to_have_text("Offline")
        expect(page.locator("#flash .note.bad")).to_contain_text("Offline")
        expect(page.locator("#flash").get_by_role("link", name="Sign in again")).to_be_visible()
        # What stood there stands, and nothing of the other page.
        expect(page.locator("h1")).to_have_text("Queues")
        expect(page.locator("tbody tr")).to_contain_text("orders")
        expect(page.locator("#live")).not_to_contain_text("hello")
        page.unroute(path)
        # The proxy lets it through again: the page goes on.
        expect(page.locator("#live-light")).to_have_text("Live")
        expect(page.locator("#flash .note")).to_have_count(0)
        if asked == "by itself":
            expect(page.locator("tbody")).to_contain_text("other")
        context.close()
