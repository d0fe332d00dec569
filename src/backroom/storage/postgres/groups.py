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
        flights: int,
    ) -> None:
        """`most`: how much goes into one batch at most, as `size` tells it of its items; an
        item that is larger goes alone. `flights`: how many batches are on their way at once."""
        self._carry_out = carry_out
        self._size = size
        self._most = most
        self._waiting: list[tuple[I, asyncio.Future[R]]] = []
        self._flights = flights
        self._tasks: dict[asyncio.Task[None], int] = {}
        """Batches on their way, and how many items had gone before each."""
        self._added = 0
        self._gone = 0

    def add(self, item: I) -> asyncio.Future[R]:
        """What becomes of it."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self._waiting.append((item, future))
        self._added += 1
        if len(self._waiting) == 1 and len(self._tasks) < self._flights:
            # In its turn of the loop: what else is asked in this one goes along.
            loop.call_soon(self._fly)
        return future

    async def settled(self) -> None:
        """What was added before has been carried out."""
        mine = self._added
        while self._gone < mine or any(before < mine for before in self._tasks.values()):
            if self._tasks:
                await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(0)

    def _fly(self) -> None:
        if self._waiting and len(self._tasks) < self._flights:
            batch = self._next()
            task = asyncio.get_running_loop().create_task(self._carry(batch))
            self._tasks[task] = self._gone
            self._gone += len(batch)
            task.add_done_callback(self._landed)

    def _landed(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        self._fly()

    async def _carry(self, batch: list[tuple[I, asyncio.Future[R]]]) -> None:
        answers: Sequence[R | BaseException]
        try:
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

    def _next(self) -> list[tuple[I, asyncio.Future[R]]]:
        size = 0
        for count, (item, _) in enumerate(self._waiting):
            size += self._size(item)
            if size > self._most and count:
                batch, self._waiting = self._waiting[:count], self._waiting[count:]
                return batch
        batch, self._waiting = self._waiting, []
        return batch
