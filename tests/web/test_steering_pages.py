"""Jobs changed from the pages: many at once, by a signal, and nothing forgotten unasked."""

from __future__ import annotations

import asyncio
import html
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from backroom import Job, JobNotFoundError, JobService, JobStatus
from backroom.errors import ScheduleNotFoundError
from backroom.figure import Figures
from backroom.job import SECOND
from backroom.web import Token

Web = Callable[..., httpx.AsyncClient]
SAME = {"Sec-Fetch-Site": "same-origin"}


async def ended(client: httpx.AsyncClient, begun: httpx.Response) -> dict[str, Any]:
    """The operation that a form has begun, at its end."""
    assert begun.status_code == 303, begun.text
    while True:
        operation: dict[str, Any] = (await client.get(f"/api/v1{begun.headers['location']}")).json()
        if operation["state"] != "running":
            return operation
        await asyncio.sleep(0)


# -- many at once ----------------------------------------------------------------------------------


async def test_all_that_match_and_wait_get_another_moment(service: JobService, web: Web) -> None:
    client = web()
    ids = [await service.schedule("HELLO", {}, delay=3600, tags=["a"]) for _ in range(3)]
    other = await service.schedule("HELLO", {}, delay=3600)
    page = (await client.get("/bulk?verb=reschedule&tag=a")).text
    assert '<b class="num">3</b> jobs' in page
    form = {"verb": "reschedule", "tag": "a", "delay": "60", "run_at": ""}
    operation = await ended(client, await client.post("/bulk", data=form, headers=SAME))
    assert (operation["state"], operation["changed"]) == ("done", 3)
    near = [(await service.get_job(one)).run_at for one in ids]
    assert max(near) < (await service.get_job(other)).run_at
    form = {"verb": "reschedule", "tag": "a", "delay": "", "run_at": "2040-01-31T03:00Z"}
    await ended(client, await client.post("/bulk", data=form, headers=SAME))
    assert {str((await service.get_job(one)).run_at) for one in ids} == {
        "2040-01-31 03:00:00+00:00"
    }
    actions = [one.verb for one in await service.get_actions()]
    assert actions == ["reschedule all", "reschedule all"]


async def test_all_that_match_and_wait_get_another_priority(service: JobService, web: Web) -> None:
    client = web()
    ids = [await service.schedule("HELLO", {}, delay=3600, priority="low") for _ in range(3)]
    page = (await client.get("/bulk?verb=reprioritize&priority=low")).text
    assert 'name="to_priority"' in page
    form = {"verb": "reprioritize", "priority": "low", "to_priority": "critical"}
    begun = await client.post("/bulk", data=form, headers=SAME)
    assert (await ended(client, begun))["changed"] == 3
    assert {(await service.get_job(one)).priority for one in ids} == {"critical"}
    assert "Change the priority of all" in (await client.get(begun.headers["location"])).text


def typed(page: str, name: str) -> str:
    """What stands in that field of a form."""
    [found] = re.findall(rf'name="{name}"[^>]* value="([^"]*)"', page)
    return html.unescape(found)


@pytest.mark.parametrize(
    ("delay", "run_at", "said"),
    [
        ("", "", "say run_at or delay"),
        ("", "tomorrow", "run_at: "),
        ("soon", "", "delay: "),
        ("-1", "", "delay: "),
        ("5", "2040-01-31T03:00Z", "one of them"),
    ],
)
async def test_a_form_that_is_refused_comes_back_as_it_was_typed(
    service: JobService, web: Web, delay: str, run_at: str, said: str
) -> None:
    job_id = await service.schedule("HELLO", {}, delay=3600, tags=["a"])
    due = (await service.get_job(job_id)).run_at
    since = "2020-01-31T03:00:00.000Z"
    form = {
        "verb": "reschedule", "type": "HELLO", "status": "scheduled", "tag": "a", "since": since,
        "delay": delay, "run_at": run_at,
    }  # fmt: skip
    refused = await web().post("/bulk", data=form, headers=SAME)
    assert refused.status_code == 422
    [flash] = re.findall(r'<p class="note bad">(.*?)</p>', refused.text)
    assert said in html.unescape(flash)
    assert "Reschedule <b" in refused.text
    for name in ("delay", "run_at", "type", "tag", "status", "since"):
        assert typed(refused.text, name) == form[name]
    # Its address is one that cannot be looked at.
    assert "data-events" not in refused.text
    assert (await service.get_job(job_id)).run_at == due


