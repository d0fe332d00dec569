"""Signing in and out, for people with a browser.

A form takes a token, or a name and a password, and gives a cookie. Why not the browser's own
prompt alone: it cannot be signed out of, and looks like nothing anybody trusts with a token. The
cookie is `SameSite=Lax`, not Strict: who follows a link of an alarm at three o'clock is to be
signed in there. Lax sends it along with no change that another site asks for, and such a change is
refused by its origin besides.
"""

from __future__ import annotations

import time
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import msgspec
from starlette.responses import RedirectResponse, Response

from backroom.web import pages
from backroom.web.access import Role
from backroom.web.call import Call
from backroom.web.credentials import Credential
from backroom.web.problem import Problem
from backroom.web.route import Route
from backroom.web.sessions import COOKIE, LASTS

__all__ = ["routes"]

FORM_BYTES: Final = 8_192
"""Of a form that anybody may send: a password, and an address of ours to go to."""


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where to go then: a path of ours. `token`: that of the link with which a dashboard that has
    no other credentials was started."""

    then: str = "/"
    token: str = ""


class SignIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was typed: a token alone, or a name and a password."""

    secret: str = ""
    name: str = ""
    then: str = "/"


async def form(call: Call) -> Response:
    """The form; or, with the link of whoever started this, the cookie at once."""
    query: Wanted = call.query
    if query.token:
        try:
            credential = call.house.gate.follow_link(call.request, query.token)
        except Problem as problem:
            return await pages.sign_in(call, _own(query.then), problem)
        return _signed_in(call, credential, query.then)
    return await pages.sign_in(call, _own(query.then), None)


async def sign_in(call: Call) -> Response:
    """Checks what was typed."""
    typed: SignIn = call.body
    if not call.house.gate.takes_sign_in:
        raise Problem(404, "not-found", "nobody signs in here", at="path")
    try:
        credential = await call.house.gate.sign_in(call.request, typed.name, typed.secret)
    except Problem as problem:
        return await pages.sign_in(call, _own(typed.then), problem)
    return _signed_in(call, credential, typed.then)


def _signed_in(call: Call, credential: Credential, then: str) -> Response:
    response = _to(call, _own(then))
    response.set_cookie(
        COOKIE,
        call.house.gate.sessions.make(credential, time.time()),
        max_age=LASTS,
        path=call.url("/"),
        secure=_is_over_tls(call),
        httponly=True,
        samesite="lax",
    )
    return response


async def sign_out(call: Call) -> Response:
    """Takes the cookie away."""
    response = _to(call, "/sign-in" if call.house.gate.takes_sign_in else "/")
    response.delete_cookie(COOKIE, path=call.url("/"), httponly=True, samesite="lax")
    return response


def _is_over_tls(call: Call) -> bool:
    """The scheme is that of the last hop: a proxy in front may speak TLS where we do not, and the
    browser says in what it asked for the form."""
    origin = call.request.headers.get("origin", "")
    return call.request.url.scheme == "https" or origin.startswith("https://")


def _to(call: Call, target: str) -> Response:
    path, _, query = target.partition("?")
    return RedirectResponse(call.url(path, **dict(parse_qsl(query))), status_code=303)


def _own(target: str) -> str:
    """A path of ours, and never another site: "//evil" and "/\\evil" lead there."""
    try:
        split = urlsplit(target)
    except ValueError:  # "//[": no address at all.
        return "/"
    strange = any(ord(letter) < 33 or letter == "\\" for letter in target)
    if split.scheme or split.netloc or not target.startswith("/") or strange:
        return "/"
    return "/" if target.startswith("//") else target


def routes() -> list[Route]:
    return [
        Route("GET", "/sign-in", Role.PUBLIC, form, query=Wanted, api=False),
        Route(
            "POST", "/sign-in", Role.PUBLIC, sign_in, body=SignIn, api=False, body_bytes=FORM_BYTES
        ),
        Route("POST", "/sign-out", Role.PUBLIC, sign_out, api=False, body_bytes=FORM_BYTES),
    ]
