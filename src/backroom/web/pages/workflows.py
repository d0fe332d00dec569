"""Workflows and batches: how far they are, as a graph and as a list."""

from __future__ import annotations

from starlette.responses import Response

from backroom.web.call import Call
from backroom.web.pages import graph
from backroom.web.pages.rendering import page
from backroom.web.pages.saying import Asked, said_of

__all__ = ["WorkflowsQuery", "cancel", "retry", "workflow", "workflows"]

PAGE = 50
LISTED = 500
"""Jobs of one workflow that are listed."""


class WorkflowsQuery(Asked, kw_only=True, forbid_unknown_fields=True):
    cursor: str | None = None


async def workflows(call: Call) -> Response:
    """All of them, newest first."""
    query: WorkflowsQuery = call.query
    found = await call.looking.workflows(limit=PAGE, cursor=query.cursor)
    return page(
        call,
        "workflows.html",
        "workflows",
        stats=await call.looking.stats(),
        said=said_of(query),
        flows=found.workflows,
        next=found.cursor,
        cursor=query.cursor,
    )


async def workflow(call: Call) -> Response:
    """One of them."""
    query: Asked = call.query
    flow = await call.looking.workflow(call.params["id"])
    drawn = flow.kind == "workflow" and flow.jobs
    return page(
        call,
        "workflow.html",
        "workflows",
        stats=await call.looking.stats(),
        said=said_of(query),
        flow=flow,
        graph=graph.draw(flow.jobs) if drawn else None,
        listed=LISTED,
    )


async def cancel(call: Call) -> Response:
    """Cancels what has not ended."""
    id_ = call.params["id"]
    changed = await call.operations.cancel_workflow(id_)
    return call.redirect(f"/workflows/{id_}", did="workflow-cancelled", changed=changed)


async def retry(call: Call) -> Response:
    """Runs what did not complete again."""
    id_ = call.params["id"]
    changed = await call.operations.retry_workflow(id_)
    return call.redirect(f"/workflows/{id_}", did="workflow-retried", changed=changed)
