"""What a seed means: how many processes, what they do, and what befalls them.

Each seed has some kinds of trouble and not others, some of them often. Worlds with everything at
once would hide from each other what only shows where nothing else happens.
"""

from __future__ import annotations

import random
from typing import Final

import msgspec

from backroom.schedule import Missed, Overlap
from tests.simulation.network import Weather

__all__ = ["ACTS", "TROUBLES", "Beat", "Plan", "make_plan"]

IN_TURN: Final = {"crash", "cut", "kill at once", "refused", "term", "unheard"}
"""Troubles that change nobody's turn. What arrives late, by a clock of before, has an earlier one;
and what arrives twice may take two."""

ACTS: Final = (
    "ok", "slow", "error", "fail", "snooze", "cancel", "retry", "hang", "stubborn", "bad result",
    "block", "talk", "follow", "kill",
)  # fmt: skip
TROUBLES: Final = (
    "crash", "stop", "term", "cut", "clock", "people", "refused", "lost", "slow", "twice",
    "unheard", "kill at once",
)  # fmt: skip


class Beat(msgspec.Struct):
    """A schedule, which all workers declare."""

    name: str
    rule: float | str
    """Seconds; or a cron expression."""
    tz: str
    missed: Missed
    overlap: Overlap
    acts: tuple[str, ...]
    """As those of other jobs."""


class Plan(msgspec.Struct):
    """One world."""

    seed: int
    troubles: frozenset[str]
    workers: int
    producers: int
    jobs: int
    """That each producer schedules, about."""
    seconds: float
    """Until all is well."""
    lease: float
    concurrency: int
    poll: float
    starvation: float
    retention: float | None
    acts: tuple[str, ...]
    weather: Weather
    flood: bool
    """So many urgent jobs that the others would never have their turn."""
    drift: float
    """How much faster or slower a clock may go."""
    unique: bool = False
    """Many jobs have unique keys, held and met in every way."""
    batch: int = 0
    """Jobs of type WORK that the handlers of some processes run at once; 0: none does."""
    within: float = 0.0
    """Seconds that the first of them waits for the others."""
    beats: tuple[Beat, ...] = ()
    flows: bool = False
    """Some of the jobs wait for others."""

    lane: int = 0
    """How many jobs of a lane may run at once; 0: as many as there are."""
    pace: int = 0
    """How many of a lane may start in a second; 0: as many as there are."""
    burst: int = 1
    """How many of these at once."""
    turns: bool = False
    """The lanes take turns."""
    operated: bool = False
    """Somebody limits queues, and lifts that, while workers hold jobs of them ahead."""
    crowd: bool = False
    """One of them has more jobs than can be run, and the other one has some now and then."""

    @property
    def lanes(self) -> bool:
        """Jobs have a lane."""
        return bool(self.lane or self.pace or self.turns)

    @property
    def peaceful(self) -> bool:
        """Nothing befalls it, so nothing excuses anything."""
        return not self.troubles


def make_plan(seed: int, *, shared_clock: bool = False) -> Plan:
    """`shared_clock`: all processes are on one machine."""
    chance = random.Random(seed)
    some = [trouble for trouble in TROUBLES if chance.random() < 0.35]
    flood = chance.random() < 0.06
    if flood:
        # A worker that is new begins to count anew when it is the turn of the oldest.
        some = [trouble for trouble in some if trouble == "unheard"]
    troubles = frozenset(() if chance.random() < 0.06 else some)
    crowd = not flood and random.Random(f"a crowd in {seed}").random() < 0.06
    if crowd:
        troubles &= IN_TURN
    lease = chance.choice((1.0, 2.0, 4.0))
    acts = ["ok", *(act for act in ACTS if chance.random() < (0.15 if act == "kill" else 0.4))]
    if flood:
        acts = [act for act in acts if act != "kill"]
    weather = Weather(latency=chance.choice((0.0002, 0.002, 0.02)))
    if "slow" in troubles:
        weather.slow = chance.choice((0.02, 0.1, 0.3))
        weather.slowest = chance.choice((0.3, lease, 3 * lease))
    for name in ("refused", "lost", "twice", "unheard"):
        if name in troubles:
            setattr(weather, name, chance.choice((0.01, 0.05, 0.2)))
    apart = random.Random(f"many at once {seed}")  # What else a seed means does not depend on it.
    bulk = not flood and apart.random() < 0.3
    other = random.Random(f"limits of {seed}")  # Nor on this.
    lane = other.choice((1, 2, 3)) if not flood and other.random() < 0.4 else 0
    pace = other.choice((1, 2, 5)) if not flood and other.random() < 0.25 else 0
    plan = Plan(
        seed=seed,
        pace=pace,
        burst=min(pace or 1, other.choice((1, 1, 3))),
        turns=not flood and other.random() < 0.25,
        batch=apart.choice((2, 4, 20)) if bulk else 0,
        within=apart.choice((0.0, 0.05, 0.5, 2.0)),
        beats=() if flood else _beats(random.Random(f"schedules {seed}")),
        lane=lane,
        troubles=troubles,
        workers=chance.randint(1, 2 if flood else 3),
        producers=chance.randint(1, 2),
        jobs=chance.choice((3, 6, 12)),
        seconds=8.0 if flood else chance.choice((3.0, 4.0, 7.0)),
        lease=lease,
        concurrency=1 if flood else chance.choice((1, 2, 5)),
        poll=chance.choice((1.0, 1.0, 3.0)),
        starvation=1.0 if flood else chance.choice((1.0, 5.0, 60.0)),
        flood=flood,
        retention=chance.choice((None, None, 2.0, 0.0)),
        acts=tuple(acts),
        weather=weather,
        drift=0.0 if shared_clock or flood else chance.choice((0.0, 0.001, 0.02)),
        # Apart, so that all other seeds mean what they meant.
        unique=not flood and random.Random(f"unique {seed}").random() < 0.3,
        flows=not flood and random.Random(f"flows {seed}").random() < 0.5,
        operated="people" in troubles and random.Random(f"operators of {seed}").random() < 0.4,
    )
    if plan.operated:
        plan = msgspec.structs.replace(plan, seconds=10.0)
    return _crowded(plan) if crowd else plan


def _crowded(plan: Plan) -> Plan:
    """The same, with nothing in it by which one job might be meant to go before another."""
    return msgspec.structs.replace(
        plan, crowd=True, turns=True, lane=0, pace=0, workers=min(plan.workers, 2), producers=1,
        concurrency=1, beats=(), unique=False, flows=False, drift=0.0, acts=("ok",), seconds=8.0,
    )  # fmt: skip


def _beats(chance: random.Random) -> tuple[Beat, ...]:
    """Some with a tick every other second, and one that ticks where clocks are set."""
    if chance.random() > 0.15:
        return ()
    beats = []
    for number in range(chance.randint(1, 2)):
        rule, missed = chance.choice(_RULES)
        beats.append(
            Beat(
                name=f"beat {number}",
                rule=rule,
                tz=chance.choice(("UTC", "Europe/Paris")),
                missed=missed,
                overlap=chance.choice(("allow", "skip", "queue")),
                acts=chance.choice((("ok",), ("slow", "ok"), ("error", "ok"), ("slow",))),
            )
        )
    return tuple(beats)


_RULES: Final[tuple[tuple[float | str, Missed], ...]] = (
    (1.0, "skip"), (2.0, "run_once"), ("*/2 * * * * *", "skip"), ("*/3 * * * * *", "run_once"),
    (600.0, "run_all"), ("*/5 * * * *", "run_all"),
)  # fmt: skip
