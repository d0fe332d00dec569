"""What runs is counted: permits of active jobs, and the lines of those that wait for one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import astuple

from backroom.admitting import AHEAD, APART, Asking, Gate, Line, Place, admit, called, moments
from backroom.job import SECOND
from backroom.limit import MARK, QUEUE, UNLIMITED, LimitInfo, LimitRecord, Need, limits_of
from backroom.ports import Wake
from backroom.storage.sqlite import turns
from backroom.storage.sqlite.bulk import Bulk
from backroom.storage.sqlite.ledger import Ledger, encode
from backroom.transition import Claim

__all__ = [
    "admitted",
    "every",
    "free_up",
    "leave",
    "let_go",
    "limit_queue",
    "limited",
    "operated",
    "put",
    "sift",
    "step_out",
]

SIFTED: Final = 1000
"""Jobs behind one that found no room that are looked at with it."""
PATIENCE: Final = 5 * SECOND
"""Microseconds for which room is kept for one that was called."""
HOUR: Final = 3600 * SECOND
PLACES: Final = 200
"""Lines that one call of `free_up` looks at."""

PUT: Final = """
    INSERT INTO limits (name, most, per, burst) VALUES (?, ?, ?, ?)
    ON CONFLICT (name) DO UPDATE SET most = excluded.most, per = excluded.per,
        burst = excluded.burst
"""
PUT_OWN: Final = """
    INSERT INTO limits (name, most, per, burst, own) VALUES (?1, ?2, 0, 1, ?3)
    ON CONFLICT (name) DO UPDATE SET own = excluded.own
"""
OWN: Final = "SELECT name, own FROM limits WHERE own IS NOT NULL"
# Whoever made them did not say that they are counted: of those whose worker has not heard of it
# when they end, `free_up` finds what is left.
COUNT_ACTIVE: Final = """
    INSERT OR IGNORE INTO permit (job, name, key, slots)
    SELECT key, ?1, '', 1 FROM job INDEXED BY job_active WHERE state = 1 AND queue = ?2
"""
LIMITED: Final = "SELECT " + " OR ".join(
    f"EXISTS (SELECT 1 FROM {table})" for table in ("permit", "blocked", "pace", "turn", "later")
)
KNOW: Final = "INSERT OR IGNORE INTO limits (name, most, per, burst) VALUES (?, ?, ?, ?)"
_OPEN: Final = (
    "b.called_at IS NULL"
    " AND NOT EXISTS (SELECT 1 FROM queue WHERE queue.name = b.queue AND queue.paused)"
)
GATE: Final = f"""
    SELECT ifnull(own, most), (SELECT total(slots) FROM permit WHERE name = ?1 AND key = ?2),
           (SELECT json_group_array(json_array(json_array(priority, run_at, job), slots))
            FROM blocked WHERE name = ?1 AND key = ?2 AND called_at IS NOT NULL),
           b.priority, b.run_at, b.job, per, burst,
           CASE WHEN per THEN
               ifnull((SELECT free_at FROM pace WHERE name = ?1 AND key = ?2), 0) ELSE 0 END
    FROM limits LEFT JOIN (
        SELECT priority, run_at, job FROM blocked AS b
        WHERE b.name = ?1 AND b.key = ?2 AND {_OPEN}
        ORDER BY b.priority, b.run_at, b.job LIMIT 1) AS b
    WHERE limits.name = ?1
"""
GRANT: Final = Bulk(
    "INSERT OR REPLACE INTO permit (job, name, key, slots)"
    " SELECT rows.* FROM {rows} AS rows WHERE column1 IS NOT NULL",
    width=4,
)
# Who has just been claimed holds none yet.
NOT_YET: Final = "DELETE FROM permit WHERE job IN (SELECT value FROM json_each(?1))"
ASIDE: Final = """
    UPDATE job SET state = 5, worker = NULL WHERE key IN (SELECT value->>0 FROM json_each(?1))
"""
LINE_UP: Final = """
    INSERT OR REPLACE INTO blocked (job, name, key, slots, queue, priority, run_at)
    SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6
    FROM json_each(?1)
