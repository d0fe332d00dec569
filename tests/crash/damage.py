"""A store that was damaged while nobody used it, in hundreds of ways.

`python -m tests.crash.damage fill` makes one and is killed in it, so that its last commits stand in
the log; `... examine SECONDS SEED` damages copies of it and looks at what each still says.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from backroom import (
    FileJobStorage,
    JobInfo,
    JobRequest,
    JobService,
    StorageCorruptError,
    StorageError,
    StorageVersionError,
)
from tests.crash.stage import Stage
from tests.process.parts import Journal, die_with_parent

__all__ = ["damaged_store"]

FOLDER = Path(os.environ.get("PROCESS_TEST_FOLDER", "."))
WORDS = "many words, so that there are some pages; " * 5
EARLY, LATE, BATCH = 200, 100, 5
"""Jobs that stand in the database, jobs that stand in its log, and jobs in a call."""


def damaged_store(stage: Stage) -> None:
    """Truncated, flipped, overwritten: refused loudly, or all is there that was acknowledged, but
    for what `docs/guarantees.md` excepts."""
    filling = stage.family.start("-m", "tests.crash.damage", "fill")
    if filling.ends(60) != -signal.SIGKILL:
        stage.violations.append(f"filling the store failed:\n{filling.text}")
        return
    seed = str(stage.chance.randrange(10**6))
    looking = stage.family.start("-m", "tests.crash.damage", "examine", str(stage.seconds), seed)
    if (code := looking.ends(stage.seconds + 120)) != 0:
        stage.violations.append(f"a damaged store ended the process that looked: {code}")
        return
    told = json.loads(looking.text.splitlines()[-1])
    stage.violations += told["violations"]
    stage.figures.append(told["figures"])


# -- a store -----------------------------------------------------------------------------------


def _service(folder: Path) -> JobService:
    service = JobService(FileJobStorage(folder))
    service.declare("WORDS")
    return service


async def fill() -> None:
    """Some jobs, a clean end, and more jobs until it is killed."""
    journal = Journal(FOLDER)
    number = 0
    for size in (EARLY, LATE):
        service = _service(FOLDER / "jobs")
        while number < EARLY or (size == LATE and number < EARLY + LATE):
            requests = [JobRequest("WORDS", {"serial": str(number + n), "text": WORDS})
                        for n in range(BATCH)]  # fmt: skip
            await service.schedule_many(requests)
            for _ in requests:
                journal.write("acknowledged", str(number))
                number += 1
        if size == EARLY:
            await service.stop()
    os.kill(os.getpid(), signal.SIGKILL)


# -- its damage --------------------------------------------------------------------------------


class Damage(NamedTuple):
    """What was done to a file."""

    file: str
    how: str
    places: tuple[int, ...]
    """Where; for "truncated", the new size."""


FOUND_BY = {"id", "queue", "priority", "status", "run_at"}
"""Damage to these is detected; to the other values of a job it is not."""
HOWS = ("truncated", "a bit flipped", "a byte flipped", "8 bytes flipped", "512 zeroed",
        "4096 overwritten")  # fmt: skip


def _damage(path: Path, how: str, chance: random.Random) -> Damage:
    content = bytearray(path.read_bytes())
    size = len(content)
    place = chance.randrange(size)
    if chance.random() < 0.2:  # Where the structure is, more often than by chance.
        place = chance.choice([chance.randrange(100), place // 4096 * 4096 + chance.randrange(12)])
    places: tuple[int, ...] = (place,)
    if how == "truncated":
        del content[place:]
    elif how == "a bit flipped":
        content[place] ^= 1 << chance.randrange(8)
    elif how == "a byte flipped":
        content[place] ^= 0xFF
    elif how == "8 bytes flipped":
        places = tuple(chance.randrange(size) for _ in range(8))
        for each in places:
            content[each] ^= 0xFF
    else:
        length = 512 if how == "512 zeroed" else 4096
        start = place // length * length
        there = len(content[start : start + length])
        new = bytes(there) if how == "512 zeroed" else chance.randbytes(there)
        content[start : start + length] = new
        places = (start,)
    path.write_bytes(content)
    return Damage(path.name, how, places)


# -- what is left ------------------------------------------------------------------------------


async def examine(seconds: str, seed: str) -> None:
    """Prints, as JSON, what was wrong and what was seen."""
    chance = random.Random(int(seed))
    whole = FOLDER / "jobs"
    before = await _everything(shutil.copytree(whole, FOLDER / "copy"))
    acknowledged = (FOLDER.glob("*.journal").__next__()).read_text().count("acknowledged ")
    violations: list[str] = []
    if len(before) < acknowledged:
        violations.append(f"{len(before)} of {acknowledged} jobs are there after a kill")
    seen: Counter[str] = Counter()
    until = time.monotonic() + float(seconds)
    while time.monotonic() < until or seen.total() < 100:
        shutil.rmtree(FOLDER / "copy")
        copy = Path(shutil.copytree(whole, FOLDER / "copy"))
        name = chance.choice(["jobs.db", "jobs.db", "jobs.db-wal"])
        damage = _damage(copy / name, chance.choice(HOWS), chance)
        try:
            after = await _everything(copy)
        except (StorageCorruptError, StorageVersionError):
            verdict = "refused"
        except StorageError as error:
            verdict = "refused otherwise"
            violations.append(f"{damage}: refused without a word of damage: {error}")
        except Exception as error:
            verdict = "not understood"
            violations.append(f"{damage}: neither read nor refused: {error!r}")
        else:
            verdict, wrong = _judge(damage, before, after)
            violations += [f"{damage}: {text}" for text in wrong]
        seen[f"{damage.file} {verdict}"] += 1
    figures = ", ".join(f"{count} x {verdict}" for verdict, count in sorted(seen.items()))
    print(json.dumps({"violations": violations, "figures": f"{seen.total()} variants: {figures}"}))


async def _everything(folder: Path) -> list[JobInfo]:
    """All jobs, as look-ups tell them, in the order in which they came. The store also takes
    one more."""
    service = _service(folder)
    found: list[JobInfo] = []
    try:
        cursor = None
        while True:
            page = await service.get_jobs(limit=1000, cursor=cursor)
            found += page
            cursor = page.cursor
            if cursor is None:
                break
        await service.schedule("WORDS")
    finally:
        await service.stop()
    return found[::-1]


def _judge(
    damage: Damage, before: Sequence[JobInfo], after: Sequence[JobInfo]
) -> tuple[str, Sequence[str]]:
    """What is left, and what is wrong with that."""
    if damage.file.endswith("-wal"):
        # What is said of the log: it ends where the damage begins, with a whole commit.
        if len(after) < EARLY or len(after) % BATCH or before[: len(after)] != after:
            return "has a hole", [f"{len(after)} jobs, not the first ones that came"]
        return ("whole" if len(after) == len(before) else "ends early"), []
    if before == after:
        return "whole", []
    if len(before) != len(after):
        return "lacks jobs", [f"{len(after)} jobs of {len(before)}"]
    changed = [(one, other) for one, other in zip(before, after, strict=True)
               if one != other]  # fmt: skip
    fields = {name for one, other in changed for name in one.__struct_fields__
              if getattr(one, name) != getattr(other, name)}  # fmt: skip
    if not fields & FOUND_BY:
        return "with other values", []
    return "changed", [f"{len(changed)} jobs changed: {sorted(fields)}"]


PROGRAMS = {program.__name__: program for program in (fill, examine)}

if __name__ == "__main__":
    die_with_parent()
    asyncio.run(PROGRAMS[sys.argv[1]](*sys.argv[2:]))
