"""All pages, and what stands where one is refused."""

from __future__ import annotations

from html import escape

from starlette.responses import HTMLResponse, PlainTextResponse, Response

from backroom.web.call import Call
from backroom.web.problem import Problem
from backroom.web.route import Route

__all__ = ["refusal", "routes", "sign_in"]


def routes() -> list[Route]:
    """What the dashboard serves beside the API; each with `api=False`."""
    return []


async def refusal(call: Call, problem: Problem) -> Response:
    """A page that says what was wrong, and the mend."""
    text = f"{problem.document.title}\n\n{problem.detail}\n"
    return PlainTextResponse(text, problem.status, headers=problem.headers)


async def sign_in(call: Call, then: str, problem: Problem | None) -> Response:
    """The form that a token, or a name and a password, is typed into; `problem`: why what was
    typed is not taken."""
    said = "" if problem is None else f"<p role=alert>{escape(problem.detail)}</p>"
    return HTMLResponse(
        f"<!doctype html><html lang=en><title>{escape(call.house.title)}</title>{said}"
        f'<form method=post action="{escape(call.url("/sign-in"))}">'
        f'<input type=hidden name=then value="{escape(then)}">'
        "<label>Name <input name=name autocomplete=username></label>"
        "<label>Token or password <input name=secret type=password required"
        " autocomplete=current-password></label>"
        "<button>Sign in</button></form></html>",
        200 if problem is None else problem.status,
        headers={} if problem is None else problem.headers,
    )