async def test_a_change_of_many_that_was_mended_is_done(service: JobService, web: Web) -> None:
    job_id = await service.schedule("HELLO", {}, delay=3600)
    form = {
        "verb": "reschedule", "type": "HELLO", "status": "scheduled", "delay": "",
        "since": "2020-01-31T03:00Z", "run_at": "2040-01-31T03:00Z",
    }  # fmt: skip
    client = web()
    begun = await client.post("/bulk", data=form, headers=SAME)
    assert (await ended(client, begun))["changed"] == 1
    assert str((await service.get_job(job_id)).run_at) == "2040-01-31 03:00:00+00:00"


async def test_a_page_that_refuses_is_looked_at_again_where_that_may_help_alone(web: Web) -> None:
    client = web()
    for path in ("/bulk?verb=cancel", "/jobs?status=none", "/jobs/none-such"):
        assert "data-events" not in (await client.get(path)).text, path
    lost = await client.post("/queues/none/limit", data={"most": "x"}, headers=SAME)
    assert lost.status_code in (400, 422)
    assert "data-events" not in lost.text


@pytest.mark.parametrize(
    ("query", "verbs"),
    [
        ("", []),
        ("status=scheduled", ["cancel", "reschedule", "reprioritize"]),
        ("tag=a", ["cancel", "reschedule", "reprioritize"]),
        ("status=active", ["cancel"]),
        ("status=failed", ["retry", "delete"]),
    ],
)
async def test_a_list_offers_what_makes_sense_with_its_jobs(
    web: Web, query: str, verbs: list[str]
) -> None:
    page = (await web().get(f"/jobs?{query}")).text
    assert re.findall(r"/bulk\?[^\"]*verb=(\w+)", page) == verbs


# -- signals ---------------------------------------------------------------------------------------


async def waits_for_a_signal(service: JobService) -> str:
    """A job whose handler has been put aside until it is approved."""

    @service.handler("APPROVE")
    async def approve(job: Job[dict[str, Any]]) -> Any:
        return await job.wait_for("approved")

    job_id = await service.schedule("APPROVE", {})
    await service.start()
    while (await service.get_job(job_id)).waits_for is None:
        await asyncio.sleep(0.005)
    return job_id


async def test_a_job_that_waits_for_a_signal_is_sent_one_from_its_page(
    service: JobService, web: Web
) -> None:
    job_id, client = await waits_for_a_signal(service), web()
    page = (await client.get(f"/jobs/{job_id}")).text
    assert f'action="/jobs/{job_id}/signal"' in page
    assert 'value="approved"' in page
    form = {"name": "approved", "value": '{"by": "ada"}'}
    sent = await client.post(f"/jobs/{job_id}/signal", data=form, headers=SAME)
    assert sent.headers["location"] == f"/jobs/{job_id}?did=signalled"
    assert await service.result(job_id, timeout=30) == {"by": "ada"}  # type: ignore[arg-type]
    [action] = await service.get_actions()
    assert (action.verb, action.target, action.detail) == ("signal", job_id, {"name": "approved"})
    assert "/signal" not in (await client.get(f"/jobs/{job_id}")).text


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("{by: ada}", "the value is no JSON"),
        ('{"a":1,"a":2}', "stands twice"),
        ("[" * 101 + "]" * 101, "nested more than 100 deep"),
    ],
)
async def test_a_value_that_is_no_json_is_refused_and_not_sent(
    service: JobService, web: Web, value: str, said: str
) -> None:
    job_id = await service.schedule("HELLO", {}, delay=3600)
    form = {"name": "approved", "value": value}
    refused = await web().post(f"/jobs/{job_id}/signal", data=form, headers=SAME)
    assert refused.status_code == 422
    assert said in refused.text
    assert typed(refused.text, "name") == "approved"
    [text] = re.findall(r'name="value"[^>]*>([^<]*)<', refused.text)
    assert html.unescape(text) == value
    assert '<details class="menu" open>' in refused.text
    assert "data-events" not in refused.text
    assert (await service.get_job(job_id)).signals == ()


