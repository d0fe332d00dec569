"""Text that wants to be more than text, in every field that a job has: it is shown, and does
nothing."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

from backroom import JobService
from tests.browser.site import Site

Look = Callable[..., Page]

CORPUS = (
    '"><script>alert(1)</script>',
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "';alert(1)//",
    "</title></textarea></script><script>alert(1)</script>",
    '" onfocus="alert(1)" autofocus tabindex=1 x="',
    "javascript:alert(1)",
    "{{ 7*7 }}{% raw %}${7*7}",
    "'; DROP TABLE job; --",
    "\u202eevil\u2066\u200b\ufeff",
    "\x1b[2J\x1b]0;title\x07\x00\x7f\x9b31m",
    "%0d%0aSet-Cookie:x=1",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "\ud83d\udc69\u200d\U0001f680 👩‍🚀",
)


def printable(text: str) -> str:
    """What tags, queues and the like may be of it."""
    return "".join(letter for letter in text if letter.isprintable()).strip()[:90] or "x"


async def spread(service: JobService) -> list[str]:
    """The corpus in every field that takes it; the ids of the jobs."""
    ids: list[str] = []
    for number, text in enumerate(CORPUS):
        text = text.encode("utf-8", "replace").decode()
        name = printable(text)
        ids.append(
            await service.schedule(
                "REPEAT", {"text": text, text: number},
                queue="hostile", tags=[name], unique_key=f"{number}{name}",
                metadata={text: text}, delay=3600 if number % 5 == 4 else 0,
            )
        )  # fmt: skip
    return ids


def test_no_text_of_a_job_does_anything(shop: Site, look: Look) -> None:
    @shop.service.handler("REPEAT", retries=0)
    async def repeat(job) -> object:  # type: ignore[no-untyped-def]
        text = job.data["text"]
        job.log.info(text)
        job.log.warning("%s", text)
        job.progress(0.5, text)
        if job.data.get("fail", True) and len(text) % 2:
            raise type("Error<script>alert(1)</script>", (ValueError,), {})(text)
        return {"text": text, text: text}

    async def work() -> list[str]:
        ids = await spread(shop.service)
        for name in ("<b>nightly</b>", "a/b?c#d"):
            await shop.service.cron("0 3 * * *", "REPEAT", {"text": CORPUS[0]}, name=name)
        async with shop.service.workflow(CORPUS[0]) as flow:
            flow.add("REPEAT", {"text": CORPUS[1]})
        return ids

    ids = shop.do(work())
    page = look("/")
    flow = shop.do(shop.service.get_workflows())[0].id
    paths = [
        "/", "/jobs", "/jobs?queue=hostile", "/failures", "/queues", "/workers", "/schedules",
        "/schedules/%3Cb%3Enightly%3C%2Fb%3E", "/schedules/a%2Fb%3Fc%23d", "/workflows",
        f"/workflows/{flow}", *(f"/jobs/{job_id}" for job_id in ids),
    ]  # fmt: skip
    for path in paths:
        page.goto(path)
        page.locator("html[data-ready]").wait_for()
        # Nothing of it became an element, an attribute that acts, or a link that runs.
        found = page.evaluate(
            """() => [...document.querySelectorAll("*")].filter((element) =>
                [...element.attributes].some(({ name, value }) =>
                    name.startsWith("on") || /^\\s*javascript:/i.test(value) && name === "href")
                || (element.matches("script") && !element.src)
                || element.matches("main img, main iframe, main object, main b script"))
              .map((element) => element.outerHTML)"""
        )
        assert found == [], path
        assert "49" not in page.locator("main h1").inner_text()
        assert (
            page.evaluate("/[\\u202e\\u2066\\u200b\\x1b]/.test(document.body.innerText)") is False
        )
    # What it is can be read.
    page.goto("/jobs?queue=hostile")
    expect(page.locator("main")).to_contain_text("<img src=x onerror=alert(1)>")
    page.goto(f"/jobs/{ids[9]}")
    expect(page.locator("#data")).to_contain_text("\\u202e")


def test_what_an_address_says_is_not_believed(shop: Site, look: Look) -> None:
    page = look("/")
    for path in (
        "/jobs?type=%3Cscript%3Ealert(1)%3C/script%3E",
        "/jobs?tag=%22onfocus%3Dalert(1)",
        "/?did=%3Cscript%3E",
    ):
        page.goto(path)
        page.locator("html[data-ready]").wait_for()
        assert page.locator("#flash").inner_text() == ""
        assert page.locator("script:not([src])").count() == 0
