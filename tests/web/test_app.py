"""The thinnest path through the whole application."""

from collections.abc import Callable

import httpx

from backroom import JobService

Web = Callable[..., httpx.AsyncClient]


async def test_the_counts_of_the_store_are_told_as_json(service: JobService, web: Web) -> None:
    await service.schedule("HELLO", {"n": 1})
    answer = await web().get("/api/v1/stats")
    assert answer.status_code == 200
    assert answer.json()["by_status"]["pending"] == 1
    assert answer.json()["queues"][0]["name"] == "default"


async def test_an_answer_that_the_client_has_is_not_sent_again(web: Web) -> None:
    client = web()
    first = await client.get("/api/v1/stats")
    again = await client.get("/api/v1/stats", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
