"""The job types of a process, as people are told of them."""

from __future__ import annotations

from typing import Any

import msgspec

from backroom.job import PRIORITIES, Priority
from backroom.registry import Known
from backroom.secret import Mask, mask_of, masked_schema, paths_of

__all__ = ["Masks", "TypeInfo", "type_info"]


class TypeInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A job type that is known here."""

    name: str
    version: int
    """Of its data."""
    handled: bool
    """It has a handler here: a worker of this code runs it."""
    queue: str
    priority: Priority
    retries: int
    retry_delay: float
    timeout: float
    data: dict[str, Any] | None
    """The JSON schema of its data, without values of what is secret; None: any object, or a type
    that has none."""
    result: dict[str, Any] | None
    secret: tuple[str, ...]
    """Where its data has something that nobody is shown: "$.password"."""


class Masks(msgspec.Struct, frozen=True):
    """What nobody is shown of the jobs of one type."""

    version: int
    data: Mask
    result: Mask

    @classmethod
    def of(cls, known: Known) -> Masks:
        result = known.awaited or known.result
        return cls(
            known.version,
            mask_of(known.given.type),
            False if result is None else mask_of(result.type),
        )


def type_info(known: Known) -> TypeInfo:
    """All that is said of a type here."""
    result = known.awaited or known.result
    return TypeInfo(
        name=known.name,
        version=known.version,
        handled=known.handler is not None,
        queue=known.queue,
        priority=PRIORITIES[known.priority],
        retries=known.policy.retries,
        retry_delay=known.policy.retry_delay,
        timeout=known.policy.timeout,
        data=_schema(known.given.type),
        result=None if result is None else _schema(result.type),
        secret=tuple(paths_of(mask_of(known.given.type))),
    )


def _schema(type_: Any) -> dict[str, Any] | None:
    if type_ is None:
        return None
    own = getattr(type_, "model_json_schema", None)
    try:
        found: dict[str, Any] = own() if own is not None else msgspec.json.schema(type_)
    except (TypeError, ValueError):  # Values of the application's own, which have no schema.
        return None
    return masked_schema(found, mask_of(type_))
