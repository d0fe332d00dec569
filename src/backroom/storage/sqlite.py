"""The tables of an embedded store and every change to them, as plain functions of `now`.

Nothing here begins or ends a transaction, waits or reads a clock: the storage around it decides
how writes travel together. Whatever is done to many jobs is one statement with one JSON
argument: a statement a row would give up and take back Python's interpreter lock at every row.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any, Final, Protocol, TypeAlias

import apsw
import msgspec

from backroom.errors import LeaseLostError
from backroom.job import JobRecord, State
from backroom.ports import Claimed, Inserted, Reclaimed, Report, Wake, Want
from backroom.transition import Claim, Transition

__all__ = ["APPLICATION_ID", "SCHEMA_VERSION", "InsertGroup", "JobTables", "OneGroup"]

APPLICATION_ID: Final = 0x4261636B  # "Back"
SCHEMA_VERSION: Final = 1
MAX_ERRORS: Final = 50
MAX_LOG_LINES: Final = 1000

_COLUMNS = "id, type, queue, priority, run_at, created_at, data, options, unique_key, expires_at"
_VALUES = ", ".join(f"value->>{i}" for i in range(10))

INSERT = f"""
    INSERT INTO job (key, {_COLUMNS}, state, worker, token)
    SELECT ?2 + key, {_VALUES}, ?3, ?4, ?5 FROM jsonb_each(?1) WHERE true
    ON CONFLICT (id) DO NOTHING
"""

# No key is used twice: cursors hold on to one, and so do workers whose code outlives its job.
FORGOTTEN = """
    INSERT INTO meta VALUES ('forgotten', ?1)
    ON CONFLICT (name) DO UPDATE SET value = max(value, ?1)
"""

# All that a transaction needs to know first, in one statement: each one more would have to
# wait for the interpreter lock once more.
HEAD = """
    SELECT 1 + max(ifnull((SELECT max(key) FROM job), 0),
                   ifnull((SELECT value FROM meta WHERE name = 'forgotten'), 0)),
           (SELECT value FROM meta WHERE name = 'token'),
           (SELECT json_group_array(id) FROM worker)
"""
_DUE = "SELECT run_at FROM job WHERE state = 0 AND queue = ?1 AND priority = {} ORDER BY run_at"
PROBE = "SELECT ifnull((SELECT paused FROM queue WHERE name = ?1), 0), " + ", ".join(
    f"({_DUE.format(priority)} LIMIT 1)" for priority in range(4)
)

# A job that has started in time does not expire, however long it waits for its next attempt.
_UNSTARTED = "attempt = 0 AND started_at IS NULL"
_CLAIM_COLUMNS = (
    "key, ?5, id, type, queue, priority, run_at, created_at, data, options,"
    f" iif({_UNSTARTED}, expires_at, NULL), attempt, crashes, budget"
)
READ_DUE = f"""
    SELECT json_group_array(json_array({_CLAIM_COLUMNS})) FROM (
        SELECT * FROM job WHERE state = 0 AND queue = ?1 AND priority = ?2 AND run_at <= ?3
        ORDER BY run_at, key LIMIT ?4)
"""
OLDEST_DUE = """
    SELECT run_at, key FROM job
    WHERE state = 0 AND queue = ?1 AND priority = ?2 AND run_at <= ?3
    ORDER BY run_at, key LIMIT ?4
"""
READ_KEYS = f"""
    SELECT json_group_array(json_array({_CLAIM_COLUMNS.replace("?5", "?2")})) FROM (
        SELECT * FROM job WHERE key IN (SELECT value FROM json_each(?1)) ORDER BY run_at, key)
"""
TAKE = """
    UPDATE job SET state = 1, worker = ?2, token = ?3
    WHERE key IN (SELECT value FROM json_each(?1))
