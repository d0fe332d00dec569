"""What every request passes before anything looks at it, and every answer on its way out.

Plain ASGI: nothing here reads a body or holds an answer back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders

from backroom.web.bounds import Bounds
from backroom.web.hosts import host_name, is_loopback_name
from backroom.web.problem import Problem

__all__ = ["CONTENT_SECURITY_POLICY", "check_request", "too_large", "with_headers"]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # With "no-referrer" browsers would send "Origin: null" along with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_PORTS: Final = {"http": 80, "https": 443}
SAFE: Final = ("GET", "HEAD", "OPTIONS")


def with_headers(send: Send) -> Send:
    """Puts on every answer what browsers are to be told; what is set already stays."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return sent


def check_request(scope: Scope, hosts: Sequence[str] | None, bounds: Bounds) -> None:
    """What can be told from the head of a request.

    `hosts`: names under which this is asked for; None: any.

    Raises:
        Problem: 400, a host that is not ours; 403, a change that another site asks for; 414, 431,
            413, it is too long.
    """
    headers = Headers(scope=scope)
    size = sum(len(name) + len(value) for name, value in scope["headers"])
    if size > bounds.header:
        raise Problem(431, "too-large",
                      f"the headers have {size:,} bytes, the limit is {bounds.header:,}",
                      at="header")  # fmt: skip
    query = len(scope.get("query_string", b""))
    if query > bounds.query:
        raise Problem(414, "too-large",
                      f"the query has {query:,} bytes, the limit is {bounds.query:,}",
                      at="query")  # fmt: skip
    _check_length(headers, bounds.body)
    _check_host(headers, hosts)
    if scope["method"] not in SAFE:
        _check_origin(scope, headers)


def _check_length(headers: Headers, most: int) -> None:
    said = headers.get("content-length")
    if said is None:
        return
    if not said.isascii() or not said.isdigit():
        raise Problem(400, "bad-value", "content-length is no number", at="header.content-length")
    if len(said) > 18 or int(said) > most:
        raise too_large(most)


def too_large(most: int) -> Problem:
    """A body over the limit."""
    return Problem(413, "too-large", f"a body has at most {most:,} bytes; keep large things"
                   " elsewhere and send their address", at="body")  # fmt: skip


def _check_host(headers: Headers, hosts: Sequence[str] | None) -> None:
    name = host_name(headers.get("host", ""))
    if hosts is None or name in hosts:
        return
    if "localhost" in hosts and is_loopback_name(name):
        return
    raise Problem(
        400, "bad-host",
        f"this dashboard does not answer to the host {name[:100]!r}; it answers to"
        f" {', '.join(hosts)}: name others by allowed_hosts=, or --allow-host",
        at="header.host",
    )  # fmt: skip


def _check_origin(scope: Scope, headers: Headers) -> None:
    """A change comes from a page of ours, or from a tool: a browser always says from where."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None and site not in ("same-origin", "none"):
        raise _foreign(f"sec-fetch-site is {site[:40]!r}", "header.sec-fetch-site")
    if origin is not None:
        if not _is_own(origin, headers.get("host", ""), scope.get("scheme", "http")):
            raise _foreign(f"origin is {origin[:100]!r}", "header.origin")
        return
    if site is not None or "authorization" in headers:
        return
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        # A form of another site cannot send that one without being asked first.
        raise _foreign(
            "neither origin nor sec-fetch-site is there; a tool sends an authorization header, or"
            " content-type: application/json", "header.origin",
        )  # fmt: skip


def _foreign(why: str, at: str) -> Problem:
    return Problem(403, "other-site",
                   f"a change must come from a page of this dashboard, or from a tool: {why}",
                   at=at)  # fmt: skip


def _is_own(origin: str, host: str, scheme: str) -> bool:
    """Compared by host and port: behind a proxy that speaks TLS, our own scheme is another one."""
    try:
        said = urlsplit(origin)
        if said.scheme not in _PORTS or said.hostname is None:
            return False
        own = urlsplit(f"//{host}")
        port = said.port or _PORTS[said.scheme]
        ours = {own.port} if own.port else {_PORTS.get(scheme, 80), _PORTS[said.scheme]}
        return said.hostname == own.hostname and port in ours
    except ValueError:
        return False