async def test_a_signal_without_a_value_is_null_and_readers_send_none(
    service: JobService, web: Web
) -> None:
    job_id = await service.schedule("HELLO", {}, delay=3600)
    operator, reader = Token.make("ada", "operate"), Token.make("bob", "read")
    client = web(auth=[operator.token, reader.token])

    async def send(secret: str) -> int:
        headers = {"Authorization": f"Bearer {secret}"}
        form = {"name": "approved", "value": ""}
        return (await client.post(f"/jobs/{job_id}/signal", data=form, headers=headers)).status_code

    assert await send(reader.secret) == 403
    assert (await service.get_job(job_id)).signals == ()
    assert await send(operator.secret) == 303
    [signal] = (await service.get_job(job_id)).signals
    assert (signal.name, signal.value) == ("approved", None)


async def test_a_delay_that_is_refused_comes_back_as_it_was_typed(
    service: JobService, web: Web
) -> None:
    job_id = await service.schedule("HELLO", {}, delay=3600)
    for delay in ("", "soon", "-1"):
        form = {"delay": delay}
        refused = await web().post(f"/jobs/{job_id}/reschedule", data=form, headers=SAME)
        assert refused.status_code == 422
        assert typed(refused.text, "delay") == delay
        assert "delay" in refused.text
        assert "data-events" not in refused.text


# -- asked before anything is forgotten ------------------------------------------------------------


async def test_a_job_is_deleted_once_that_was_confirmed(service: JobService, web: Web) -> None:
    client, job_id = web(), await service.schedule("HELLO", {}, delay=3600)
    path = f"/jobs/{job_id}/delete"
    asks = await client.post(path, headers=SAME)
    assert asks.status_code == 200
    assert "Delete this job of the type HELLO?" in asks.text
    assert f'action="{path}"' in asks.text
    assert await service.get_job_status(job_id) == JobStatus.SCHEDULED
    said = dict(re.findall(r'type="hidden" name="(\w+)" value="(\w+)"', asks.text))
    done = await client.post(path, data=said, headers=SAME)
    assert done.headers["location"] == "/jobs?did=deleted"
    with pytest.raises(JobNotFoundError):
        await service.get_job(job_id)


async def test_a_schedule_is_deleted_once_that_was_confirmed(service: JobService, web: Web) -> None:
    client = web()
    await service.cron("0 3 * * *", "HELLO", {}, name="a/b <c>")
    path = "/schedules/a%2Fb%20%3Cc%3E/delete"
    asks = await client.post(path, headers=SAME)
    assert "Delete the schedule a/b &lt;c&gt;?" in asks.text
    assert (await service.get_schedule("a/b <c>")).name == "a/b <c>"
    [action] = re.findall(r'<form method="post" action="([^"]+)" class="actions"', asks.text)
    done = await client.post(action, data={"confirmed": "true"}, headers=SAME)
    assert done.headers["location"] == "/schedules?did=schedule-deleted"
    with pytest.raises(ScheduleNotFoundError):
        await service.get_schedule("a/b <c>")


@pytest.mark.parametrize(
    "at", ["2040-01-31T03:00Z", "2040-01-31T03:00:00Z", "2040-01-31T04:00+01:00"]
)
async def test_a_moment_is_taken_as_the_pages_teach_it(
    service: JobService, web: Web, at: str
) -> None:
    await service.schedule("HELLO", {})
    client = web()
    for path in ("/jobs", "/api/v1/jobs"):
        assert (await client.get(path, params={"until": at})).status_code == 200
    counted = await client.get("/api/v1/jobs/count", params={"until": at})
    assert counted.json() == {"jobs": 1, "exact": True}
    # A text that looks like one is left as it was said.
    listed = await client.get("/jobs", params={"tag": "2040-01-31T03:00Z"})
    assert 'value="2040-01-31T03:00Z"' in listed.text


# -- searching -------------------------------------------------------------------------------------


async def test_a_search_says_what_it_looks_in(service: JobService, web: Web) -> None:
    def placeholder(page: str, name: str) -> str:
        [found] = re.findall(rf'name="{name}"[^>]* placeholder="([^"]*)"', page)
        return str(found)

    page = (await web().get("/jobs")).text
    assert placeholder(page, "text") == "in ids, types, data, tags, errors"
    page = (await web(redact=lambda info: info).get("/jobs")).text
    assert placeholder(page, "text") == "in ids and types"
    page = (await web(hide_data_from="admin").get("/jobs")).text
    assert 'name="text"' not in page
    assert placeholder(page, "type") == "texts in data are hidden from you"


