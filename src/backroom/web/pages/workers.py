"""Workers: who is alive, what each runs right now, and drain one."""

from __future__ import annotations

from starlette.responses import Response

from backroom.errors import WorkerNotFoundError
from backroom.web.call import Call
from backroom.web.pages.rendering import page
from backroom.web.pages.saying import Asked, said_of

__all__ = ["drain", "resume", "workers"]


async def workers(call: Call) -> Response:
    """All that have enlisted and have not ended."""
    query: Asked = call.query
    return page(
        call,
        "workers.html",
        "workers",
        stats=await call.looking.stats(),
        said=said_of(query),
        workers=await call.service.get_workers(),
    )


async def drain(call: Call) -> Response:
    """It claims nothing any more, and ends what it runs."""
    await call.operations.drain_worker(_number(call.params["id"]))
    return call.redirect("/workers", did="draining")


async def resume(call: Call) -> Response:
    """Ends that."""
    await call.operations.drain_worker(_number(call.params["id"]), on=False)
    return call.redirect("/workers", did="undrained")


def _number(text: str) -> int:
    """
    Raises:
        WorkerNotFoundError: no worker has that for an id.
    """
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise WorkerNotFoundError(f"no worker has the id {text[:100]!r}")
    return int(text)
