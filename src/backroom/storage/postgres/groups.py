"""What many callers ask at once travels in one statement: alone at once, under load together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

__all__ = ["Group"]

I = TypeVar("I")  # noqa: E741
R = TypeVar("R")


class Group(Generic[I, R]):
    """Items of the callers on one loop. While a batch of them is on its way, the next gathers.

    A batch is carried out whoever waits for it still: a caller that is cancelled leaves its
    item with the others.
    """

    def __init__(
        self,
        carry_out: Callable[[Sequence[I]], Awaitable[Sequence[R | BaseException]]],
        size: Callable[[I], int],
        most: int,
    ) -> None:
        """`most`: how much goes into one batch at most, as `size` tells it of its items; an
        item that is larger goes alone."""
        self._carry_out = carry_out
        self._size = size
        self._most = most
        self._waiting: list[tuple[I, asyncio.Future[R]]] = []
        self._task: asyncio.Task[None] | None = None

    def add(self, item: I) -> asyncio.Future[R]:
        """What becomes of it."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self._waiting.append((item, future))
        if self._task is None:
            self._task = loop.create_task(self._run())
        return future

    async def settled(self) -> None:
        """What was added before has been carried out."""
        while self._task is not None:
            await asyncio.shield(self._task)

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch = self._next()
                try:
                    answers: Sequence[R | BaseException]
                    answers = await self._carry_out([item for item, _ in batch])
                except BaseException as error:
                    answers = [error] * len(batch)
                for (_, future), answer in zip(batch, answers, strict=True):
                    if future.done():
                        continue
                    if isinstance(answer, BaseException):
                        future.set_exception(answer)
                    else:
                        future.set_result(answer)
        finally:
            self._task = None

    def _next(self) -> list[tuple[I, asyncio.Future[R]]]:
        size = 0
        for count, (item, _) in enumerate(self._waiting):
            size += self._size(item)
            if size > self._most and count:
                batch, self._waiting = self._waiting[:count], self._waiting[count:]
                return batch
        batch, self._waiting = self._waiting, []
        return batch
