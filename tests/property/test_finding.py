"""Filters against a plain reading of the jobs themselves, over jobs and filters at random."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from backroom.inspecting import Filter
from backroom.job import JobInfo, JobStatus, microseconds
from backroom.transition import Transition
from tests.contract.parts import Bench, Place, SettableClock
from tests.contract.storages import STORAGES

TYPES = ("SEND_EMAIL", "REPORT", "Report")
QUEUES = ("default", "mail")
TAGS = ("red", "Red", "re", "a%b", "ä")
ERRORS = ("OSError", "crash")
WORDS = (
    "ada", "ADA", "e", "report", "%", "_", "\\", 'say "hi"', "ärger", "RED", "key-1", "boom",
    "a\tb", "example.com", "zzz",
)  # fmt: skip
PRIORITIES = ("critical", "high", "normal", "low")
ROUNDS = 120


def folded(text: str) -> str:
    return "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in text)


def has(text: str, info: JobInfo) -> bool:
    """Whether it stands in one of the fields that people look in."""
    wanted = folded(text)
    escaped = json.dumps(wanted, ensure_ascii=False)[1:-1]
    data = folded(msgspec.json.encode(info.data).decode())
    fields = [info.id, info.type, info.error, info.unique_key, *info.tags]
    return (
        wanted in data
        or escaped in data
        or any(wanted in folded(field) for field in fields if field is not None)
    )


def matches(which: Filter, info: JobInfo) -> bool:
    last = info.errors[-1].kind if info.errors else None
    made = microseconds(info.created_at)
    return all(
        said is None or holds(said)
        for said, holds in [
            (which.status, lambda said: info.status == said),
            (which.type, lambda said: info.type == said),
            (which.queue, lambda said: info.queue == said),
            (which.tag, lambda said: said in info.tags),
            (which.error, lambda said: last == said),
            (which.text, lambda said: has(said, info)),
            (which.worker, lambda said: info.worker == said),
            (which.priority, lambda said: PRIORITIES.index(info.priority) == said),
            (which.since, lambda said: made >= said),
            (which.until, lambda said: made < said),
        ]
    )


async def some_jobs(bench: Bench, chance: random.Random) -> list[str]:
    """Of every status, with all kinds of words in them."""
    ids: list[str] = []
    workers = [await bench.enlist(f"host:{n}") for n in range(2)]
    for number in range(90):
        options: dict[str, Any] = {}
        if chance.random() < 0.5:
            options["tags"] = chance.sample(TAGS, chance.randint(1, 2))
        if chance.random() < 0.3:
            options["metadata"] = {"note": chance.choice(WORDS)}
        fields: dict[str, Any] = {
            "type": chance.choice(TYPES), "queue": chance.choice(QUEUES),
            "priority": chance.randrange(4), "delay": chance.choice((0, 0, 0, 600)),
            "data": msgspec.json.encode({"to": chance.choice(WORDS), "n": number}).decode(),
            "options": msgspec.json.encode(options).decode() if options else None,
        }  # fmt: skip
        if chance.random() < 0.2:
            fields["unique_key"] = f"Key-{number}"
        ids.append(await bench.add(**fields))
        bench.clock.advance(chance.choice((0, 0.5)))
        if number % 7 == 6:
            worker = chance.choice(workers)
            claims = await bench.claim(worker, 4, queues=QUEUES)
            await bench.begin(worker, *claims)
            for claim in claims:
                how = chance.choice(("completed", "failed", "retried", "cancelled", "parked", ""))
                if how == "parked":
                    await bench.finish(worker, Transition.parked(claim))
                elif how:
                    await bench.finish(worker, getattr(bench, how)(claim))
    return ids


def some_filter(chance: random.Random, bench: Bench, ids: list[str]) -> Filter:
    words = [*WORDS, chance.choice(ids), chance.choice(ids)[-9:]]
    may = {
        "status": list(JobStatus), "type": TYPES, "queue": (*QUEUES, "never"), "tag": TAGS,
        "error": ERRORS, "text": words, "worker": ("host:0", "host:1", "host:2"),
        "priority": range(4), "since": [bench.later(-20)], "until": [bench.later(-10)],
    }  # fmt: skip
    names = chance.sample(sorted(may), chance.choice((1, 1, 2, 2, 3)))
    return Filter(**{name: chance.choice(list(may[name])) for name in names})


@pytest.mark.parametrize("kind", STORAGES)
@pytest.mark.parametrize("seed", range(2))
async def test_what_is_found_is_what_matches(kind: str, seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    clock = SettableClock()
    async with STORAGES[kind](tmp_path) as make:
        place = Place(make, clock)
        bench = await place.open()
        ids = await some_jobs(bench, chance)
        jobs = [await bench.info(job) for job in reversed(ids)]
        for _ in range(ROUNDS):
            which = some_filter(chance, bench, ids)
            wanted = [info.id for info in jobs if matches(which, info)]
            if which.text in ids:  # The id of a job means that job alone.
                wanted = [job for job in wanted if job == which.text]
            assert (await bench.page(**_said(which)))[0] == wanted, which
            assert await _bit_by_bit(bench, which, chance) == (wanted, len(wanted)), which
        await place.close()


async def _bit_by_bit(bench: Bench, which: Filter, chance: random.Random) -> tuple[list[str], int]:
    """The same by looks at a few jobs at a time, and how many there are by counts of a few."""
    found: list[str] = []
    cursor = None
    while True:
        looked = await bench.storage.look(which, bench.now, chance.randint(1, 5), cursor, 13)
        found += [job.id for job in looked.jobs]
        assert looked.seen <= 13
        cursor = looked.cursor
        if cursor is None:
            break
    count = 0
    while True:
        counted = await bench.storage.count(which, bench.now, cursor, 17)
        count += counted.jobs
        cursor = counted.cursor
        if cursor is None:
            return found, count


def _said(which: Filter) -> dict[str, Any]:
    return {
        name: getattr(which, name)
        for name in which.__struct_fields__
        if getattr(which, name) is not None
    }