"""

# A cancel that was asked for while the job ran wins over its waiting again, or being parked.
_STOPPED = "cancel_requested AND t.value->>2 IN (0, 6)"
FINISH = f"""
    UPDATE job SET
        state = CASE WHEN {_STOPPED} THEN 4 ELSE t.value->>2 END,
        run_at = ifnull(t.value->>3, run_at),
        attempt = t.value->>4,
        started_at = ifnull(t.value->>5, started_at),
        finished_at = CASE WHEN {_STOPPED} THEN ?2 ELSE t.value->>6 END,
        result = t.value->>7,
        reason = CASE WHEN {_STOPPED} THEN 'cancelled by request' ELSE t.value->>8 END,
        progress = ifnull(t.value->>10, progress),
        progress_message = ifnull(t.value->>11, progress_message),
        worker = NULL,
        cancel_requested = 0
    FROM jsonb_each(?1) AS t
    WHERE job.key = t.value->>0 AND job.token = t.value->>1 AND job.state = 1
"""
_FENCED = """EXISTS (SELECT 1 FROM job
    WHERE job.key = t.value->>0 AND job.token = t.value->>1 AND job.state = 1)"""
FINISH_ERRORS = f"""
    INSERT INTO job_error (job, attempt, at, kind, message, traceback)
    SELECT value->>0, value->>'$[9][0]', value->>'$[9][1]', value->>'$[9][2]',
           value->>'$[9][3]', value->>'$[9][4]'
    FROM jsonb_each(?1) AS t WHERE value->>9 IS NOT NULL AND {_FENCED}
"""
ADD_LOG = f"""
    INSERT INTO job_log (job, attempt, at, level, message)
    SELECT t.value->>0, t.value->>2, l.value->>0, l.value->>1, l.value->>2
    FROM jsonb_each(?1) AS t, jsonb_each(t.value, '$[3]') AS l WHERE {_FENCED}
"""
TRIM = """
    DELETE FROM {table} WHERE rowid IN (
        SELECT rowid FROM {table} WHERE job = ?1 ORDER BY rowid DESC LIMIT -1 OFFSET ?2)
"""
REPORT = """
    UPDATE job SET progress = ifnull(t.value->>3, progress),
                   progress_message = ifnull(t.value->>4, progress_message)
    FROM jsonb_each(?1) AS t
    WHERE job.key = t.value->>0 AND job.token = t.value->>1 AND job.state = 1
"""
# What comes back without having run; where a cancel was asked for, it ends instead.
_RELEASE = """
    UPDATE job SET state = CASE WHEN cancel_requested THEN 4 ELSE 0 END,
        finished_at = CASE WHEN cancel_requested THEN ?3 END,
        reason = CASE WHEN cancel_requested THEN 'cancelled by request' ELSE {reason} END,
        worker = NULL, cancel_requested = 0, token = ?2 {more}
    WHERE worker = ?1 AND state = 1
"""
GIVE_BACK = (
    _RELEASE.format(reason="reason", more="") + "AND key NOT IN (SELECT value FROM json_each(?4))"
)
CHARGE = (
    _RELEASE.format(reason="?5", more=", attempt = attempt + 1, crashes = crashes + 1")
    + "AND key IN (SELECT value FROM json_each(?4))"
)
CRASH_ERRORS = """
    INSERT INTO job_error (job, attempt, at, kind, message)
    SELECT key, attempt + 1, ?2, 'crash', ?3 FROM job
    WHERE key IN (SELECT value FROM json_each(?1))
"""
EXPIRED_WAITING = f"""
    SELECT key FROM job WHERE state = 0 AND expires_at IS NOT NULL AND expires_at <= ?1
    AND {_UNSTARTED} LIMIT ?2
"""
EXPIRED_PARKED = f"""
    SELECT key FROM job WHERE state = 6 AND expires_at <= ?1 AND {_UNSTARTED} LIMIT ?2
"""
EXPIRE = """
    UPDATE job SET state = 4, finished_at = ?1, reason = 'expired before it started'
    WHERE key IN ({keys})
