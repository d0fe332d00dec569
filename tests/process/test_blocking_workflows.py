"""Workflows without asyncio: made, added to by a `def` handler, waited for, looked at."""

from __future__ import annotations

from typing import Any

import pytest

from backroom import Job, JobRequest, JobStateError
from backroom.blocking import JobService


def test_a_workflow_is_made_extended_and_waited_for_without_a_loop() -> None:
    with JobService("memory:") as service:

        @service.handler("LIST")
        def list_(job: Job[Any]) -> None:
            with service.extend_workflow(job) as flow:
                flow.group(JobRequest("FETCH", {"n": n}) for n in range(3))

        @service.handler("FETCH")
        def fetch(job: Job[dict[str, int]]) -> int:
            return job.data["n"]

        @service.handler("SUM")
        def sum_up(job: Job[Any]) -> int:
            return sum(job.blocking.results_of("FETCH"))

        with service.workflow("import") as flow:
            total = flow.add("SUM", after=flow.add("LIST"))
        info = service.wait_for_workflow(flow.id, timeout=30)
        assert (info.status, info.completed, info.total) == ("completed", 5, 5)
        assert service.result(total.id) == 3
        assert [job.type for job in service.get_workflow(flow.id).jobs][:2] == ["LIST", "SUM"]
        assert [one.id for one in service.get_workflows()] == [flow.id]
        assert service.cancel_workflow(flow.id) == 0
        assert service.retry_workflow(flow.id) == 0


def test_an_error_in_the_block_leaves_nothing_behind() -> None:
    with JobService("memory:") as service:
        service.declare("FETCH")

        def say() -> None:
            with service.batch("mails") as batch:
                batch.add("FETCH")
                raise JobStateError("no more")

        with pytest.raises(JobStateError, match="no more"):
            say()
        assert list(service.get_jobs()) == list(service.get_workflows()) == []
