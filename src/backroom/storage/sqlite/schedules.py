"""Schedules and their ticks. Each verb is one transaction; see `Planning`."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import apsw
from msgspec.structs import astuple

from backroom.ports import Wake
from backroom.schedule import Firing, ScheduleRecord, Tick
from backroom.storage.decided import MORE_TICKS, MOST_TICKS, due_jobs, jobs_to_make, settled
from backroom.storage.sqlite import inserts
from backroom.storage.sqlite.bulk import Bulk
from backroom.storage.sqlite.ledger import Ledger

__all__ = ["change", "drop", "due", "every", "fire", "kept", "pause", "prune", "put", "ticks"]

Run: TypeAlias = Callable[..., Any]
"""`Connection.execute`."""

LOOKED_AT: Final = 2000
"""Schedules that one call of retention looks at."""

log = logging.getLogger("backroom.storage")

_FIELDS: Final = ScheduleRecord.__struct_fields__
_COLUMNS: Final = ", ".join(_FIELDS)
_OWN_FAULT: Final = (apsw.ConstraintError, apsw.MismatchError, apsw.TooBigError)
"""Of what SQLite says: the values' fault, not the disk's."""

ADD: Final = f"INSERT INTO schedule ({_COLUMNS}) VALUES ({', '.join('?' * len(_FIELDS))})"
CHANGE: Final = f"""
    UPDATE schedule SET ({_COLUMNS}) = ({", ".join("?" * len(_FIELDS))}) WHERE name = ?1
"""
# The cursor is read as far as it is wanted: to the first that is not due.
NEXT: Final = f"""
    SELECT next_at, {_COLUMNS} FROM schedule WHERE NOT paused AND next_at IS NOT NULL
    ORDER BY next_at, key LIMIT ?
"""
STATES: Final = """
    SELECT name, key, revision, next_at, paused FROM schedule
    WHERE name IN (SELECT value FROM json_each(?))
"""
# Kept ticks do not overlap, so the last one that begins before the end of this one tells.
DECIDED: Final = """
    SELECT k.value->>3 FROM json_each(?) AS k
    WHERE k.value->>1 <= (
        SELECT until FROM tick WHERE schedule = k.value->>0 AND at <= k.value->>2
        ORDER BY at DESC LIMIT 1)
"""
KEPT_BEFORE: Final = """
    SELECT k.value->>0 FROM json_each(?) AS k
    JOIN schedule ON name = k.value->>1 JOIN tick ON schedule = schedule.key AND at = k.value->>2
    WHERE until = k.value->>3 AND outcome = k.value->>4 AND decided_at = k.value->>5
    AND ifnull(asked, job) IS k.value->>6
"""
KEEP: Final = Bulk(
    "INSERT INTO tick (schedule, at, until, count, outcome, job, asked, decided_at)"
    " SELECT rows.* FROM {rows} AS rows WHERE column1 IS NOT NULL"
    " ON CONFLICT (schedule, at) DO NOTHING",
    width=8,
)
MOVE_ON: Final = Bulk(
    "UPDATE schedule SET next_at = column2, last_at = ifnull(column3, last_at),"
    " last_job = ifnull(column4, last_job), kept = kept + column5"
    " FROM {rows} WHERE key = column1",
    width=5,
)
OLD: Final = f"""
    DELETE FROM tick WHERE (schedule, at) IN (
        SELECT schedule, at FROM (
            SELECT key, CASE WHEN kept > {MOST_TICKS + MORE_TICKS} THEN (
                SELECT at FROM tick WHERE schedule = key ORDER BY at DESC
                LIMIT 1 OFFSET {MOST_TICKS}) END AS above
            FROM schedule WHERE key > ?1 AND key <= ?2
        ) AS s JOIN tick ON schedule = s.key AND at < max(?3, ifnull(s.above + 1, ?3))
        WHERE decided_at < ?3 OR at <= s.above LIMIT ?4)
    RETURNING schedule
