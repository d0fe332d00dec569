"""What user code did, as an outcome: what it returned, what it raised, in bounds."""

from __future__ import annotations

import traceback as tracebacks
from typing import Any, Final

from backroom.codec import Codec, encode_json
from backroom.errors import FailJob, OptionError, PayloadTooLargeError, RetryJob
from backroom.job import Cancel, Snooze, duration
from backroom.transition import Cancelled, Completed, Errored, Outcome, Snoozed

__all__ = ["MAX_MESSAGE", "clip", "errored", "raised", "returned"]

MAX_MESSAGE: Final = 4096
MAX_TRACEBACK: Final = 16_384

_NOTHING: Final = Completed("null")


def returned(type_: str, codec: Codec[Any] | None, value: Any, max_payload: int) -> Outcome:
    """What a handler of this job type returned; `codec` is that of its declared result.

    Raises:
        JobTypeError, PayloadTooLargeError: it cannot be kept.
    """
    if value is None and codec is None:
        return _NOTHING
    if isinstance(value, Snooze):
        return Snoozed(value.delay)
    if isinstance(value, Cancel):
        return Cancelled(clip(str(value.reason), MAX_MESSAGE))
    text = encode_json(type_, "result", value) if codec is None else codec.encode(value)
    if len(text) > max_payload // 4:  # UTF-8 has at most 4 bytes a character.
        size = len(text.encode())
        if size > max_payload:
            raise PayloadTooLargeError(
                f"{type_}: the result has {size:,} bytes as JSON, the limit is"
                f" {max_payload:,}; keep large things elsewhere and return their address"
            )
    return Completed(text)


def raised(error: Exception) -> Outcome:
    """What a handler raised: `FailJob` and `RetryJob` say what becomes of the job."""
    if isinstance(error, FailJob):
        return errored(error, retry=False)
    if isinstance(error, RetryJob):
        try:
            delay = None if error.delay is None else duration("delay", error.delay)
        except OptionError as wrong:
            wrong.__cause__ = error
            return errored(wrong)
        return errored(error, delay=delay)
    return errored(error)


def errored(error: BaseException, *, retry: bool = True, delay: float | None = None) -> Errored:
    """A failed attempt, with the error's text and traceback."""
    try:
        message = str(error)
    except Exception as unprintable:
        message = f"(the error's own text failed: {type(unprintable).__name__})"
    try:
        text = "".join(tracebacks.format_exception(error, limit=-50))
    except Exception as unprintable:
        text = f"(the traceback could not be written: {type(unprintable).__name__})"
    return Errored(
        type(error).__name__,
        clip(message or type(error).__name__, MAX_MESSAGE),
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