"""
# Whatever ended the holding, or the waiting.
DROP_PERMITS: Final = """
    DELETE FROM permit WHERE job IN (SELECT value FROM json_each(?1))
    AND NOT EXISTS (SELECT 1 FROM job WHERE job.key = permit.job AND job.state = 1)
    RETURNING name, key
"""
DROP_BLOCKED: Final = """
    DELETE FROM blocked WHERE job IN (SELECT value FROM json_each(?1))
    AND NOT EXISTS (SELECT 1 FROM job WHERE job.key = blocked.job AND job.state = 5)
    RETURNING name, key
"""
GONE: Final = "DELETE FROM blocked WHERE job IN (SELECT value FROM json_each(?1))"
OUT: Final = f"{GONE} RETURNING name, key"
HEADS: Final = f"""
    SELECT job, slots, priority, run_at FROM blocked AS b
    WHERE b.name = ?1 AND b.key = ?2 AND {_OPEN}
    ORDER BY b.priority, b.run_at, b.job LIMIT ?3
"""
KEEP_ROOM: Final = """
    UPDATE blocked SET called_at = ?2 WHERE job IN (SELECT value FROM json_each(?1))
"""
PACE: Final = "INSERT OR REPLACE INTO pace (name, key, free_at) VALUES (?1, ?2, ?3)"
# When their moment has come, and somebody claims them.
TELL: Final = """
    UPDATE blocked SET called_at = t.value->>1 FROM json_each(?1) AS t WHERE job = t.value->>0
"""
# +: each by its key, and not looked for among all that are blocked.
TOLD: Final = """
    UPDATE job SET state = 0, run_at = t.value->>1 FROM json_each(?1) AS t
    WHERE job.key = t.value->>0 AND +job.state = 5
"""
# Those in line and those that were called: an index for each.
OVER: Final = """
    DELETE FROM pace WHERE free_at < ?1
    AND NOT EXISTS (SELECT 1 FROM blocked AS b WHERE b.name = pace.name AND b.key = pace.key
                    AND b.called_at IS NULL)
    AND NOT EXISTS (SELECT 1 FROM blocked AS b WHERE b.name = pace.name AND b.key = pace.key
                    AND b.called_at IS NOT NULL)
"""
CALL: Final = """
    UPDATE job SET state = 0 WHERE key IN (SELECT value FROM json_each(?1)) AND state = 5
"""
# Who was called and is claimed now: the room that was kept for it is its own, or others'.
ANSWER: Final = """
    DELETE FROM blocked WHERE job IN (SELECT value FROM json_each(?1)) RETURNING job, run_at
"""
# Told a moment that is too far away: the clock was set back since.
FAR: Final = """
    SELECT job FROM blocked JOIN limits USING (name) WHERE called_at > ?1 + per
"""
TAKE_BACK: Final = """
    UPDATE job SET state = 5 WHERE key IN (SELECT value FROM json_each(?1)) AND state = 0
"""
LINE_UP_AGAIN: Final = """
    UPDATE blocked SET called_at = NULL WHERE job IN (SELECT value FROM json_each(?1))
"""
NO_ANSWER: Final = "DELETE FROM blocked WHERE called_at <= ?"
# What waits behind: of so many, those that are limited, and for which no room is kept.
SIFT: Final = f"""
    SELECT key, queue, priority, run_at, options FROM (
        SELECT key, queue, priority, run_at, options FROM job
        WHERE state = 0 AND queue = ?1 AND priority = ?2 AND run_at <= ?3
        ORDER BY run_at, key LIMIT ?4)
    WHERE instr(options, '{MARK}') AND key NOT IN (SELECT job FROM blocked)
"""
NEXT_PLACE: Final = """
    SELECT name, key FROM blocked WHERE called_at IS NULL AND (name, key) > (?1, ?2)
    ORDER BY name, key LIMIT 1
"""
ORPHANS: Final = """
    SELECT DISTINCT job FROM permit
    WHERE NOT EXISTS (SELECT 1 FROM job WHERE job.key = permit.job AND job.state = 1)