"""
FEWER: Final = Bulk("UPDATE schedule SET kept = kept - column2 FROM {rows} WHERE key = column1", 2)


class _State(NamedTuple):
    """How a schedule stands, as its row tells it."""

    key: int
    revision: int
    next_at: int | None
    paused: bool

    def lets(self, firing: Firing) -> bool:
        """Whether nobody was there before it."""
        return (
            self.revision == firing.revision and self.next_at == firing.expected and not self.paused
        )


# -- looks ---------------------------------------------------------------------------------------


def kept(run: Run, name: str) -> ScheduleRecord | None:
    """See `Planning.schedule`."""
    row = run(f"SELECT {_COLUMNS} FROM schedule WHERE name = ?", (name,)).fetchone()
    return None if row is None else _record(row)


def every(run: Run) -> list[ScheduleRecord]:
    """See `Planning.schedules`."""
    return [_record(row) for row in run(f"SELECT {_COLUMNS} FROM schedule ORDER BY name")]


def due(run: Run, now: int, limit: int) -> tuple[list[ScheduleRecord], int | None]:
    """See `Planning.due_schedules`."""
    found: list[ScheduleRecord] = []
    for next_at, *row in run(NEXT, (limit + 1,)):
        if next_at > now or len(found) == limit:
            return found, next_at
        found.append(_record(row))
    return found, None


def ticks(run: Run, name: str, limit: int, before: int | None) -> list[Tick]:
    """See `Planning.ticks`."""
    rows = run(
        "SELECT at, until, count, outcome, job, decided_at FROM tick"
        " WHERE schedule = (SELECT key FROM schedule WHERE name = ?) AND at < ?"
        " ORDER BY at DESC LIMIT ?",
        (name, 2**63 - 1 if before is None else before, limit),
    )
    return [
        Tick(schedule=name, at=at, until=until, count=count, outcome=outcome, job=job,
             decided_at=decided_at)
        for at, until, count, outcome, job, decided_at in rows
    ]  # fmt: skip


def _record(row: Sequence[Any]) -> ScheduleRecord:
    values = dict(zip(_FIELDS, row, strict=True))
    return ScheduleRecord(**{**values, "paused": bool(values["paused"])})


# -- changes -------------------------------------------------------------------------------------


def put(ledger: Ledger, said: ScheduleRecord) -> ScheduleRecord:
    """See `Planning.put_schedule`."""
    before = kept(ledger.run, said.name)
    if before is None:
        ledger.run(ADD, astuple(said))
        ledger.wakes.add(Wake.CONTROL)
        return said
    return _changed(ledger, before, before.revised(said))


def change(ledger: Ledger, said: ScheduleRecord, revision: int) -> ScheduleRecord | None:
    """See `Planning.change_schedule`."""
    before = kept(ledger.run, said.name)
    if before is None or before.revision != revision:
        return before
    return _changed(ledger, before, before.revised(said))


def pause(
    ledger: Ledger, name: str, paused: bool, next_at: int | None, revision: int, tick: Tick | None
) -> ScheduleRecord | None:
    """See `Planning.pause_schedule`."""
    before = kept(ledger.run, name)
    if before is None:
        return None
    now = _changed(ledger, before, before.switched(paused, next_at, revision))
    if now is not before and tick is not None:
        [(key,)] = ledger.run("SELECT key FROM schedule WHERE name = ?", (name,))
        added = KEEP.run(ledger, [_row(key, tick, tick.job, None)])
        ledger.run("UPDATE schedule SET kept = kept + ? WHERE key = ?", (added, key))
    return now


def _changed(ledger: Ledger, before: ScheduleRecord, now: ScheduleRecord) -> ScheduleRecord:
    if now is not before:
        ledger.run(CHANGE, astuple(now))
        ledger.wakes.add(Wake.CONTROL)
    return now


def drop(ledger: Ledger, name: str) -> bool:
    """See `Planning.drop_schedule`."""
    row = ledger.run("DELETE FROM schedule WHERE name = ? RETURNING key", (name,)).fetchone()
    if row is None:
        return False
    ledger.run("DELETE FROM tick WHERE schedule = ?", row)
    ledger.wakes.add(Wake.CONTROL)
    return True


def fire(ledger: Ledger, firings: Sequence[Firing], now: int) -> list[bool]:
    """See `Planning.fire`. Where one of them cannot be kept, it is looked for by halves."""
    try:
        with ledger.connection:
            return _fire(ledger, firings, now)
    except Exception as error:
        if isinstance(error, apsw.Error) and not isinstance(error, _OWN_FAULT):
            raise
        ledger.queues.clear()  # Of some it remembered that they have a row.
        if len(firings) == 1:
            log.exception("a tick of the schedule %r could not be kept", firings[0].schedule)
            return [False]
    half = len(firings) // 2
    return fire(ledger, firings[:half], now) + fire(ledger, firings[half:], now)


def _fire(ledger: Ledger, firings: Sequence[Firing], now: int) -> list[bool]:
    names = json.dumps([firing.schedule for firing in firings])
    states = {name: _State(*state) for name, *state in ledger.run(STATES, (names,))}
    carried: list[tuple[int, Firing]] = []
    others: dict[int, Firing] = {}
    for n, firing in enumerate(firings):
        state = states.get(firing.schedule)
        if state is not None and state.lets(firing):
            carried.append((state.key, firing))
            states[firing.schedule] = state._replace(next_at=firing.next_at)
        else:
            others[n] = firing
    if carried:
        _carry_out(ledger, carried, now)
    before = _kept_before(ledger, others)
    return [n in before or n not in others for n in range(len(firings))]


def _carry_out(ledger: Ledger, firings: Sequence[tuple[int, Firing]], now: int) -> None:
    fired = due_jobs(firings)
    asked = json.dumps([[key, tick.at, tick.until, job] for key, tick, job in fired])
    decided = {job for (job,) in ledger.run(DECIDED, (asked,))}
    jobs = jobs_to_make(firings, decided)
    answers = inserts.insert_one(ledger, inserts.OneGroup(jobs, now)) if jobs else []
    made = {job.id: answer.id for job, answer in zip(jobs, answers, strict=True)}
    rows, moves = settled(firings, decided, made)
    KEEP.run(ledger, [_row(*kept) for kept in rows])
    MOVE_ON.run(ledger, [(key, *astuple(move)) for key, move in moves.items()])


def _row(key: int, tick: Tick, job: str | None, asked: str | None) -> tuple[Any, ...]:
    return key, tick.at, tick.until, tick.count, tick.outcome, job, asked, tick.decided_at


def _kept_before(ledger: Ledger, firings: Mapping[int, Firing]) -> set[int]:
    """Those that an earlier call has carried out."""
    if not firings:
        return set()
    asked = [
        (n, one.schedule, t.at, t.until, t.outcome, t.decided_at, t.job)
        for n, one in firings.items()
        for t in (one.witness,)
    ]
    return {n for (n,) in ledger.run(KEPT_BEFORE, (json.dumps(asked),))}


def prune(ledger: Ledger, cutoff: int, limit: int) -> bool:
    """Removes up to `limit` ticks that were decided before `cutoff`, or are more than are kept of
    one schedule. Returns whether there is more to look at."""
    page = "SELECT key FROM schedule WHERE key > ? ORDER BY key LIMIT ?"
    keys = [key for (key,) in ledger.run(page, (ledger.ticks_pruned_to, LOOKED_AT))]
    if not keys:
        ledger.ticks_pruned_to = 0
        return False
    rows = ledger.run(OLD, (ledger.ticks_pruned_to, keys[-1], cutoff, limit))
    gone = Counter(schedule for (schedule,) in rows)
    FEWER.run(ledger, list(gone.items()))
    if gone.total() >= limit:
        return True  # There may be more of the same.
    ledger.ticks_pruned_to = keys[-1] if len(keys) == LOOKED_AT else 0
    return len(keys) == LOOKED_AT
