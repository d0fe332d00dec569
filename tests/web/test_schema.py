"""schemathesis over the API's own description, on a real server: nothing fails, and every answer is
as described. Seeded and bounded: what is asked is the same in each run."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from backroom import FailJob, Job, JobService
from backroom.web import Bounds, Identity, Role, dashboard
from backroom.web.openapi import described
from backroom.web.serving import serve

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
schema = schemathesis.openapi.from_dict(
    described(dashboard(JobService("memory:")).table, "", "Backroom")
).exclude(path_regex="/events$")  # These answer for as long as one listens: test_events.py.


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The address of a dashboard with something in it."""
    urls: list[str] = []
    up = threading.Event()
    loop = asyncio.new_event_loop()

    async def run() -> None:
        service = JobService("memory:", default_retry_limit=0)

        @service.handler("HELLO")
        async def hello(job: Job[dict[str, Any]]) -> dict[str, Any]:
            job.log.info("a line")
            return {"hello": "world"}

        @service.handler("WORSE")
        async def worse(job: Job[dict[str, Any]]) -> None:
            raise FailJob("it cannot be done")

        await service.start()
        for name in ("HELLO", "WORSE"):
            await service.schedule(name, {"n": 2**70}, tags=["a"], metadata={"k": 1})
            await service.schedule(name, {}, delay=3600)
        await service.every(3600, "HELLO", {}, name="hourly")
        async with service.workflow("two") as flow:
            flow.add("HELLO", {}, after=flow.add("HELLO", {}))
        app = dashboard(
            service,
            authenticate=lambda request: Identity("tester", Role.ADMIN),
            bounds=Bounds(mutations=1_000_000),
        )

        def ready(url: str) -> None:
            urls.append(url.rstrip("/"))
            up.set()

        await serve(app, service, host="127.0.0.1", port=0, worker=True, grace=0, ready=ready,
                    until=ended)  # fmt: skip

    ended = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(run(),), daemon=True)
    thread.start()
    assert up.wait(30)
    yield urls[0]
    loop.call_soon_threadsafe(ended.set)
    thread.join(30)
    loop.close()


# The server is a thread of this process, and chooses by chance while a case is being made.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
@pytest.mark.slow
@schema.parametrize()
@settings(
    max_examples=15, derandomize=True, deadline=None, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
def test_what_is_asked_at_random_is_answered_as_described(case: Any, site: str) -> None:
    case.call_and_validate(base_url=site, checks=CHECKS, timeout=30)
