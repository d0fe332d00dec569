"""The way of a claim: due jobs to a worker, counted as started, and given back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import apsw
import msgspec

from backroom.ports import Claimed, Wake, Want
from backroom.storage.sqlite.ledger import VERSION, Ledger, encode
from backroom.storage.sqlite.limits import admitted, sift
from backroom.storage.sqlite.ties import held, loosen
from backroom.transition import Claim

__all__ = ["RELEASE", "UNSTARTED", "claim", "disown", "give_back", "probe", "start"]

MOST_BYTES: Final = 32 * 2**20
"""Of data that one claim takes at most, where it takes more than one job."""
TRIES: Final = 20
"""How often a claim looks behind jobs that have no room, before others have their turn."""

_WAITING = "state = 0 AND queue = ?1"
_PARKED = f"state = 6 AND queue = ?1 AND type = ?5 AND {VERSION} = ?6"


_FIRST = "SELECT run_at FROM job WHERE {} AND priority = {} ORDER BY run_at LIMIT 1"


def _firsts(which: str) -> str:
    """The moment of the first job of each priority, as four columns."""
    return ", ".join(f"({_FIRST.format(which, priority)})" for priority in range(4))


FIRST_WAITING: Final = _FIRST.format(_WAITING, "?2")
PROBE: Final = f"SELECT ifnull((SELECT paused FROM queue WHERE name = ?1), 0), {_firsts(_WAITING)}"
PROBE_ALL: Final = f"""
    SELECT name, {_firsts(_WAITING.replace("?1", "name"))} FROM queue WHERE NOT paused
"""
PROBE_PARKED: Final = f"SELECT {_firsts(_PARKED.replace('?5', '?2').replace('?6', '?3'))}"
# Which types are parked in which queues: a step along the index for each, not for each job.
PARKED_TYPES: Final = """
    WITH RECURSIVE
        kind (queue, type) AS (
            SELECT * FROM (SELECT queue, type FROM job WHERE state = 6 ORDER BY queue, type LIMIT 1)
            UNION ALL
            SELECT (SELECT queue FROM job WHERE state = 6
                    AND (queue, type) > (kind.queue, kind.type) ORDER BY queue, type LIMIT 1),
                   (SELECT type FROM job WHERE state = 6
                    AND (queue, type) > (kind.queue, kind.type) ORDER BY queue, type LIMIT 1)
            FROM kind WHERE kind.queue IS NOT NULL)
    SELECT queue, type FROM kind WHERE queue IS NOT NULL
"""
# The next version of one of these, as far as a worker knows it.
PARKED_VERSION: Final = f"""
    SELECT {VERSION} FROM job WHERE state = 6 AND queue = ?1 AND type = ?2
    AND {VERSION} > ?3 AND {VERSION} <= ?4 ORDER BY {VERSION} LIMIT 1
"""

# A job that has started in time does not expire, however long it waits for its next attempt.
UNSTARTED: Final = "attempt = 0 AND started_at IS NULL"
_CLAIM_COLUMNS = (
    "key, {}, id, type, queue, priority, run_at, created_at, data, options,"
    f" iif({UNSTARTED}, expires_at, NULL), attempt, crashes, budget"
)
READ_DUE: Final = f"""
    SELECT json_group_array(json_array({_CLAIM_COLUMNS.format("?5")})) FROM (
        SELECT * FROM job WHERE {_WAITING} AND priority = ?2 AND run_at <= ?3
        ORDER BY run_at, key LIMIT ?4)
"""
_OLDEST = """
    SELECT run_at, key FROM job WHERE {} AND priority = ?2 AND run_at <= ?3
    ORDER BY run_at, key LIMIT ?4
"""
OLDEST_DUE: Final = _OLDEST.format(_WAITING)
OLDEST_PARKED: Final = _OLDEST.format(_PARKED)
READ_KEYS: Final = f"""
    SELECT json_group_array(json_array({_CLAIM_COLUMNS.format("?2")})) FROM (
        SELECT * FROM job WHERE key IN (SELECT value FROM json_each(?1)) ORDER BY run_at, key)
"""
SIZES: Final = """
    SELECT key, octet_length(data) + ifnull(octet_length(options), 0) FROM job
    WHERE key IN (SELECT value FROM json_each(?)) ORDER BY run_at, key
"""
TAKE: Final = """
    UPDATE job SET state = 1, worker = ?2, token = ?3
    WHERE key IN (SELECT value FROM json_each(?1))
"""

# What comes back without having run; where a cancel was asked for, it ends instead.
RELEASE: Final = """
    UPDATE job SET state = CASE WHEN cancel_requested THEN 4 ELSE 0 END,
        finished_at = CASE WHEN cancel_requested THEN ?3 END,
        reason = CASE WHEN cancel_requested THEN 'cancelled by request' ELSE {reason} END,
        worker = NULL, cancel_requested = 0, token = ?2 {more}
    WHERE worker = ?1 AND state = 1
