"""What a command changes is written down, in the name of who is at the terminal."""

from __future__ import annotations

import getpass
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from backroom.service import JobService

__all__ = ["recorded", "who"]

T = TypeVar("T")


def who() -> str:
    """The name of the account; where it has none, as in some containers, its number."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError, ImportError):
        return f"cli:{os.getuid()}"


async def recorded(
    service: JobService,
    verb: str,
    target: str,
    change: Callable[[], Awaitable[T]],
    detail: Mapping[str, Any] | None = None,
    changed: Callable[[T], int | None] = lambda answer: None,
) -> T:
    """Carries out a change, written down before it and after it. `changed`: how many things,
    from its answer."""
    from backroom.job import JobId

    async with service.recorded(who(), verb, target, detail=detail) as action:
        answer = await change()
        action.changed = changed(answer)
        action.made = f"job {answer}" if isinstance(answer, JobId) else None
        return answer
