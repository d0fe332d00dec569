"""All pages, and what stands where one is refused."""

from __future__ import annotations

from starlette.responses import PlainTextResponse, Response

from backroom.web.call import Call
from backroom.web.problem import Problem
from backroom.web.route import Route

__all__ = ["refusal", "routes"]


def routes() -> list[Route]:
    """What the dashboard serves beside the API; each with `api=False`."""
    return []


async def refusal(call: Call, problem: Problem) -> Response:
    """A page that says what was wrong, and the mend."""
    text = f"{problem.document.title}\n\n{problem.detail}\n"
    return PlainTextResponse(text, problem.status, headers=problem.headers)
