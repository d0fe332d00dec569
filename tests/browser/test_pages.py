"""Every page, in light and dark, wide and narrow: nothing complains, nothing is out of reach."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.browser.site import Site

Look = Callable[..., Page]
Keep = Callable[[Page, str], None]

AXE = {
    "resultTypes": ["violations"],
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
}


def fill(shop: Site) -> dict[str, str]:
    """Something of everything; the addresses of all pages, by name."""

    async def work() -> dict[str, str]:
        service = shop.service
        shop.broken = True
        failed = await service.schedule("SEND_EMAIL", {"to": "ada@example.com"}, tags=["welcome"])
        for number in range(6):
            await service.schedule("SHIP_ORDER", {"order": number, "lost": number % 2 == 0})
        await service.schedule("SHIP_ORDER", {"order": 99}, delay=3600, priority="high")
        asked = await service.schedule("APPROVE_ORDER", {"order": 8})
        running = await service.schedule("GENERATE_REPORT", {"years": [2025]}, queue="reports")
        async with service.workflow("order 4711") as flow:
            first = flow.add("SHIP_ORDER", {"order": 1})
            then = [flow.add("SHIP_ORDER", {"order": n}, after=first) for n in (2, 3)]
            flow.add("SHIP_ORDER", {"order": 4}, after=then)
        await service.cron("0 3 * * *", "GENERATE_REPORT", {"years": [2026]}, name="nightly")
        await service.every(3600, "SHIP_ORDER", {"order": 0}, name="sweep")
        await service.pause_queue("slow")
        await service.limit_queue("reports", 3)
        async with service.recorded("ada", "pause", "queue slow", detail={"why": "<b>slow</b>"}):
            pass
        await service.schedule("SHIP_ORDER", {"order": 7}, queue="slow")
        flow_id = (await service.get_workflows())[0].id
        return {
            "overview": "/",
            "overview-of-one": "/?last=24h&queue=reports&type=GENERATE_REPORT",
            "jobs": "/jobs",
            "jobs-failed": "/jobs?status=failed",
            "job-failed": f"/jobs/{failed}",
            "job-running": f"/jobs/{running}",
            "failures": "/failures",
            "queues": "/queues",
            "workers": "/workers",
            "schedules": "/schedules",
            "schedule": "/schedules/nightly",
            "workflows": "/workflows",
            "workflow": f"/workflows/{flow_id}",
            "bulk": "/bulk?status=failed&verb=retry",
            "bulk-moment": "/bulk?status=scheduled&verb=reschedule",
            "bulk-priority": "/bulk?status=scheduled&verb=reprioritize",
            "job-asked": f"/jobs/{asked}",
            "audit": "/audit",
        }

    shop.hold.clear()
    return shop.do(work())


@pytest.mark.parametrize(("dark", "width"), [(False, 1280), (True, 400)])
def test_every_page_can_be_read_by_everybody(
    shop: Site, look: Look, keep: Keep, dark: bool, width: int
) -> None:
    pages = fill(shop)
    page = look("/", width=width, dark=dark)
    told: list[str] = []
    for name, path in pages.items():
        page.goto(path)
        page.locator("#live").wait_for()
        for menu in page.locator("details.menu summary").all()[-1:]:
            menu.click()
        found = Axe().run(page, options=AXE).response["violations"]
        keep(page, f"{name}-{'dark' if dark else 'light'}-{width}")
        told += [
            f"{name}: {one['id']}: {node['html']}: {node['failureSummary']}"
            for one in found
            for node in one["nodes"]
        ]
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            told.append(f"{name}: wider than the screen")
        told += [f"{name}: {complaint}" for complaint in page.evaluate("window.complaints")]
    assert told == []


@pytest.mark.parametrize(("dark", "width"), [(False, 1280), (True, 400)])
def test_the_page_that_asks_can_be_read_by_everybody(
    shop: Site, look: Look, keep: Keep, dark: bool, width: int
) -> None:
    shop.do(shop.service.cron("0 3 1 1 *", "SHIP_ORDER", {"order": 1}, name="yearly"))
    page = look("/schedules/yearly", width=width, dark=dark)
    page.evaluate("document.querySelector('form[action$=delete]').submit()")  # As without scripts.
    page.get_by_role("heading", name="Delete the schedule yearly?").wait_for()
    assert Axe().run(page, options=AXE).response["violations"] == []
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
    keep(page, f"confirm-{'dark' if dark else 'light'}-{width}")
    page.get_by_role("link", name="Do nothing").click()
    page.get_by_role("heading", name="yearly").wait_for()


def test_a_phone_shows_a_table_of_queues_whole_and_buttons_of_one_height(
    shop: Site, look: Look
) -> None:
    pages = fill(shop)
    page = look("/", width=400)
    for waits in page.locator("td[data-label='Oldest waits']").all():
        box = waits.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= 400
    assert page.evaluate(
        "[...document.querySelectorAll('.scroll')]"
        ".every((one) => one.scrollWidth <= one.clientWidth)"
    )
    page.goto(pages["job-asked"])
    heights = page.evaluate(
        "[...document.querySelectorAll('.head .actions .button')]"
        ".filter((one) => one.checkVisibility())"
        ".map((one) => one.getBoundingClientRect().height)"
    )
    assert len(heights) >= 5
    assert len(set(heights)) == 1


def test_a_chart_without_scripts_has_numbers_moments_and_a_legend(
    browser: Browser, shop: Site
) -> None:
    fill(shop)
    context = browser.new_context(base_url=shop.url, java_script_enabled=False)
    page = context.new_page()

    def drawn() -> bool:
        page.goto("/")
        return page.locator("[aria-label='Completed a minute'] figure").count() > 0

    while not drawn():
        page.wait_for_timeout(500)
    chart = page.locator("[aria-label='Completed a minute'] .still")
    expect(chart.locator(".scale span").last).to_have_text("0")
    expect(chart.locator(".axis time")).to_have_count(2)
    expect(chart.locator(".keyed")).to_have_text("completed")
    context.close()


def test_pages_without_anything_say_what_to_type(shop: Site, look: Look, keep: Keep) -> None:
    page = look("/jobs")
    for path in ("/", "/jobs", "/queues", "/schedules", "/workflows"):
        page.goto(path)
        assert page.locator(".teach pre").first.is_visible(), path
        assert Axe().run(page, options=AXE).response["violations"] == []
    keep(page, "empty")
