"""Styles, scripts and pictures: read once, and served from memory. What is not there when the
application is made is never served, so no path leads anywhere else."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final, NamedTuple

import msgspec
from starlette.responses import Response

from backroom.web.access import Role
from backroom.web.call import Call
from backroom.web.problem import Problem
from backroom.web.route import Route

__all__ = ["asset_url", "routes"]

KINDS: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
}
"""What is served; anything else in the folder is not."""


class Asset(NamedTuple):
    body: bytes
    kind: str
    tag: str


@cache
def _assets() -> dict[str, Asset]:
    found: dict[str, Asset] = {}
    within: list[tuple[str, Traversable]] = [("", resources.files("backroom.web") / "static")]
    while within:
        path, folder = within.pop()
        for entry in folder.iterdir() if folder.is_dir() else ():
            name = f"{path}{entry.name}"
            kind = KINDS.get(name[name.rfind(".") :])
            if entry.is_dir():
                within.append((f"{name}/", entry))
            elif kind is not None:
                body = entry.read_bytes()
                found[name] = Asset(body, kind, hashlib.blake2b(body, digest_size=8).hexdigest())
    return found


def asset_url(call: Call, name: str) -> str:
    """The address of a file of `static/`, which changes with what is in it.

    Raises:
        KeyError: there is no such file.
    """
    return call.url(f"/static/{name}", v=_assets()[name].tag)


class Version(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which one is meant, so that it may be kept for good."""

    v: str | None = None


async def get_asset(call: Call) -> Response:
    """A file of `static/`."""
    asset = _assets().get(call.params["path"])
    if asset is None:
        raise Problem(404, "not-found", "there is no such file", at="path")
    query: Version = call.query
    lasting = query.v == asset.tag
    headers = {
        "Cache-Control": "public, max-age=31536000, immutable" if lasting else "no-cache",
        "ETag": f'"{asset.tag}"',
    }
    if call.request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(asset.body, headers=headers, media_type=asset.kind)


def routes() -> list[Route]:
    return [
        Route("GET", "/static/{path:path}", Role.PUBLIC, get_asset, query=Version, api=False,
              light=True),
    ]  # fmt: skip
