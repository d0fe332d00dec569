"""An operator's night: woken at three, one page tells what is wrong, and there it is mended."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.site import Site

Look = Callable[..., Page]
Keep = Callable[[Page, str], None]


def fail(shop: Site, jobs: int) -> list[str]:
    """Mails that the server does not take; their ids."""

    async def work() -> list[str]:
        shop.broken = True
        ids = [
            await shop.service.schedule("SEND_EMAIL", {"to": f"customer-{number}@example.com"})
            for number in range(jobs)
        ]
        for job_id in ids:
            await ended(shop, job_id)
        return list(ids)

    return shop.do(work())


async def ended(shop: Site, job_id: str) -> None:
    try:
        await shop.service.result(job_id)  # type: ignore[arg-type]
    except Exception:
        return


def listens(page: Page, path: str) -> None:
    """Waits until that page is there, and hears the keys."""
    page.wait_for_url(lambda url: path in url)
    page.locator("html[data-ready]").wait_for()


def test_a_night_with_the_pointer(shop: Site, look: Look, keep: Keep) -> None:
    page = look("/")
    # It is quiet; then jobs fail, and the page says so by itself.
    expect(page.locator("a.tile", has_text="Failed").locator("b")).to_have_text("0")
    ids = fail(shop, 7)
    expect(page.locator("a.tile", has_text="Failed").locator("b")).to_have_text("7")
    keep(page, "night-1-overview")

    # One is opened, and its traceback read.
    page.locator("a.tile", has_text="Failed").click()
    expect(page.locator("tbody tr")).to_have_count(7)
    page.locator("tbody tr a.name").first.click()
    expect(page.locator(".frames .ours .where").last).to_contain_text("connect")
    expect(page.locator(".frames .end").last).to_contain_text("ConnectionRefusedError")
    expect(page.locator("#data")).to_contain_text("customer-6@example.com")
    keep(page, "night-2-job")

    # The mail server is mended; this one is retried, and ends before one's eyes.
    shop.broken = False
    page.get_by_role("button", name="Retry").click()
    expect(page.locator("#flash")).to_contain_text("The job runs again")
    expect(page.locator("h1 .status")).to_have_text("completed")

    # Two that were chosen on the page.
    page.goto("/jobs?status=failed")
    expect(page.locator("tbody tr")).to_have_count(6)
    page.locator("tbody input").nth(0).check()
    page.locator("tbody input").nth(1).check()
    expect(page.locator("#chosen")).to_contain_text("2 selected")
    keep(page, "night-3-selected")
    page.locator("#chosen").get_by_role("button", name="Retry").click()
    expect(page.locator("#flash")).to_contain_text("Selected jobs that run again: 2")

    # And the rest of the group, by what failed it.
    page.get_by_role("link", name="Failures").first.click()
    group = page.locator("tbody tr", has_text="ConnectionRefusedError")
    expect(group.locator("td[data-label=Jobs]")).to_have_text("4")
    keep(page, "night-4-failures")
    group.get_by_role("link", name="Retry all").click()
    expect(page.locator("main")).to_contain_text("Retry 4 jobs with")
    page.get_by_role("button", name="Retry all").click()
    expect(page.locator("h1 .status")).to_have_text("done")
    expect(page.locator("main")).to_contain_text("4 of 4 changed")
    keep(page, "night-5-retried")
    page.get_by_role("link", name="Failures").first.click()
    expect(page.locator("h2", has_text="Nothing has failed")).to_be_visible()
    statuses = [shop.do(shop.service.get_job_status(job_id)) for job_id in ids]
    assert statuses == ["completed"] * 7


def test_a_queue_is_paused_and_goes_on(shop: Site, look: Look) -> None:
    shop.do(shop.service.schedule("SHIP_ORDER", {"order": 1}, queue="orders"))
    page = look("/queues")
    row = page.locator("tbody tr", has_text="orders")
    row.get_by_role("button", name="Pause the queue orders").click()
    expect(row.locator(".status")).to_have_text("paused")
    expect(page.locator("#flash")).to_contain_text("The queue is paused")
    shop.do(shop.service.schedule("SHIP_ORDER", {"order": 2}, queue="orders"))
    expect(row.locator("td[data-label=Pending]")).to_have_text("1")
    row.get_by_role("button", name="Resume the queue orders").click()
    expect(row.locator(".status")).to_have_text("running")
    expect(row.locator("td[data-label=Pending]")).to_have_text("0")


def test_a_schedule_is_run_now(shop: Site, look: Look) -> None:
    shop.do(shop.service.cron("0 3 1 1 *", "SHIP_ORDER", {"order": 1}, name="yearly"))
    page = look("/schedules")
    expect(page.locator("tbody tr")).to_contain_text("03:00")
    page.get_by_role("button", name="Run now: yearly").click()
    expect(page.locator("h1")).to_contain_text("SHIP_ORDER")
    expect(page.locator("#flash")).to_contain_text("A job of the schedule was made")
    expect(page.locator("h1 .status")).to_have_text("completed")


def test_a_night_by_keyboard_alone_in_the_dark_on_a_phone(
    shop: Site, look: Look, keep: Keep
) -> None:
    ids = fail(shop, 3)
    shop.do(shop.service.schedule("SHIP_ORDER", {"order": 1}, queue="orders"))
    page = look("/", width=400, dark=True)
    listens(page, "/")
    keys = page.keyboard
    keys.press("?")
    expect(page.locator("#keys")).to_be_visible()
    keys.press("Escape")
    keys.press("g")
    keys.press("j")
    listens(page, "/jobs")
    expect(page.locator("tbody tr")).to_have_count(4)
    # The newest mail is the second row.
    keys.press("j")
    keys.press("j")
    expect(page.locator("tr[data-row] a.name")).to_have_text("SEND_EMAIL")
    keep(page, "night-keyboard-jobs")
    keys.press("Enter")
    listens(page, ids[-1])
    expect(page.locator(".frames .end").last).to_contain_text("ConnectionRefusedError")
    keep(page, "night-keyboard-job")
    shop.broken = False
    keys.press("r")
    expect(page.locator("h1 .status")).to_have_text("completed")
    assert shop.do(shop.service.get_job_status(ids[-1])) == "completed"
    # The others of its kind: all that failed, and yes.
    page.goto("/jobs?status=failed")
    listens(page, "/jobs?")
    keys.press("A")
    listens(page, "/bulk")
    expect(page.locator("main")).to_contain_text("Retry 2 jobs with")
    keys.press("y")
    expect(page.locator("h1 .status")).to_have_text("done")
    listens(page, "/operations/")
    # The search is a key away, and so is what was found.
    keys.press("g")
    keys.press("j")
    listens(page, "/jobs")
    keys.press("/")
    keys.type("SEND_EMAIL")
    keys.press("Enter")
    listens(page, "/jobs?")
    expect(page.locator("tbody tr")).to_have_count(3)
    keys.press("g")
    keys.press("q")
    listens(page, "/queues")
    keys.press("j")
    keys.press("p")
    expect(page.locator("tbody tr").first.locator(".status")).to_have_text("paused")
    keys.press("p")
    expect(page.locator("tbody tr").first.locator(".status")).to_have_text("running")


def test_a_key_does_nothing_to_a_row_that_nobody_has_chosen(shop: Site, look: Look) -> None:
    shop.do(shop.service.cron("0 3 1 1 *", "SHIP_ORDER", {"order": 1}, name="yearly"))
    page = look("/schedules")
    listens(page, "/schedules")
    page.keyboard.press("r")
    expect(page.locator("#flash")).to_have_text("Choose a row with j or k first.")
    page.keyboard.press("p")
    page.keyboard.press("j")
    expect(page.locator("#flash .note")).to_have_count(0)
    page.keyboard.press("p")
    # The first keys have done nothing, or it would go on now.
    expect(page.locator("tbody .status")).to_have_text("paused")
    assert len(shop.do(shop.service.get_jobs())) == 0


def test_a_key_of_the_page_does_nothing_to_it_while_one_stands_in_a_row(
    shop: Site, look: Look
) -> None:
    """Whoever stands in a row means that row: here a job of a workflow, and not all of them."""

    async def begin() -> str:
        async with shop.service.workflow("late") as flow:
            flow.add("SHIP_ORDER", {"order": 1, "lost": True})
        await shop.service.wait_for_workflow(flow.id, timeout=30)
        return flow.id

    flow_id = shop.do(begin())
    page = look(f"/workflows/{flow_id}")
    listens(page, flow_id)
    page.keyboard.press("j")
    expect(page.locator("tr[data-row]")).to_have_count(1)
    page.keyboard.press("r")
    expect(page.locator("#flash")).to_contain_text("Esc leaves the rows")
    [job] = shop.do(shop.service.get_jobs())
    assert job.status == "failed"
    page.keyboard.press("Escape")
    page.keyboard.press("r")
    expect(page.locator("#flash .good")).to_be_visible()


def test_log_and_progress_come_while_the_job_runs(shop: Site, look: Look, keep: Keep) -> None:
    shop.hold.clear()
    job_id = shop.do(shop.service.schedule("GENERATE_REPORT", {"years": [2026]}))
    page = look(f"/jobs/{job_id}")
    expect(page.locator(".log li")).to_have_count(1)
    expect(page.locator("progress")).to_have_attribute("value", "0.4")
    keep(page, "running")
    shop.hold.set()
    expect(page.locator(".log li")).to_have_count(2)
    expect(page.locator("h1 .status")).to_have_text("completed")
    # Numbers are exact, also where a browser's own would not be.
    expect(page.locator("#result")).to_contain_text(str(2**70))


def test_what_somebody_does_on_a_page_outlives_its_updates(shop: Site, look: Look) -> None:
    ids = fail(shop, 3)
    page = look("/jobs?status=failed")
    box = page.locator(f"tr[data-key='{ids[0]}'] input")
    box.check()
    page.locator("#f-tag").fill("half writ")
    page.locator("#f-tag").focus()
    fail(shop, 1)
    # The page has had news: the count beside the status says so.
    expect(page.locator(".tabs a", has_text="Failed").locator(".badge")).to_have_text("4")
    expect(box).to_be_checked()
    expect(page.locator("#f-tag")).to_have_value("half writ")
    expect(page.locator("#f-tag")).to_be_focused()
    # No row came or went under the one that was chosen; that there are more is told.
    expect(page.locator("tbody tr")).to_have_count(3)
    expect(page.locator("#held")).to_contain_text("1 more")
    box.uncheck()
    page.locator("#f-tag").focus()
    page.locator("h1").hover()
    expect(page.locator("tbody tr")).to_have_count(4)


def test_a_hidden_tab_rests_and_has_the_news_once_it_is_seen(shop: Site, look: Look) -> None:
    hidden, seen = look("/"), look("/")
    hidden.locator("html[data-ready]").wait_for()
    hide = """(on) => {
        Object.defineProperty(document, "hidden", { configurable: true, get: () => on });
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    hidden.evaluate(hide, True)
    expect(hidden.locator("#live-light")).to_have_text("Resting")
    asked: list[str] = []
    hidden.on("request", lambda request: asked.append(request.url))
    fail(shop, 2)
    expect(seen.locator("a.tile", has_text="Failed").locator("b")).to_have_text("2")
    fail(shop, 1)
    expect(seen.locator("a.tile", has_text="Failed").locator("b")).to_have_text("3")
    assert hidden.locator("a.tile", has_text="Failed").locator("b").inner_text() == "0"
    assert asked == []
    hidden.evaluate(hide, False)
    expect(hidden.locator("a.tile", has_text="Failed").locator("b")).to_have_text("3")


def test_open_details_stay_open(shop: Site, look: Look) -> None:
    ids = fail(shop, 1)
    page = look(f"/jobs/{ids[0]}")
    page.locator("summary", has_text="As Python wrote it").click()
    expect(page.locator("#traceback")).to_be_visible()
    page.evaluate("getSelection().selectAllChildren(document.getElementById('traceback'))")
    said = page.evaluate("getSelection().toString()")
    with page.expect_response(lambda answer: answer.url.endswith(ids[0])):
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator("#traceback")).to_be_visible()
    assert page.evaluate("getSelection().toString()") == said
    assert "ConnectionRefusedError" in said


def test_a_page_works_without_any_script(shop: Site, look: Look) -> None:
    ids = fail(shop, 2)
    shop.broken = False
    context = look("/").context.browser.new_context(  # type: ignore[union-attr]
        base_url=shop.url, java_script_enabled=False
    )
    page = context.new_page()
    page.goto("/jobs?status=failed")
    page.locator("tbody tr a.name").first.click()
    page.get_by_role("button", name="Retry").click()
    expect(page.locator("#flash")).to_contain_text("The job runs again")
    shop.do(ended(shop, ids[1]))
    page.goto("/jobs?status=failed")
    expect(page.locator("tbody tr")).to_have_count(1)
    context.close()


def test_a_theme_that_was_chosen_is_kept(shop: Site, look: Look) -> None:
    page = look("/", dark=True)
    paper = "getComputedStyle(document.body.parentElement).backgroundColor"
    dark = page.evaluate(paper)
    page.get_by_label("Theme").select_option("light")
    light = page.evaluate(paper)
    assert light != dark
    page.goto("/queues")
    assert page.evaluate(paper) == light
    page.get_by_label("Theme").select_option("auto")
    assert page.evaluate(paper) == dark
