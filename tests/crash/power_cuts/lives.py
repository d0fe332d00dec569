"""Lives of a store: what an application does with it, through the real service and storage."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import apsw

from backroom.storage.sqlite import connect
from tests.crash.power_cuts.application import Application

__all__ = ["LIVES", "NEXT_LIVES", "Life", "settled"]

ONLY_ONCE: Final = "only once"
"""The unique key of a job that waits in every store."""
SMALL_LOG: Final = {"wal_autocheckpoint": "12", "journal_size_limit": "20000"}
"""The log is copied into the database, begun anew and cut after a few commits, not thousands."""


@contextmanager
def settled(**pragmas: str) -> Iterator[None]:
    """Connections of the store are settled as always, and then differently."""
    plain = connect._settle

    def settle(connection: apsw.Connection, durability: connect.Durability) -> None:
        plain(connection, durability)
        for name, value in pragmas.items():
            list(connection.execute(f"PRAGMA {name} = {value}"))

    connect._settle = settle
    try:
        yield
    finally:
        connect._settle = plain


Life = Callable[[Application], Awaitable[None]]


async def first_days(application: Application) -> None:
    """A few jobs, and the store is closed, and opened again."""
    for _ in range(3):
        await application.service.open()
        await application.look()
        await application.schedule("GOOD", delay=3600, unique_key=ONLY_ONCE)
        await application.schedule("GOOD", delay=3600)
        await application.schedule_many("GOOD", 3)
        await application.service.stop()


async def office(application: Application) -> None:
    """A worker, and people who steer its jobs."""
    app = application
    async with app.service:
        for type_ in ("GOOD", "FLAKY", "BAD", "TALK", "LATER"):
            await app.end(await app.schedule(type_))
        bad = await app.schedule("BAD")
        await app.end(bad)
        await app.retry(bad)
        await app.end(bad)
        await app.delete(bad)
        await app.pause("letters", True)
        waiting = [await app.schedule("GOOD", queue="letters") for _ in range(3)]
        await app.cancel(waiting[0])
        await app.delete(waiting[1])
        for _ in range(2):
            await app.schedule("GOOD", delay=3600, unique_key=ONLY_ONCE)
        app.held.clear()
        held = await app.schedule("HOLD")
        await app.held.wait()
        await app.cancel(held)
        await app.end(held)
        await app.pause("letters", False)
        await app.end(waiting[2])
        many = await app.schedule_many(app.rng.choice(["GOOD", "FLAKY"]), 6)
        await asyncio.gather(*[app.end(number) for number in many])
    await app.service.open()
    await app.look()
    await app.service.stop()


async def crowd(application: Application) -> None:
    """Many at once: their changes travel together."""
    app = application
    async with app.service:
        numbers: list[int] = []
        for _ in range(2):
            types = app.rng.choices(["GOOD", "FLAKY", "TALK", "BAD"], k=10)
            numbers = await asyncio.gather(*[app.schedule(type_) for type_ in types])
            await asyncio.gather(*[app.end(number) for number in numbers])
        gone = app.rng.sample(numbers, 4)
        await asyncio.gather(*[app.delete(number) for number in gone])


async def long_log(application: Application) -> None:
    """The log is begun anew again and again, and the database grows and shrinks in the middle."""
    app = application
    with settled(**SMALL_LOG):
        async with app.service:
            ended: list[int] = []
            for _ in range(12):
                number = await app.schedule("GOOD")
                await app.end(number)
                ended.append(number)
                if len(ended) > 6:
                    await app.delete(ended.pop(app.rng.randrange(len(ended))))
            await app.schedule_many("GOOD", 8)
        await app.service.open()
        await app.look()
        await app.schedule("GOOD", delay=3600)
        await app.service.stop()


async def cleaning(application: Application) -> None:
    """What has ended is not kept."""
    app = application
    with settled(**SMALL_LOG):
        app.storage.retention = 0
        async with app.service:
            for _ in range(3):
                await asyncio.gather(*[app.end(n) for n in await app.schedule_many("BAD", 5)])
                await app.prune()
            await app.schedule("GOOD", delay=3600)


async def steps(application: Application) -> None:
    """One change after the other: which of them are kept can be told exactly."""
    app = application
    with settled(**SMALL_LOG):
        await app.service.open()
        there: dict[int, int] = {}
        for turn in range(1, 17):
            number = next(app.numbers)
            there[number] = 0
            await app.step(app.schedule("GOOD", number, delay=3600), there)
            if turn % 3 == 0:
                other = app.rng.choice(list(there))
                there[other] = 4
                await app.step(app.cancel(other), there)
            if turn % 5 == 0:
                other = app.rng.choice(list(there))
                del there[other]
                await app.step(app.delete(other), there)
        await app.service.stop()


async def next_day(application: Application) -> None:
    """After whatever happened: what is there is looked at, counted on, and worked off."""
    app = application
    await app.service.open()
    await app.schedule("GOOD", delay=3600, unique_key=ONLY_ONCE)
    await app.look()
    async with app.service:
        await app.schedule("FLAKY")
        number = await app.schedule("GOOD")
        await app.end(number)
        await app.delete(number)


LIVES: Final[dict[str, Life]] = {
    life.__name__: life for life in (first_days, office, crowd, long_log, cleaning, steps)
}
NEXT_LIVES: Final[Sequence[Life]] = (next_day, first_days, long_log)
