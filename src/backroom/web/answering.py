"""Values -> JSON answers, with tags by which a client that has them need not get them again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from backroom.web.problem import MEDIA_TYPE, Problem

__all__ = ["Answer", "answer", "encode", "refuse"]


class Answer(NamedTuple):
    """What a handler of the API returns where there is more to say than the value."""

    value: Any
    status: int = 200
    headers: Mapping[str, str] = {}


def _plain(value: Any) -> Any:
    if isinstance(value, str):  # msgspec refuses subclasses of `str`, such as JobId.
        return str.__str__(value)
    raise TypeError(f"{type(value).__name__} is no JSON")


_encoder: Final = msgspec.json.Encoder(enc_hook=_plain)


def encode(value: Any) -> bytes:
    """As JSON text; moments as RFC 3339 says."""
    return _encoder.encode(value)


def answer(request: Request, given: Answer) -> Response:
    """A JSON response. A GET that succeeds has an ETag, and is 304 where the client has it."""
    if given.value is None and given.status in (200, 204):
        return Response(status_code=204, headers=dict(given.headers))
    body = encode(given.value)
    headers = {"Cache-Control": "no-store, private", **given.headers}
    if request.method in ("GET", "HEAD") and given.status == 200:
        # Kept by the client to compare with only: "no-cache" asks each time whether it stands.
        headers["Cache-Control"] = "no-cache, private"
        tag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
        headers["ETag"] = tag
        wanted = request.headers.get("if-none-match", "")
        if wanted.strip() == "*" or tag in [one.strip().removeprefix("W/")
                                            for one in wanted.split(",")]:  # fmt: skip
            return Response(status_code=304, headers=headers)
    return Response(body, given.status, headers, media_type="application/json")


def refuse(problem: Problem) -> Response:
    """The same of a problem."""
    headers = {"Cache-Control": "no-store", **problem.headers}
    return Response(problem.body(), problem.status, headers, media_type=MEDIA_TYPE)
