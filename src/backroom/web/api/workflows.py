"""Workflows and batches: as a graph, and steered as a whole."""

from __future__ import annotations

import msgspec

from backroom.flow import WorkflowInfo
from backroom.web.access import Role
from backroom.web.call import Call
from backroom.web.filters import ListPage
from backroom.web.looking import WorkflowList
from backroom.web.route import Route

__all__ = ["routes"]


class Changed(msgspec.Struct, frozen=True):
    """What a change of many jobs has changed."""

    jobs: int


async def list_workflows(call: Call) -> WorkflowList:
    """Workflows and batches with their counts, newest first."""
    query: ListPage = call.query
    return await call.looking.workflows(limit=query.limit, cursor=query.cursor)


async def get_workflow(call: Call) -> WorkflowInfo:
    """One workflow with its jobs, and what each of them waits for."""
    return await call.looking.workflow(call.params["id"])


async def cancel_workflow(call: Call) -> Changed:
    """Cancels its jobs that wait, and asks for it where they run."""
    return Changed(await call.operations.cancel_workflow(call.params["id"]))


async def retry_workflow(call: Call) -> Changed:
    """Its jobs that did not complete run again, each when all that it waits for has completed."""
    return Changed(await call.operations.retry_workflow(call.params["id"]))


def routes() -> list[Route]:
    one = "/api/v1/workflows/{id}"
    return [
        Route("GET", "/api/v1/workflows", Role.READ, list_workflows, query=ListPage,
              returns=WorkflowList, tag="workflows"),
        Route("GET", one, Role.READ, get_workflow, returns=WorkflowInfo, tag="workflows"),
        Route("POST", f"{one}/cancel", Role.OPERATE, cancel_workflow, returns=Changed,
              tag="workflows"),
        Route("POST", f"{one}/retry", Role.OPERATE, retry_workflow, returns=Changed,
              tag="workflows"),
    ]  # fmt: skip