# -- figures over time -----------------------------------------------------------------------------


async def test_the_figures_of_the_overview_are_of_the_queue_and_type_that_its_address_names(
    service: JobService, web: Web
) -> None:
    now = int(datetime.now(UTC).timestamp()) * SECOND
    told = [
        Figures("mail", "SEND", now, completed=7, waits={80: 7}, runs={84: 7}),
        Figures("mail", "DRAW", now, completed=2, waits={20: 2}, runs={24: 2}),
        Figures("slow", "DRAW", now, completed=1, waits={20: 1}, runs={24: 1}),
    ]
    await service.storage.tell(None, 1, None, told)  # type: ignore[attr-defined]
    await service.schedule("HELLO", {}, queue="mail")
    await service.schedule("HELLO", {}, queue="slow")
    await service.storage.sample(round(datetime.now(UTC).timestamp() * SECOND))  # type: ignore[attr-defined]
    client = web()

    async def of(query: str) -> dict[str, tuple[str, list[str]]]:
        """By the title of a chart: what sums it up, and its lines."""
        page = (await client.get(f"/?{query}")).text
        summaries = re.findall(r'<h2>([^<]+)</h2><span class="sum">([^<]*)</span>', page)
        drawn = [
            json.loads(html.unescape(one)) for one in re.findall(r'data-chart="([^"]+)"', page)
        ]
        lines = {one["title"]: [line["label"] for line in one["series"]] for one in drawn}
        return {title: (sums, lines.get(title, [])) for title, sums in summaries}

    for query, completed, depths in (
        ("", 10, ["mail", "slow"]), ("queue=mail", 9, ["mail"]), ("type=DRAW", 3, ["mail", "slow"]),
        ("queue=mail&type=DRAW", 2, ["mail"]), ("queue=none", 0, []),
    ):  # fmt: skip
        charts = await of(query)
        rate = f", at a rate of up to {6 * completed} a minute" if completed else ""
        assert charts["Completed a minute"][0] == f"{completed} in all{rate}", query
        assert charts["Depth of the queues"][1] == depths, query
        assert ("whatever their type" in charts["Depth of the queues"][0]) == ("type" in query)
    assert (await of("queue=mail"))["Waiting time"][0] != (await of("queue=slow"))["Waiting time"][
        0
    ]
    assert (await of("queue=slow"))["Running time"][1] == ["p50", "p95", "p99"]

    page = (await client.get("/?last=24h&queue=mail&type=%3Cb%3E")).text
    assert re.findall(r'href="/\?([^"]*last=[^"]*)"', page) == [
        "queue=mail&amp;type=%3Cb%3E&amp;last=1h", "queue=mail&amp;type=%3Cb%3E&amp;last=24h",
        "queue=mail&amp;type=%3Cb%3E&amp;last=7d", "last=24h",
    ]  # fmt: skip
    assert 'name="queue" type="text" value="mail"' in page
    assert (await client.get("/?queue=" + "x" * 201)).status_code == 400


async def test_an_overview_of_what_is_not_there_says_so(service: JobService, web: Web) -> None:
    await service.schedule("HELLO", {}, queue="mail")
    client = web()
    page = (await client.get("/?queue=nosuch")).text
    assert "There is no queue nosuch. Nothing was counted of it in this time." in page
    # Nothing waited there, whatever ran.
    for title in ("Depth of the queues", "Oldest waiting job"):
        [said] = re.findall(rf'aria-label="{title}">.*?<p class="quiet">([^<]*)</p>', page, re.S)
        assert said == "No job waited in this time."
    page = (await client.get("/?type=NOSUCH")).text
    assert "No job type NOSUCH is known here. Nothing was counted of it" in page
    for query in ("", "queue=mail", "type=HELLO"):
        assert "Nothing was counted of it" not in (await client.get(f"/?{query}")).text, query


# -- ours ------------------------------------------------------------------------------------------


async def test_every_page_says_that_it_is_of_the_dashboard(service: JobService, web: Web) -> None:
    client = web()
    for path in ("/", "/jobs", "/jobs/none-such", "/no-such-page"):
        assert (await client.get(path)).headers["backroom-page"] == "1", path
    again = await client.get(
        "/", headers={"If-None-Match": (await client.get("/")).headers["etag"]}
    )
    assert (again.status_code, again.headers["backroom-page"]) == (304, "1")
