"""Functions as tasks, in a module that knows no service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pydantic

from backroom import JobRegistry, current_job

jobs = JobRegistry()


@dataclass
class Point:
    x: int
    y: int = 0


class Person(pydantic.BaseModel):
    name: str
    age: int = 0


@jobs.task
def add(a: int, b: int) -> int:
    return a + b


@jobs.task(retries=0, queue="slow", name="MIRROR")
async def mirror(point: Point, *, scale: float = 1.0) -> Point:
    return Point(round(-point.x * scale), -point.y)


@jobs.task(retries=0)
def greet(person: Person, greeting: str = "Hello", *others: Person, **titles: str) -> list[str]:
    names = [person, *others]
    return [f"{greeting}, {titles.get(p.name, '')}{p.name} ({p.age})" for p in names]


@jobs.task(retries=0)
def birthday(person: Person) -> Person:
    return Person(name=person.name, age=person.age + 1)


@jobs.task(retries=0)
def only_by_place(a: int, b: int = 2, /, c: int = 3, *, d: int = 4) -> list[int]:
    return [a, b, c, d]


@jobs.task(retries=0)
def untyped(a, b=None):  # type: ignore[no-untyped-def]
    return {"a": a, "b": b}


@jobs.task(retries=0)
def wrong_result(a: int) -> int:
    return "no number"  # type: ignore[return-value]


@jobs.task(retries=0)
def says() -> None:
    job = current_job()
    job.log.info("attempt %d", job.attempt)
    job.progress(0.5)


def plain_call() -> Any:
    return current_job()