"""
EVERY: Final = """
    SELECT l.name, ifnull(l.own, l.most), l.per, l.burst, l.own,
           (SELECT CAST(total(slots) AS INTEGER) FROM permit WHERE permit.name = l.name),
           (SELECT count(*) FROM blocked WHERE blocked.name = l.name AND called_at IS NULL)
    FROM limits AS l WHERE l.own IS NOT NULL OR l.most < ?1 ORDER BY l.name
"""

Run = Callable[..., Any]
"""`Connection.execute`."""


def put(ledger: Ledger, limits: Sequence[LimitRecord], now: int) -> None:
    """See `Limiting.put_limits`."""
    for limit in limits:
        ledger.run(PUT, astuple(limit))
    free_up(ledger, now)


def limit_queue(ledger: Ledger, queue: str, most: int | None, now: int) -> None:
    """See `Limiting.limit_queue`."""
    name = f"{QUEUE}{queue}"
    ledger.run(PUT_OWN, (name, UNLIMITED, most))
    if most is not None:
        ledger.run(COUNT_ACTIVE, (name, queue))
    free_up(ledger, now)
    ledger.wakes |= {Wake.CONTROL, Wake.JOBS}


def operated(run: Run) -> dict[str, int]:
    """See `Limiting.operated`."""
    return {name.removeprefix(QUEUE): own for name, own in run(OWN)}


def every(run: Run) -> list[LimitInfo]:
    """See `Limiting.limits`."""
    return [
        LimitInfo(
            name=name, most=most, per=per / SECOND if per else None,
            burst=LimitRecord(name, most, per, burst).at_once, used=used, blocked=blocked, own=own,
        )
        for name, most, per, burst, own, used, blocked in run(EVERY, (UNLIMITED,))
    ]  # fmt: skip


def admitted(ledger: Ledger, worker: int, claims: list[Claim], now: int) -> list[Claim]:
    """Those of these claims that may run; the others wait for room, and are nobody's."""
    limited = [(one, needs) for one in claims if (needs := limits_of(one.options))]
    if not limited:
        return claims
    asked = encode([claim.key for claim, _ in limited])
    ledger.run(NOT_YET, (asked,))
    stood = dict(ledger.run(ANSWER, (asked,)))
    asking = [
        Asking(one, needs, (one.priority, stood.get(one.key, one.run_at), one.key))
        for one, needs in limited
    ]
    gates = _gates(ledger, [need for one in asking for need in one.needs])
    admission = admit(asking, gates, now)
    GRANT.run(
        ledger,
        [
            (claim.key, need.name, need.key, gates[need.place].taken(need.slots))
            for claim, need in admission.permits
        ],
    )
    for (name, key), gate in gates.items():
        if gate.per:
            ledger.run(PACE, (name, key, gate.free_at))
    aside = {one.claim.key for one, _ in admission.blocked}
    if aside:
        _put_aside(
            ledger,
            [
                (one.claim.key, need.name, need.key, need.slots, one.claim.queue, *one.line[:2])
                for one, need in admission.blocked
            ],
        )
        ledger.unmark(worker, aside)
    _let_in(ledger, admission.vacant, now)
    return [claim for claim in claims if claim.key not in aside] if aside else claims


def sift(ledger: Ledger, queue: str, priority: int, now: int) -> bool:
    """Puts aside what waits next in a queue and has no room either, without a claim for each;
    whether there was any."""
    waiting = [
        (key, own, lane, run_at, limits_of(options))
        for key, own, lane, run_at, options in ledger.run(SIFT, (queue, priority, now, SIFTED))
    ]
    gates = _gates(ledger, [need for *_, needs in waiting for need in needs])
    aside: list[tuple[Any, ...]] = []
    for key, own, lane, run_at, needs in waiting:
        line = lane, run_at, key
        lacking = next((n for n in needs if gates[n.place].lacks(n, line, now)), None)
        if lacking is not None:
            place = lacking.name, lacking.key, lacking.slots
            aside.append((key, *place, own, lane, run_at))
    if aside:
        _put_aside(ledger, aside)
        _let_in(ledger, {(name, own_key) for _, name, own_key, *_ in aside}, now)
    return bool(aside)


