"""What user code did, as an outcome: what it returned, what it raised, in bounds."""

from __future__ import annotations

import inspect
import traceback as tracebacks
from collections.abc import Sequence
from typing import Any, Final

from backroom.codec import Codec, encode_json
from backroom.errors import (
    FailJob,
    JobTypeError,
    OptionError,
    PayloadTooLargeError,
    RetryJob,
    SignalTimeoutError,
)
from backroom.handle import spoken
from backroom.job import Cancel, Snooze, duration
from backroom.transition import Cancelled, Completed, Errored, Outcome, Snoozed

__all__ = ["MAX_MESSAGE", "clip", "errored", "kept", "raised", "returned"]

MAX_MESSAGE: Final = 4096
MAX_TRACEBACK: Final = 16_384

_NOTHING: Final = Completed("null")


def returned(type_: str, codec: Codec[Any] | None, value: Any, max_payload: int) -> Outcome:
    """What a handler of this job type returned; `codec` is that of its declared result.

    A result that cannot be kept is a failure without a retry: the handler has done its work,
    and would do it once more to return the same.
    """
    if value is None and codec is None:
        return _NOTHING
    if isinstance(value, Snooze):
        return Snoozed(value.delay)
    if isinstance(value, Cancel):
        return Cancelled(clip(spoken(value.reason), MAX_MESSAGE))
    try:
        return Completed(kept(type_, codec, value, max_payload))
    except (JobTypeError, PayloadTooLargeError) as error:
        return errored(error, retry=False)


def kept(type_: str, codec: Codec[Any] | None, value: Any, max_payload: int) -> str:
    """A result as text.

    Raises:
        JobTypeError, PayloadTooLargeError: it cannot be kept.
    """
    if hasattr(type(value), "__await__"):
        what = type(value).__name__
        if inspect.iscoroutine(value):
            value.close()  # Else Python warns that nobody awaited it, far from here.
        raise JobTypeError(f"{type_}: the handler returned a {what}: make the handler async def")
    text = encode_json(type_, "result", value) if codec is None else codec.encode(value)
    if len(text) > max_payload // 4:  # UTF-8 has at most 4 bytes a character.
        size = len(text.encode())
        if size > max_payload:
            raise PayloadTooLargeError(
                f"{type_}: the result has {size:,} bytes as JSON, the limit is"
                f" {max_payload:,}; keep large things elsewhere and return their address"
            )
    return text


def raised(error: Exception) -> Outcome:
    """What a handler raised: `FailJob` and `RetryJob` say what becomes of the job. A signal that
    did not come in time is not waited for again, so that is no retry either.

    They do so within an `ExceptionGroup` too, as an `asyncio.TaskGroup` raises it: one
    `FailJob` is enough, then one `RetryJob`; of several the longest delay counts.
    """
    leaves = _leaves(error)
    for leaf in leaves:
        if isinstance(leaf, (FailJob, SignalTimeoutError)):
            return errored(error, leaf, retry=False)
    asking = [leaf for leaf in leaves if isinstance(leaf, RetryJob)]
    if asking:
        try:
            delays = [duration("delay", leaf.delay) for leaf in asking if leaf.delay is not None]
        except OptionError as wrong:
            wrong.__cause__ = error
            return errored(wrong)
        return errored(error, asking[0], delay=max(delays, default=None))
    return errored(error, leaves[0] if len(leaves) == 1 else error)


def _leaves(error: BaseException) -> Sequence[BaseException]:
    """The error itself, or the errors of a group and of the groups within it, in order."""
    if not isinstance(error, BaseExceptionGroup):
        return (error,)
    leaves: list[BaseException] = []
    within: list[BaseException] = [error]
    while within:
        inner = within.pop()
        if isinstance(inner, BaseExceptionGroup):
            within += reversed(inner.exceptions)
        else:
            leaves.append(inner)
    return leaves


def errored(
    error: BaseException,
    telling: BaseException | None = None,
    *,
    retry: bool = True,
    delay: float | None = None,
) -> Errored:
    """A failed attempt, with the error's traceback, and the text of the one that is `telling`."""
    telling = telling or error
    try:
        message = str(telling)
    except Exception as unprintable:
        message = f"(the error's own text failed: {type(unprintable).__name__})"
    try:
        text = "".join(tracebacks.format_exception(error, limit=-50))
    except Exception as unprintable:
        text = f"(the traceback could not be written: {type(unprintable).__name__})"
    return Errored(
        type(telling).__name__,
        clip(message or type(telling).__name__, MAX_MESSAGE),
        clip(text, MAX_TRACEBACK),
        retry,
        delay,
    )


def clip(text: str, most: int) -> str:
    """At most `most` characters: the head and the tail. Always encodable."""
    if len(text) > most:
        half = (most - 40) // 2
        text = (
            f"{text[:half]}\n... {len(text) - 2 * half:,} characters left out ...\n{text[-half:]}"
        )
    return text.encode("utf-8", "replace").decode()
