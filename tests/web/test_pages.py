"""The dashboard's pages, as the server renders them."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from backroom import Cron, Job, JobService, JobStats
from backroom.web import Token, dashboard
from backroom.web.pages import rendering
from tests.web.conftest import client_of

Web = Callable[..., httpx.AsyncClient]
HOSTILE = "<script>alert(1)</script>\u202e\x1b[31m"


async def test_text_of_a_job_is_shown_and_never_part_of_the_page(
    service: JobService, web: Web
) -> None:
    job_id = await service.schedule("HELLO", {"text": HOSTILE}, tags=["<b>tag</b>"])
    pages = [(await web().get(path)).text for path in ("/jobs", f"/jobs/{job_id}")]
    for page in pages:
        assert "<b>tag" not in page
        assert "alert(1)</script>" not in page
        assert "\u202e" not in page
        assert "\x1b" not in page
    assert "\\u202e" in pages[1]


async def test_a_page_that_the_browser_has_is_not_sent_again(web: Web) -> None:
    client = web()
    first = await client.get("/jobs")
    again = await client.get("/jobs", headers={"If-None-Match": first.headers["etag"]})
    assert (first.status_code, again.status_code) == (200, 304)


async def test_nobody_who_looks_waits_for_a_template_to_be_compiled(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert rendering._templates.cache is not None
    rendering._templates.cache.clear()
    client = web()

    def compile_late(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("it was compiled for a request")

    monkeypatch.setattr(rendering._templates, "compile", compile_late)
    for path in ("/", "/jobs", "/queues", "/schedules", "/workers", "/failures", "/audit"):
        assert (await client.get(path)).status_code == 200


async def test_a_page_that_is_not_there_says_so_as_a_page(web: Web) -> None:
    answer = await web().get("/jobs/none-such")
    assert answer.status_code == 404
    assert "no job has the id" in answer.text
    assert answer.headers["content-type"].startswith("text/html")


async def test_no_file_but_those_of_the_dashboard_is_served(web: Web) -> None:
    client = web()
    assert (await client.get("/static/app.css")).status_code == 200
    for name in ("../app.py", "%2e%2e/app.py", "vendor/README.md", "app.css/"):
        assert (await client.get(f"/static/{name}")).status_code == 404


async def test_a_page_that_many_look_at_is_made_once(
    service: JobService, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, looks = web(), 0
    get_stats = service.get_stats

    async def counted() -> JobStats:
        nonlocal looks
        looks += 1
        return await get_stats()

    monkeypatch.setattr(service, "get_stats", counted)
    pages = await asyncio.gather(*(client.get("/queues") for _ in range(20)))
    assert {page.status_code for page in pages} == {200}
    assert looks == 1


async def test_nobody_is_shown_what_was_before_a_change_that_they_made(
    service: JobService, web: Web
) -> None:
    client = web()
    await service.schedule("HELLO", {})
    assert "Resume" not in (await client.get("/queues")).text
    same = {"Sec-Fetch-Site": "same-origin"}
    await client.post("/queues/default/pause", headers=same)
    assert "Resume" in (await client.get("/queues")).text


async def test_what_an_address_says_is_text_on_the_page(web: Web) -> None:
    page = (await web().get("/jobs", params={"tag": '"><b>bold</b>'})).text
    assert "<b>bold" not in page
    assert "&#34;&gt;&lt;b&gt;bold" in page


async def test_each_is_shown_a_page_as_who_they_are(service: JobService, web: Web) -> None:
    job_id = await service.schedule("HELLO", {"card": "4111"}, delay=60)
    admin, reader = Token.make("ada", "admin"), Token.make("bob", "read")
    client = web(auth=[admin.token, reader.token], hide_data_from="read")
    ada, bob = await asyncio.gather(
        *(
            client.get(f"/jobs/{job_id}", headers={"Authorization": f"Bearer {one.secret}"})
            for one in (admin, reader)
        )
    )
    assert "4111" in ada.text
    assert "Cancel" in ada.text
    assert bob.status_code == 200
    assert "4111" not in bob.text
    assert "Cancel" not in bob.text


async def test_selected_jobs_are_deleted_by_admins_alone(service: JobService, web: Web) -> None:
    job_id = await service.schedule("HELLO", {}, delay=60)
    admin, operator = Token.make("ada", "admin"), Token.make("bob", "operate")
    client = web(auth=[admin.token, operator.token])
    form = {"verb": "delete", "id": [job_id], "back": "/jobs?type=HELLO&path=x"}

    async def ask(secret: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {secret}"}
        return await client.post("/jobs/selected", data=form, headers=headers)

    assert (await ask(operator.secret)).status_code == 403
    assert (await service.get_job(job_id)).id == job_id
    done = await ask(admin.secret)
    assert done.headers["location"] == "/jobs?type=HELLO&path=x&did=selected-delete&changed=1"
    assert len(await service.get_jobs()) == 0


async def test_the_code_that_empty_pages_teach_is_code_that_runs(web: Web) -> None:
    for path in ("/", "/jobs", "/queues", "/schedules", "/workflows"):
        page = (await web().get(path)).text
        taught = re.findall(r'aria-label="Code to type"><code>(.*?)</code>', page, re.DOTALL)
        assert taught, path
        for code in map(html.unescape, taught):
            if code.startswith("backroom "):
                continue
            inside = "".join(f"    {line}\n" for line in code.splitlines())
            compile(f"async def taught():\n{inside}", path, "exec")


async def test_the_schedule_that_the_empty_page_teaches_can_be_made(web: Web) -> None:
    page = (await web().get("/schedules")).text
    (code,) = re.findall(r'aria-label="Code to type"><code>(.*?)</code>', page, re.DOTALL)
    taught = JobService("memory:")
    exec(html.unescape(code), {"service": taught, "Cron": Cron})
    async with taught:
        assert [one.rule for one in await taught.get_schedules()] == ["0 3 * * *"]


async def test_a_page_shows_the_end_of_a_long_log_and_says_where_the_rest_is(web: Web) -> None:
    service = JobService("memory:")

    @service.handler("LOG")
    async def log(job: Job[Any]) -> None:
        for number in range(300):
            job.log.info("%s %s", f"line-{number:03}", "\u202e\u202d" * 4000)

    async with service, client_of(dashboard(service)) as client:
        job_id = await service.schedule("LOG")
        await service.result(job_id, timeout=30)
        page = (await client.get(f"/jobs/{job_id}")).text
        assert re.findall(r"line-\d+", page) == [f"line-{number}" for number in range(100, 300)]
        assert len(page) < 2_500_000
        assert f'href="/api/v1/jobs/{job_id}"' in page
        whole = (await client.get(f"/api/v1/jobs/{job_id}")).json()
        assert len(whole["log"]) == 300


async def test_the_help_names_every_key(web: Web) -> None:
    page = (await web().get("/jobs")).text
    [keys] = re.findall(r'<dialog id="keys".*?</dialog>', page, re.DOTALL)
    named = set(re.findall(r"<kbd>([^<]+)</kbd>", keys))
    assert {"?", "/", "j", "k", "Enter", "x", "r", "c", "p", "A", "y", "Esc", "g"} <= named
