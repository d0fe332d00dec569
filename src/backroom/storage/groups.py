"""What many callers ask at once travels in one statement: alone at once, under load together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

__all__ = ["Group", "Groups"]

LONGEST_REST: Final = 0.01
"""Seconds that little waits at most."""

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
        enough: int = 1,
    ) -> None:
        """`most`: how much goes into one batch at most, as `size` tells it of its items; an
        item that is larger goes alone. `flights`: how many batches are on their way at once.
        `enough`: what is less waits until none is on its way, and then as long as the last one
        was: each costs the same, so who is many together takes a smaller part of that."""
        self._carry_out = carry_out
        self._size = size
        self._most = most
        self._waiting: list[tuple[I, asyncio.Future[R]]] = []
        self._flights = flights
        self._enough = enough
        self._gathered = 0
        """How much of it waits."""
        self._rested_at = 0.0
        self._resting: asyncio.TimerHandle | None = None
        self._tasks: dict[asyncio.Task[None], int] = {}
        """Batches on their way, and how many items had gone before each."""
        self._added = 0
        self._gone = 0

    def add(self, item: I) -> asyncio.Future[R]:
        """What becomes of it."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self._waiting.append((item, future))
        before, self._gathered = self._gathered, self._gathered + self._size(item)
        self._added += 1
        # In its turn of the loop: what else is asked in this one goes along.
        if len(self._waiting) == 1 or before < self._enough <= self._gathered:
            loop.call_soon(self._fly)
        return future

    async def settled(self) -> None:
        """What was added before has been carried out."""
        mine = self._added
        self._rested_at = 0.0
        self._fly()
        while self._gone < mine or any(before < mine for before in self._tasks.values()):
            if self._tasks:
                await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(0)

    def _fly(self) -> None:
        if not self._waiting or len(self._tasks) >= self._flights:
            return
        loop = asyncio.get_running_loop()
        began = loop.time()
        if self._gathered < self._enough and (self._tasks or began < self._rested_at):
            if not self._tasks and self._resting is None:
                self._resting = loop.call_at(self._rested_at, self._rested)
            return
        batch = self._next()
        task = loop.create_task(self._carry(batch))
        self._tasks[task] = self._gone
        self._gone += len(batch)
        task.add_done_callback(lambda task: self._landed(task, began))

    def _rested(self) -> None:
        self._resting = None
        self._fly()

    def _landed(self, task: asyncio.Task[None], began: float) -> None:
        del self._tasks[task]
        now = asyncio.get_running_loop().time()
        self._rested_at = now + min(now - began, LONGEST_REST)
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
                self._gathered = sum(self._size(item) for item, _ in self._waiting)
                return batch
        batch, self._waiting = self._waiting, []
        self._gathered = 0
        return batch


class Groups(Generic[I, R]):
    """A `Group` for each loop that asks."""

    def __init__(self, make: Callable[[], Group[I, R]]) -> None:
        self._make = make
        self._groups: dict[asyncio.AbstractEventLoop, Group[I, R]] = {}

    def add(self, item: I) -> asyncio.Future[R]:
        """See `Group.add`; on the loop that runs."""
        loop = asyncio.get_running_loop()
        group = self._groups.get(loop)
        if group is None:
            group = self._groups[loop] = self._make()
        return group.add(item)

    async def settled(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """What was added before on this loop, or on any, has been carried out."""
        for its, group in list(self._groups.items()):
            if loop is None or its is loop:
                await group.settled()

    def clear(self) -> None:
        """Forgets them, when all is done."""
        self._groups.clear()
