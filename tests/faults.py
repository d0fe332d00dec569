"""A storage that answers with errors when it is told to, around a real one."""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, cast

from backroom import StorageError
from backroom.ports import Store

__all__ = ["Faults", "Reply"]


class Reply:
    """The answer of one call, which the test keeps back."""

    def __init__(self) -> None:
        self.applied = asyncio.Event()
        """The storage has carried out the call."""
        self._sent = asyncio.Event()

    def send(self) -> None:
        """Lets the answer through."""
        self._sent.set()

    async def travel(self) -> None:
        self.applied.set()
        await self._sent.wait()


class _Plan(NamedTuple):
    error: Exception | None
    when: Literal["before", "after"]
    reply: Reply | None
    only: Callable[..., bool]


class Faults:
    """Delegates everything; planned calls fail before, or after, they have been carried out."""

    def __init__(self, storage: Store) -> None:
        self._storage = storage
        self._plans: dict[str, deque[_Plan]] = defaultdict(deque)
        self.calls: Counter[str] = Counter()
        """How often each verb was called."""

    @property
    def store(self) -> Store:
        """For `JobService(...)`."""
        return cast("Store", self)

    def fail(
        self,
        verb: str,
        when: Literal["before", "after"],
        *,
        times: int = 1,
        error: Exception | None = None,
        only: Callable[..., bool] = lambda *args, **kwargs: True,
    ) -> None:
        """The next `times` calls of a verb (for which `only` says so) raise. `after` is the
        lost reply: the call has been carried out, and its caller cannot know."""
        error = error or StorageError(f"{verb}: injected {when} it was carried out")
        self._plans[verb].extend([_Plan(error, when, None, only)] * times)

    def keep_back(
        self,
        verb: str,
        *,
        error: Exception | None = None,
        only: Callable[..., bool] = lambda *args, **kwargs: True,
    ) -> Reply:
        """The next call of a verb is carried out, and its answer, or this error, waits for
        `Reply.send`."""
        reply = Reply()
        self._plans[verb].append(_Plan(error, "after", reply, only))
        return reply

    def mend(self) -> None:
        """No more faults."""
        self._plans.clear()

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._storage, name)
        if name != "insert" and not inspect.iscoroutinefunction(attribute):
            return attribute  # `insert` may answer with a future as well.

        async def call(*args: Any, **kwargs: Any) -> Any:
            self.calls[name] += 1
            plans = self._plans[name]
            plan = plans.popleft() if plans and plans[0].only(*args, **kwargs) else None
            if plan is not None and plan.error is not None and plan.when == "before":
                raise plan.error
            answer = await attribute(*args, **kwargs)
            if plan is not None and plan.reply is not None:
                await plan.reply.travel()
            if plan is not None and plan.error is not None:
                raise plan.error
            return answer

        return call