def let_go(ledger: Ledger, keys: Iterable[int], now: int) -> None:
    """Whatever became of these jobs: what they hold no more is free, what they wait for no more
    is others', and as many as have room now are called."""
    text = encode(list(keys))
    freed: set[Place] = set()
    for drop in (DROP_PERMITS, DROP_BLOCKED):
        freed.update(ledger.run(drop, (text,)))
    _let_in(ledger, freed, now)


def step_out(ledger: Ledger, keys: Iterable[int], now: int) -> None:
    """These jobs wait in no line any more, and no room is kept for them: they ask again when they
    are claimed. Who stood behind them may have room now."""
    _let_in(ledger, set(ledger.run(OUT, (encode(list(keys)),))), now)


def leave(ledger: Ledger, keys: Iterable[int]) -> None:
    """These jobs are gone, and wait in no line. Who stood behind them is called by `free_up`."""
    ledger.run(GONE, (encode(list(keys)),))


def limited(run: Callable[..., Any]) -> bool:
    """Whether anybody counts, waits in a line, or takes turns."""
    [(some,)] = run(LIMITED)
    return bool(some)


def free_up(ledger: Ledger, now: int) -> int:
    """See `Limiting.free_up`."""
    ledger.run(NO_ANSWER, (now - PATIENCE,))
    far = encode([key for (key,) in ledger.run(FAR, (now + AHEAD + APART,))])
    ledger.run(TAKE_BACK, (far,))
    ledger.run(LINE_UP_AGAIN, (far,))
    let_go(ledger, [key for (key,) in ledger.run(ORPHANS)], now)
    place: Place | None = ledger.freed_to
    total = turns.take_late(ledger, now)
    for _ in range(PLACES):
        place = ledger.run(NEXT_PLACE, place).fetchone()
        if place is None:
            break
        total += _let_in(ledger, {place}, now)
    ledger.freed_to = place or ("", "")
    if place is None:
        turns.tidy(ledger, now)
        ledger.run(OVER, (now - HOUR,))
    return total


def _gates(ledger: Ledger, needs: Iterable[Need]) -> dict[Place, Gate]:
    gates: dict[Place, Gate] = {}
    for need in needs:
        if need.place not in gates:
            if need.name not in ledger.limits:
                ledger.run(KNOW, astuple(need.record))
                ledger.limits.add(need.name)
            gates[need.place] = _gate(ledger, need.place)
    return gates


def _gate(ledger: Ledger, place: Place) -> Gate:
    [(most, used, kept, priority, run_at, job, *rate)] = ledger.run(GATE, place)
    front = None if job is None else (priority, run_at, job)
    return Gate(most, int(used), _called.decode(kept), front, *rate)


def _put_aside(ledger: Ledger, rows: Sequence[tuple[Any, ...]]) -> None:
    """Job, name, key, slots, queue, priority, run_at."""
    text = encode(rows)
    ledger.run(ASIDE, (text,))
    ledger.run(LINE_UP, (text,))


def _let_in(ledger: Ledger, freed: Iterable[Place], now: int) -> int:
    total = 0
    for place in sorted(freed):
        gate = _gate(ledger, place)
        if gate.front is None:
            continue
        if gate.set_right(now):
            ledger.run(PACE, (*place, gate.free_at))
        if gate.per:
            total += _tell(ledger, place, gate, now)
            continue
        if gate.room <= 0:
            continue
        heads: Any = ledger.run(HEADS, (*place, gate.room)).fetchall()
        keys = called([(key, slots) for key, slots, *_ in heads], gate)
        if keys:
            text = encode(keys)
            ledger.run(KEEP_ROOM, (text, now))
            ledger.run(CALL, (text,))
            total += len(keys)
    if total:
        ledger.wakes.add(Wake.JOBS)
    return total


def _tell(ledger: Ledger, place: Place, gate: Gate, now: int) -> int:
    """Those at the head of a line are told when they may start."""
    heads: Any = ledger.run(HEADS, (*place, gate.untold)).fetchall()
    ats = moments(gate, [(priority, run_at, key) for key, _, priority, run_at in heads], now)
    if ats:
        text = encode([(key, at) for (key, *_), at in zip(heads, ats, strict=False)])
        ledger.run(TELL, (text,))
        ledger.run(TOLD, (text,))
    return len(ats)


_called: Final = msgspec.json.Decoder(list[tuple[Line, int]])
