"""Whatever is said that makes no sense: told what, where and the mend; nothing was changed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from backroom import JobService
from backroom.web.problem import Problem
from backroom.web.reading import read_json

Web = Callable[..., httpx.AsyncClient]
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("query", "status", "at", "said"),
    [
        (
            "status=waiting",
            400,
            "query.status",
            "'waiting'; there are: scheduled, ",
        ),
        ("limit=0", 400, "query.limit", ">= 1"),
        ("limit=1001", 400, "query.limit", "<= 1000"),
        ("limit=ten", 400, "query.limit", "int"),
        ("cursor=nonsense", 422, "query.cursor", "no cursor of this list"),
        ("cursor=%00", 422, "query.cursor", "cursor"),
        ("nothing=1", 400, "query.nothing", "there is no nothing; there are: status"),
        ("status=failed&status=failed", 400, "query.status", "said twice"),
        ("tag=%ff%fe", 400, "query", "percent-encoded UTF-8"),
        ("queue=%0a", 422, "query.queue", "printable"),
        ("type=%E2%80%AE", 422, "query.type", "printable"),
        ("tag=" + "x" * 501, 400, "query.tag", "<= 500"),
        (
            "since=0001-01-01T00:00:00%2B14:00",
            400,
            "query.since",
            "between the years 1970 and 9998",
        ),
        ("until=9999-12-31T23:59:59-14:00", 400, "query.until", "between the years 1970 and 9998"),
        ("a=1&" * 3000, 414, "query", "8,192"),
    ],
)
async def test_a_filter_that_makes_no_sense(
    query: str, status: int, at: str | None, said: str, web: Web
) -> None:
    answer = await web().get(f"/api/v1/jobs?{query}")
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["status"], problem.get("at")) == (status, at)
    assert said in problem["detail"]


@pytest.mark.parametrize("path", ["/jobs", "/bulk"])
@pytest.mark.parametrize(
    "moment", ["0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59-14:00", "1969-12-31T23:59:59Z"]
)
async def test_a_page_for_a_moment_that_cannot_be(path: str, moment: str, web: Web) -> None:
    verb = "verb=retry&" if path == "/bulk" else ""
    answer = await web().get(f"{path}?{verb}since={moment}")
    assert (answer.status_code, "between the years 1970 and 9998" in answer.text) == (400, True)


@pytest.mark.parametrize(
    ("body", "status", "at", "said"),
    [
        (b"", 422, "body", "type"),
        (b"{", 400, "body", "no JSON"),
        (b"nonsense", 400, "body", "no JSON"),
        (b"[]", 422, "body", "Expected object"),
        (b"null", 422, "body", "Expected object"),
        (b'"HELLO"', 422, "body", "Expected object"),
        (b'{"type": "HELLO", "data": {"n": NaN}}', 400, "body", "NaN"),
        (b'{"type": "HELLO", "data": {"n": 1e999}}', 400, "body", "out of range"),
        (b'{"type": "HELLO", "type": "HELLO"}', 400, "body", "'type' stands twice"),
        (b'{"type": "HELLO", "data": {"a": 1, "a": 2}}', 400, "body", "'a' stands twice"),
        (b'{"type": "HELLO", "colour": "red"}', 422, "body.colour", "there is no colour"),
        (b'{"type": 7}', 422, "body.type", "Expected str"),
        (b'{"type": ""}', 422, "body.type", "length >= 1"),
        (b'{"type": "NOBODY_KNOWS"}', 422, "body.type", "NOBODY_KNOWS"),
        (b'{"type": "HELLO", "data": []}', 422, "body.data", "Expected object"),
        (b'{"type": "HELLO", "delay": -1}', 422, "body.delay", ">= 0"),
        (b'{"type": "HELLO", "delay": 1e300}', 422, "body.delay", "delay must be"),
        (b'{"type": "HELLO", "run_at": "tomorrow"}', 422, "body.run_at", "RFC3339"),
        (b'{"type": "HELLO", "run_at": "2030-01-01T00:00:00"}', 422, "body.run_at", "timezone"),
        (b'{"type": "HELLO", "priority": "urgent"}', 422, "body.priority", "urgent"),
        (b'{"type": "HELLO", "tags": ["\\u0007"]}', 422, "body.tags", "printable"),
        (b'{"type": "HELLO", "queue": "a\\u0000b"}', 422, "body.queue", "printable"),
        (b'{"type": "HELLO", "data": {"s": "\\ud800"}}', 400, "body", "half of a surrogate pair"),
        (b'\xff\xfe{"type": "HELLO"}', 400, "body", "no JSON"),
        (b"[" * 200, 400, "body", "nested more than 100 deep"),
        (b"[" * 100_000, 400, "body", "nested more than 100 deep"),
        (b'{"a":' * 100_000, 400, "body", "nested more than 100 deep"),
    ],
)
async def test_a_body_that_makes_no_sense(
    body: bytes, status: int, at: str | None, said: str, service: JobService, web: Web
) -> None:
    answer = await web().post("/api/v1/jobs", content=body, headers=JSON)
    assert answer.status_code == status, answer.text
    problem = answer.json()
    assert (problem["status"], problem.get("at")) == (status, at)
    assert said in problem["detail"]
    assert sum((await service.get_stats()).by_status.values()) == 0


@pytest.mark.parametrize(
    "body",
    [
        # Names that are all looked for among all the others would take minutes.
        b'{"data": {' + b",".join(b'"%d": 1' % n for n in range(100_000)) + b', "99999": 1}}',
        b"[" * 2_000_000,
    ],
    ids=["names", "depth"],
)
def test_a_body_that_is_refused_costs_no_more_than_one_that_is_read(body: bytes) -> None:
    began = time.process_time()
    json.loads(b'{"data": {' + b",".join(b'"%d": 1' % n for n in range(100_000)) + b"}}")
    costs = time.process_time() - began
    began = time.process_time()
    with pytest.raises(Problem):
        read_json(body, None, 100)
    assert time.process_time() - began < 10 * costs + 0.2


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "application/xml", "", "json"]
)
async def test_a_body_of_another_kind(kind: str, service: JobService, web: Web) -> None:
    answer = await web().post(
        "/api/v1/jobs",
        content=b'{"type": "HELLO"}',
        headers={"Content-Type": kind, "Origin": "http://127.0.0.1"},
    )
    assert (answer.status_code, answer.json()["at"]) == (415, "header.content-type")
    assert sum((await service.get_stats()).by_status.values()) == 0


async def test_data_that_is_as_deep_as_may_be_comes_back(web: Web) -> None:
    data: Any = {}
    for _ in range(97):
        data = {"a": data}
    client = web()
    made = await client.post("/api/v1/jobs", json={"type": "HELLO", "data": data})
    assert made.status_code == 201, made.text
    assert (await client.get(made.headers["location"])).json()["data"] == data


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/jobs/nothing", 404),
        ("GET", "/api/v1/jobs/%00", 404),
        ("GET", "/api/v1/jobs/%ff", 404),
        ("GET", "/api/v1/jobs/" + "x" * 5000, 404),
        ("DELETE", "/api/v1/jobs/nothing", 404),
        ("POST", "/api/v1/jobs/nothing/retry", 404),
        ("POST", "/api/v1/jobs/nothing/cancel", 404),
        ("POST", "/api/v1/jobs/nothing/copy", 404),
        ("GET", "/api/v1/jobs/nothing/events", 404),
        ("GET", "/api/v1/queues/nothing", 404),
        ("POST", "/api/v1/queues/%0a/pause", 422),
        ("GET", "/api/v1/schedules/nothing", 404),
        ("POST", "/api/v1/schedules/nothing/run", 404),
        ("GET", "/api/v1/workflows/nothing", 404),
        ("POST", "/api/v1/workflows/nothing/cancel", 404),
        ("GET", "/api/v1/workers/nothing", 404),
        ("POST", "/api/v1/workers/12345/drain", 404),
        ("POST", "/api/v1/workers/" + "9" * 40 + "/drain", 404),
    ],
)
async def test_what_is_not_there(method: str, path: str, status: int, web: Web) -> None:
    answer = await web().request(method, path, headers=JSON)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"].startswith("urn:backroom:problem:")


async def test_a_state_that_does_not_allow_it_is_a_conflict(service: JobService, web: Web) -> None:
    job_id = await service.schedule("HELLO", {})
    client = web()
    assert (await client.delete(f"/api/v1/jobs/{job_id}", headers=JSON)).status_code == 204
    job_id = await service.schedule("HELLO", {}, unique_key="one")
    await client.post(f"/api/v1/jobs/{job_id}/cancel", headers=JSON)
    await service.schedule("HELLO", {}, unique_key="one")
    answer = await client.post(f"/api/v1/jobs/{job_id}/retry", headers=JSON)
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:backroom:problem:state")
    assert await service.get_job_status(job_id) == "cancelled"