"""


class InsertGroup(Protocol):
    """Jobs of one `insert` call: kept together or not at all."""

    jobs: Sequence[JobRecord]
    now: int
    worker: int | None
    start: bool


class OneGroup(msgspec.Struct):
    """An `InsertGroup` by itself."""

    jobs: Sequence[JobRecord]
    now: int
    worker: int | None = None
    start: bool = False


_Passing: TypeAlias = tuple[JobRecord, bool, list[Inserted], int]
"""A job on its way straight to a worker: whether it counts as started, and where its answer is."""
_UNDECIDED: Final = Inserted("", False)


class JobTables:
    """The job store in one SQLite connection. Not safe for use from several threads at once.

    The keys that a worker may have started are held here for the workers of this process, and
    written to the worker's row once a transaction (`flush`), not once a job.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection
        self._run = connection.execute
        self._queues: set[str] = set()
        self._started: dict[int, set[int]] = {}
        self._stale: set[int] = set()
        self._key = 0
        self._token = 0
        self._token_known = 0
        self._living: set[int] = set()
        self._prune_from: dict[int, int] = {}
        self.wakes: set[Wake] = set()
        """Who is to be woken once the transaction is committed."""
        self.undo: list[Callable[[], None]] = []
        """What is to be done, still alone among all processes, if the transaction fails."""

    # -- frame -----------------------------------------------------------------------------

    def create(self) -> None:
        """Makes the tables in an empty database."""
        self._run(files("backroom.storage").joinpath("schema.sql").read_text())
        self._run("INSERT INTO meta VALUES ('token', 0)")
        self._run(f"PRAGMA application_id = {APPLICATION_ID}")
        self._run(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def begin(self) -> None:
        """To be called first in every transaction: forgets what another process may change."""
        self.undo.clear()
        [(self._key, self._token, living)] = self._run(HEAD)
        self._token_known = self._token
        self._living = set(json.loads(living))

    def flush(self) -> None:
        """To be called last in every transaction: writes what each worker may have started, and
        the last token that was used."""
        if self._token != self._token_known:
            self._run("UPDATE meta SET value = ? WHERE name = 'token'", (self._token,))
        for worker in self._stale:
            started = _encode(list(self._started.get(worker, ())))
            self._run("UPDATE worker SET started = ?2 WHERE id = ?1", (worker, started))
        self._stale.clear()

    def resume(self, before: JobTables) -> None:
        """Takes over what the workers of this process had started, after the database was
        opened anew; a worker's row may lack what a lost commit would have written."""
        self._started = before._started
        self._stale = set(self._started)

    def snapshot(self) -> dict[int, set[int]]:
        """What `rollback` needs to undo the memory's part of a transaction."""
        return {worker: set(keys) for worker, keys in self._started.items()}

    def rollback(self, snapshot: dict[int, set[int]]) -> None:
        """Puts the memory's part back to the moment of the snapshot."""
        self._started = snapshot
        self._stale.clear()
        self._queues.clear()
        self.wakes.clear()
        while self.undo:
            self.undo.pop()()

    def _fresh_token(self) -> int:
        """A lease token above every one there ever was. One for each act, not one for each
        transaction: in a group commit a job may change hands more than once."""
        self._token += 1
        return self._token

    # -- insert ----------------------------------------------------------------------------

    def insert(self, groups: Iterable[InsertGroup]) -> list[list[Inserted]]:
        """Keeps all jobs of all groups; raises without a trace of which group was at fault."""
        waiting: list[JobRecord] = []
        passing: dict[int, list[_Passing]] = {}
        doors: dict[str, list[bool]] = {}
        twins: dict[str, str] = {}
        answers: list[list[Inserted]] = []
        for group in groups:
            worker = group.worker
            if worker is not None and not self._alive(worker):
                worker = None
            answer: list[Inserted] = []
            for job in group.jobs:
                if job.queue not in self._queues:
                    self._run("INSERT OR IGNORE INTO queue (name) VALUES (?)", (job.queue,))
                    self._queues.add(job.queue)
                if job.unique_key is not None:
                    twin = self._twin(job, twins)
                    if twin is not None:
                        answer.append(Inserted(twin, False))
                        continue
                if worker is not None and job.run_at <= group.now:
                    if job.queue not in doors:
                        doors[job.queue] = self._open_doors(job.queue, group.now)
                    if doors[job.queue][job.priority]:
                        passing.setdefault(worker, []).append(
                            (job, group.start, answer, len(answer))
                        )
                        answer.append(_UNDECIDED)
                        continue
                waiting.append(job)
                answer.append(Inserted(job.id, True))
            answers.append(answer)
        if waiting:
            _, known = self._put(waiting, State.WAITING, None, 0)
            if known:
                for answer in answers:
                    answer[:] = [Inserted(i.id, False) if i.id in known else i for i in answer]
            self.wakes.add(Wake.JOBS)
        for worker, jobs in passing.items():
            self._pass(worker, jobs)
        return answers

    def _pass(self, worker: int, jobs: list[_Passing]) -> None:
        """Inserts jobs as claims of a worker, and answers them."""
        token = self._fresh_token()
        key, known = self._put([passing[0] for passing in jobs], State.ACTIVE, worker, token)
        started: list[int] = []
        for job, start, answer, at in jobs:
            if job.id in known:
                answer[at] = Inserted(job.id, False)
            else:
                known.add(job.id)
                claim = Claim(
                    key, token, job.id, job.type, job.queue, job.priority, job.run_at,
                    job.created_at, job.data, job.options, job.expires_at,
                )  # fmt: skip
                answer[at] = Inserted(job.id, True, claim)
                if start:
                    started.append(key)
            key += 1
        if started:
            self._mark(worker, started)

    def _put(
        self, jobs: list[JobRecord], state: State, worker: int | None, token: int
    ) -> tuple[int, set[str]]:
        """Inserts jobs; returns the key of the first, and the ids that were there already."""
        base = self._key
        self._key += len(jobs)
        self._run(INSERT, (_encode(jobs), base, int(state), worker, token))
        if self.connection.changes() == len(jobs):
            return base, set()
        keys = {job.id: base + i for i, job in reversed(list(enumerate(jobs)))}
        rows = self._run(
            "SELECT id, key FROM job WHERE id IN (SELECT value FROM json_each(?))",
            (json.dumps(list(keys)),),
        )
        return base, {id_ for id_, key in rows if keys[id_] != key}

    def _twin(self, job: JobRecord, known: dict[str, str]) -> str | None:
        """The id of the live job that holds this job's unique key, if it is another one. A job
        that was inserted before answers for itself, whoever holds its key by now."""
        if self._run("SELECT 1 FROM job WHERE id = ?", (job.id,)).fetchone():
            return job.id
        name = json.dumps([job.type, job.unique_key])
        if name not in known:
            row = self._run(
                "SELECT id FROM job WHERE type = ? AND unique_key = ?"
                " AND unique_key IS NOT NULL AND state NOT BETWEEN 2 AND 4",
                (job.type, job.unique_key),
            ).fetchone()
            if row is None:
                known[name] = job.id
                return None
            known[name] = row[0]
        return known[name]

    def _open_doors(self, queue: str, now: int) -> list[bool]:
        """By priority: whether a new job may pass straight to a worker, as nothing of equal or
        higher priority waits and the queue is not paused."""
        [(paused, *due)] = self._run(PROBE, (queue,))
        open_, doors = not paused, []
        for run_at in due:
            open_ = open_ and (run_at is None or run_at > now)
            doors.append(open_)
        return doors

    # -- workers ---------------------------------------------------------------------------

    def enlist(self, name: str, boot: str, lease: float, until: float, now: int) -> int:
        """A new worker; its number is never used again."""
        [(worker,)] = self._run(
            "INSERT INTO worker (name, boot, lease, lease_until, started_at)"
            " VALUES (?, ?, ?, ?, ?) RETURNING id",
            (name, boot, lease, until, now),
        )
        self._started[worker] = set()
        self._living.add(worker)
        return int(worker)

    def extend(self, worker: int, until_from: Callable[[float], float]) -> tuple[float, list[int]]:
        """The lease begins anew; returns its end and the claims people asked to cancel."""
        row = self._run("SELECT lease FROM worker WHERE id = ?", (worker,)).fetchone()
        if row is None:
            raise _lost(worker)
        until = until_from(row[0])
        self._run("UPDATE worker SET lease_until = ?2 WHERE id = ?1", (worker, until))
        return until, self.cancelled(worker)

    def cancelled(self, worker: int) -> list[int]:
        """Claims of this worker that people asked to cancel."""
        return [
            key
            for (key,) in self._run(
                "SELECT key FROM job WHERE worker = ? AND state = 1 AND cancel_requested", (worker,)
            )
        ]

    def retire(self, worker: int, now: int) -> None:
        """Ends a worker; what it holds comes back untouched."""
        self.give_back(worker, (), now)
        self._run("DELETE FROM worker WHERE id = ?", (worker,))
        self._forget_worker(worker)

    def _forget_worker(self, worker: int) -> None:
        self._started.pop(worker, None)
        self._stale.discard(worker)
        self._living.discard(worker)

    def _alive(self, worker: int) -> bool:
        return worker in self._living

    def _mark(self, worker: int, keys: Iterable[int]) -> None:
        self._started.setdefault(worker, set()).update(keys)
        self._stale.add(worker)

    def _unmark(self, worker: int, keys: Iterable[int]) -> None:
        started = self._started.get(worker)
        if started:
            started.difference_update(keys)
            self._stale.add(worker)

    # -- the way of a claim ------------------------------------------------------------------

    def claim(self, worker: int, want: Want, now: int) -> Claimed:
        """Takes due jobs in order, the first `want.starts` of them as started."""
        if not self._alive(worker):
            raise _lost(worker)
        due: list[tuple[str, list[int | None]]] = []
        queues = self._served(want)
        for queue in queues:
            [(paused, *first)] = self._run(PROBE, (queue,))
            if not paused:
                due.append((queue, first))
        claims: list[Claim] = []
        if want.starving:
            claims += self._claim_starving(worker, want, due)
        more = False
        for priority in range(4):
            ready = [
                queue
                for queue, first in due
                if (run_at := first[priority]) is not None and run_at <= now
            ]
            room = want.rooms[priority] - len(claims)
            if ready and room > 0:
                claims += self._claim_due(worker, ready, priority, now, room)
            if ready and want.rooms[priority] <= len(claims):
                more = True
        started = min(want.starts, len(claims))
        if started:
            self._mark(worker, [claim.key for claim in claims[:started]])
        return Claimed(claims, started, more, None if more else self.next_due(queues))

    def _claim_due(
        self, worker: int, queues: Sequence[str], priority: int, now: int, room: int
    ) -> list[Claim]:
        """The next jobs of one priority: of several queues, the oldest of all of them."""
        token = self._fresh_token()
        if len(queues) == 1:
            return self._take(worker, token, READ_DUE, (queues[0], priority, now, room, token))
        oldest: list[tuple[int, int]] = []
        for queue in queues:
            oldest += self._run(OLDEST_DUE, (queue, priority, now, room))
        keys = [key for _, key in sorted(oldest)[:room]]
        return self._take(worker, token, READ_KEYS, (json.dumps(keys), token))

    def _served(self, want: Want) -> Sequence[str]:
        if want.queues is not None:
            return want.queues
        return [
            name
            for (name,) in self._run("SELECT name FROM queue WHERE NOT paused")
            if name not in want.but
        ]

    def _claim_starving(
        self, worker: int, want: Want, due: Sequence[tuple[str, Sequence[int | None]]]
    ) -> list[Claim]:
        """The oldest jobs, of whatever priority, that have been due for too long."""
        places = min(want.starving, want.rooms[3])
        oldest: list[tuple[int, int]] = []
        for queue, first in due:
            for priority, run_at in enumerate(first):
                if run_at is not None and run_at <= want.starving_since:
                    oldest += self._run(OLDEST_DUE, (queue, priority, want.starving_since, places))
        keys = [key for _, key in sorted(oldest)[:places]]
        if not keys:
            return []
        token = self._fresh_token()
        return self._take(worker, token, READ_KEYS, (json.dumps(keys), token))

    def _take(self, worker: int, token: int, query: str, arguments: tuple[Any, ...]) -> list[Claim]:
        [(text,)] = self._run(query, arguments)
        claims = _decode_claims(text)
        if claims:
            keys = _encode([claim.key for claim in claims])
            self._run(TAKE, (keys, worker, token))
        return claims

    def next_due(self, queues: Sequence[str]) -> int | None:
        """When the next waiting job of these queues becomes due; None if none waits."""
        moments: list[int] = []
        for queue in queues:
            [(paused, *first)] = self._run(PROBE, (queue,))
            if not paused:
                moments += [run_at for run_at in first if run_at is not None]
        return min(moments, default=None)

    def start(self, worker: int, keys: Sequence[int]) -> None:
        """Counts claims as started."""
        if not self._alive(worker):
            raise _lost(worker)
        self._mark(worker, keys)

    def finish(self, worker: int, transitions: Sequence[Transition], now: int) -> list[bool]:
        """Applies the transitions whose token stands; says which stand."""
        asked = transitions
        once = {(t.key, t.token): t for t in reversed(transitions)}
        if len(once) < len(transitions):  # Sent again while it was on its way.
            transitions = list(once.values())
        text = _encode(transitions)
        if any(t.failure is not None for t in transitions):
            self._run(FINISH_ERRORS, (text,))
            for t in transitions:
                if t.failure is not None and t.failure.attempt > MAX_ERRORS:
                    self._run(TRIM.format(table="job_error"), (t.key, MAX_ERRORS))
        self._add_log([(t.key, t.token, t.attempt, t.log) for t in transitions if t.log])
        self._run(FINISH, (text, now))
        self.wakes.add(Wake.FINISHED)  # Whatever was said: a cancel may have ended the job.
        if any(t.state == State.WAITING for t in transitions):
            self.wakes.add(Wake.JOBS)
        if self.connection.changes() == len(transitions):
            self._unmark(worker, [t.key for t in transitions])
            return [True] * len(asked)
        tokens = dict(
            self._run(
                "SELECT key, token FROM job WHERE key IN (SELECT value->>0 FROM jsonb_each(?))",
                (text,),
            )
        )
        stands = [tokens.get(t.key) == t.token for t in asked]
        # Where a token does not stand, this worker may have claimed the job anew and run it.
        self._unmark(worker, [t.key for t, stood in zip(asked, stands, strict=True) if stood])
        return stands

    def _add_log(self, lines: Sequence[tuple[int, int, int, Sequence[Any]]]) -> None:
        if not lines:
            return
        self._run(ADD_LOG, (_encode(lines),))
        for key, *_ in lines:
            self._run(TRIM.format(table="job_log"), (key, MAX_LOG_LINES))

    def give_back(self, worker: int, keep: Sequence[int], now: int) -> int:
        """All claims of this worker but `keep` wait again, untouched."""
        kept = set(keep)
        self._run(GIVE_BACK, (worker, self._fresh_token(), now, _encode(sorted(kept))))
        changed = self.connection.changes()
        self._unmark(worker, self._started.get(worker, set()) - kept)
        if changed:
            self.wakes |= {Wake.JOBS, Wake.FINISHED}  # Some may have been asked to end.
        return changed

    def disown(self, worker: int, keys: Sequence[int]) -> None:
        """When the lease ends, these come back uncharged."""
        self._unmark(worker, keys)

    def report(self, reports: Sequence[Report]) -> None:
        """Keeps progress and log lines of claims whose token stands."""
        self._run(REPORT, (_encode(reports),))
        self._add_log([(r.key, r.token, r.attempt, r.log) for r in reports if r.log])

    # -- upkeep ------------------------------------------------------------------------------

    def workers(self) -> list[tuple[int, str, str, float]]:
        """Every enlisted worker: number, name, boot, end of its lease."""
        return list(self._run("SELECT id, name, boot, lease_until FROM worker"))

    def reclaim(
        self, dead: Mapping[int, Collection[tuple[int, int]] | None], now: int
    ) -> Reclaimed:
        """Takes back the claims of dead workers.

        Args:
            dead: by worker, the (key, token) pairs whose code was noted as begun; None where
                nothing is known but what the worker said it might start.
        """
        names: list[str] = []
        crashed = untouched = 0
        for worker, noted in dead.items():
            row = self._run("SELECT name, started FROM worker WHERE id = ?", (worker,)).fetchone()
            if row is None:
                continue
            name, started = row
            names.append(name)
            charged = set(json.loads(started))
            if noted is not None:
                held = self._run(
                    "SELECT key, token FROM job WHERE worker = ? AND state = 1", (worker,)
                )
                charged &= {key for key, token in held if (key, token) in noted}
            if charged:
                crashed += self._charge(worker, name, charged, now)
            untouched += self.give_back(worker, (), now)
            self._run("DELETE FROM worker WHERE id = ?", (worker,))
            self._forget_worker(worker)
        return Reclaimed(tuple(names), crashed, untouched)

    def _charge(self, worker: int, name: str, keys: set[int], now: int) -> int:
        reason = f"the worker {name} died while it ran this job"
        rows = self._run(
            "SELECT key FROM job WHERE worker = ? AND state = 1"
            " AND key IN (SELECT value FROM json_each(?))",
            (worker, json.dumps(sorted(keys))),
        )
        held = [key for (key,) in rows]
        text = json.dumps(held)
        self._run(CRASH_ERRORS, (text, now, reason))
        for key in held:
            self._run(TRIM.format(table="job_error"), (key, MAX_ERRORS))
        self._run(CHARGE, (worker, self._fresh_token(), now, text, reason))
        self.wakes |= {Wake.JOBS, Wake.FINISHED}
        return self.connection.changes()

    def unpark(self, types: Sequence[str]) -> int:
        """Parked jobs of these types wait again."""
        parked = {type_ for (type_,) in self._run("SELECT DISTINCT type FROM job WHERE state = 6")}
        wanted = parked.intersection(types)
        if not wanted:
            return 0
        self._run(
            "UPDATE job SET state = 0 WHERE state = 6 AND type IN (SELECT value FROM json_each(?))",
            (json.dumps(sorted(wanted)),),
        )
        self.wakes.add(Wake.JOBS)
        return self.connection.changes()

    def prune(self, cutoff: int, now: int, limit: int) -> int:
        """Removes up to `limit` jobs that ended before `cutoff`; ends those that expired."""
        removed = 0
        for state in (State.COMPLETED, State.FAILED, State.CANCELLED):
            removed += self._prune_state(state, cutoff, limit - removed)
        for expired in (EXPIRED_WAITING, EXPIRED_PARKED):
            self._run(EXPIRE.format(keys=expired), (now, limit))
            if self.connection.changes():
                self.wakes.add(Wake.FINISHED)
            removed += self.connection.changes()
        return removed

    def _prune_state(self, state: State, cutoff: int, limit: int) -> int:
        """Walks a state in the order of insertion, a page a call, from where it last stopped:
        no index on the end of a job is needed, since a job cannot end before it was made."""
        if limit <= 0:
            return 0
        rows = list(
            self._run(
                "SELECT key, created_at, finished_at FROM job"
                " WHERE state = ?1 AND state BETWEEN 2 AND 4 AND key > ?2 ORDER BY key LIMIT ?3",
                (int(state), self._prune_from.get(state, 0), limit),
            )
        )
        done = len(rows) < limit or rows[-1][1] >= cutoff
        self._prune_from[state] = 0 if done else rows[-1][0]
        keys = [key for key, _, finished_at in rows if finished_at < cutoff]
        if keys:
            self.forget(keys)
        return len(keys)

    def forget(self, keys: Sequence[int]) -> None:
        """Removes jobs with all that is kept with them."""
        self._run(FORGOTTEN, (max(keys),))
        text = json.dumps(list(keys))
        for table, column in (("job", "key"), ("job_error", "job"), ("job_log", "job")):
            self._run(
                f"DELETE FROM {table} WHERE {column} IN (SELECT value FROM json_each(?))", (text,)
            )


def _lost(worker: int) -> LeaseLostError:
    return LeaseLostError(
        f"worker {worker} was declared dead: it did not extend its lease in time, and its jobs"
        " went to others"
    )


_encoder = msgspec.json.Encoder()
_claims_decoder = msgspec.json.Decoder(list[Claim])


def _encode(value: Any) -> str:
    return _encoder.encode(value).decode()


def _decode_claims(text: str) -> list[Claim]:
    return _claims_decoder.decode(text)