"""
GIVE_BACK: Final = (
    RELEASE.format(reason="reason", more="")
    + "AND (key, token) NOT IN (SELECT value->>0, value->>1 FROM json_each(?4))"
)
HELD: Final = "SELECT key FROM job WHERE worker = ? AND state = 1"


BEGUN: Final = """
    UPDATE job SET started_at = ifnull(started_at, ?2)
    WHERE worker = ?1 AND state = 1 AND key IN (SELECT value FROM json_each(?3))
"""


class _Source(NamedTuple):
    """Jobs that a worker may take, in the order of one index range a priority."""

    queue: str
    kind: tuple[str, int] | None
    """Parked jobs of this type, whose data is of this version; None: the waiting ones."""
    first: Sequence[int | None]
    """By priority: when its first job is due."""

    def is_due(self, priority: int, now: int) -> bool:
        first = self.first[priority]
        return first is not None and first <= now

    def oldest(
        self, ledger: Ledger, priority: int, now: int, most: int
    ) -> Iterator[tuple[int, int]]:
        """The moment and the key of its next jobs."""
        if self.kind is None:
            return ledger.run(OLDEST_DUE, (self.queue, priority, now, most))
        return ledger.run(OLDEST_PARKED, (self.queue, priority, now, most, *self.kind))


def probe(ledger: Ledger, queue: str) -> tuple[bool, list[int | None]]:
    """Whether a queue is paused, and by priority when its first waiting job is due."""
    [(paused, *first)] = ledger.run(PROBE, (queue,))
    return bool(paused), first


def claim(ledger: Ledger, worker: int, want: Want, now: int) -> Claimed:
    """Takes due jobs in order, the first `want.starts` of them as started."""
    ledger.check_enlisted(worker)
    sources = _sources(ledger, want)
    claims: list[Claim] = []
    if want.starving:
        claims += admitted(ledger, worker, _claim_starving(ledger, worker, want, sources), now)
    more = False
    tries = 0
    for priority in range(4):
        ready = [source for source in sources if source.is_due(priority, now)]
        room = want.rooms[priority] - len(claims)
        whole = passed = True
        while ready and room > 0 and whole and passed and tries <= TRIES:
            taken, whole = _claim_due(ledger, worker, ready, priority, now, room)
            given = admitted(ledger, worker, taken, now)
            claims += given
            passed = len(given) < len(taken)  # Some had no room in a limit: who is behind them?
            if passed:
                tries += 1
                room -= len(given)
                for source in ready:
                    sift(ledger, source.queue, priority, now)
        if not whole or tries > TRIES:  # What follows comes after what is left of these.
            more = True
            break
        if ready and want.rooms[priority] <= len(claims):
            more = True
    started = min(want.starts, len(claims))
    if started:
        ledger.mark(worker, [claim.key for claim in claims[:started]])
    if tries > TRIES and not claims:  # The next look begins behind those that had no room.
        return Claimed([], 0, False, now)
    if tries:  # Others may have been called meanwhile.
        sources = _sources(ledger, want)
    return Claimed(claims, started, more, None if more else _next_due(ledger, sources, now))


def _sources(ledger: Ledger, want: Want) -> list[_Source]:
    """What this worker may take from: of each queue it serves, if that is not paused, the jobs
    that wait and those that were parked until somebody knows their type and its version."""
    sources: list[_Source] = []
    if want.queues is None:
        for queue, *first in ledger.run(PROBE_ALL):
            if queue not in want.but:
                sources.append(_Source(queue, None, first))
    else:
        for queue in want.queues:
            paused, first = probe(ledger, queue)
            if not paused:
                sources.append(_Source(queue, None, first))
    if ledger.parked:
        served = {source.queue for source in sources}
        for queue, type_ in list(ledger.run(PARKED_TYPES)):
            if queue in served and type_ in want.types:
                for version in _parked_versions(ledger, queue, type_, want.types[type_]):
                    [first] = ledger.run(PROBE_PARKED, (queue, type_, version))
                    sources.append(_Source(queue, (type_, version), first))
    return sources


def _parked_versions(ledger: Ledger, queue: str, type_: str, latest: int) -> Iterator[int]:
    """Of the parked jobs of this type: the versions of their data, up to the latest that a worker
    knows."""
    version = -1
    while row := ledger.run(PARKED_VERSION, (queue, type_, version, latest)).fetchone():
        version = row[0]
        yield version


def _claim_due(
    ledger: Ledger, worker: int, sources: Sequence[_Source], priority: int, now: int, room: int
) -> tuple[list[Claim], bool]:
    """The next jobs of one priority: of several sources, the oldest of all of them. Says
    whether these are all that there is room for; else they are those that are not too large."""
    token = ledger.fresh_token()
    if len(sources) == 1 and sources[0].kind is None:
        due = (sources[0].queue, priority, now, room, token)
        claims = _take(ledger, worker, token, READ_DUE, due)
        if claims is not None:
            return claims, True
    oldest: list[tuple[int, int]] = []
    for source in sources:
        oldest += source.oldest(ledger, priority, now, room)
    return _take_keys(ledger, worker, token, [key for _, key in sorted(oldest)[:room]])


def _claim_starving(
    ledger: Ledger, worker: int, want: Want, sources: Sequence[_Source]
) -> list[Claim]:
    """The oldest jobs, of whatever priority, that have been due for too long."""
    places = min(want.starving, want.rooms[3])
    oldest: list[tuple[int, int]] = []
    for source in sources:
        for priority in range(4):
            if source.is_due(priority, want.starving_since):
                oldest += source.oldest(ledger, priority, want.starving_since, places)
    keys = [key for _, key in sorted(oldest)[:places]]
    if not keys:
        return []
    return _take_keys(ledger, worker, ledger.fresh_token(), keys)[0]


def _take_keys(
    ledger: Ledger, worker: int, token: int, keys: Sequence[int]
) -> tuple[list[Claim], bool]:
    claims = _take(ledger, worker, token, READ_KEYS, (json.dumps(keys), token))
    if claims is not None:
        return claims, True
    fitting: list[int] = []
    room = MOST_BYTES
    for key, size in list(ledger.run(SIZES, (json.dumps(keys),))):
        room -= size
        if fitting and room < 0:
            break
        fitting.append(key)
    arguments = (json.dumps(fitting), token)
    claims = _take(ledger, worker, token, READ_KEYS, arguments, bounded=False)
    return claims or [], len(fitting) == len(keys)


def _take(
    ledger: Ledger,
    worker: int,
    token: int,
    query: str,
    arguments: tuple[Any, ...],
    *,
    bounded: bool = True,
) -> list[Claim] | None:
    """None where it would be too much at once. That costs no statement: SQLite itself is told
    to make no longer text, which has escapes where the data has quotes."""
    connection = ledger.connection
    most = connection.limit(apsw.SQLITE_LIMIT_LENGTH)
    try:
        if bounded:
            connection.limit(apsw.SQLITE_LIMIT_LENGTH, min(most, 2 * MOST_BYTES))
        [(text,)] = ledger.run(query, arguments)
    except apsw.TooBigError:
        if not bounded:
            raise
        return None
    finally:
        connection.limit(apsw.SQLITE_LIMIT_LENGTH, most)
    claims = _claims_decoder.decode(text)
    if claims:
        ledger.run(TAKE, (encode([claim.key for claim in claims]), worker, token))
    return claims


def _next_due(ledger: Ledger, sources: Sequence[_Source], now: int) -> int | None:
    """When the next waiting job becomes due, after all that were due have been taken; None if
    none waits."""
    moments: list[int] = []
    for source in sources:
        if source.kind is not None:
            continue
        for priority, run_at in enumerate(source.first):
            if source.is_due(priority, now):
                moments += [at for (at,) in ledger.run(FIRST_WAITING, (source.queue, priority))]
            elif run_at is not None:
                moments.append(run_at)
    return min(moments, default=None)


def start(ledger: Ledger, worker: int, keys: Sequence[int]) -> None:
    """Counts claims as started."""
    ledger.check_enlisted(worker)
    ledger.mark(worker, keys)


def give_back(ledger: Ledger, worker: int, keep: Sequence[tuple[int, int]], now: int) -> int:
    """All claims of this worker but `keep` wait again, untouched."""
    tied = held(ledger, worker)
    ledger.run(GIVE_BACK, (worker, ledger.fresh_token(), now, encode(keep)))
    changed = ledger.connection.changes()
    loosen(ledger, tied, now)
    kept = {key for (key,) in ledger.run(HELD, (worker,))} if keep else set()
    ledger.unmark(worker, ledger.started.get(worker, set()) - kept)
    if changed:
        ledger.wakes |= {Wake.JOBS, Wake.FINISHED}  # Some may have been asked to end.
    return changed


def disown(ledger: Ledger, worker: int, keys: Sequence[int], now: int) -> None:
    """When the lease ends, these come back uncharged; they have begun, and expire no more."""
    ledger.run(BEGUN, (worker, now, encode(list(keys))))
    ledger.unmark(worker, keys)


_claims_decoder: Final = msgspec.json.Decoder(list[Claim])
