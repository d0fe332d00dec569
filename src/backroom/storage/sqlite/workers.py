"""The life of a worker, from its enlisting to its end, whoever notices that."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from math import inf
from typing import Any, Final, NamedTuple

from backroom.job import SECOND
from backroom.ports import Heartbeat, Reclaimed, Rescued, Wake, WorkerSpec
from backroom.storage.sqlite.claims import RELEASE, give_back
from backroom.storage.sqlite.ledger import Ledger
from backroom.storage.sqlite.outcomes import trim_errors
from backroom.storage.sqlite.ties import loosen
from backroom.storage.told import begins_of

__all__ = [
    "Enlisted",
    "enlist",
    "extend",
    "known_since",
    "reclaim",
    "retire",
    "take_back",
    "workers",
]

CHARGE: Final = (
    RELEASE.format(reason="?5", more=", attempt = attempt + 1, crashes = crashes + 1")
    + "AND key IN (SELECT value FROM json_each(?4))"
)
RESCUED: Final = """
    SELECT queue, type, count(*), sum(key IN (SELECT value FROM json_each(?2))) FROM job
    WHERE worker = ?1 AND state = 1 GROUP BY queue, type
"""
OF_WORKER: Final = "UPDATE job SET worker = ?2 WHERE key IN (SELECT value FROM json_each(?1))"
CRASH_ERRORS: Final = """
    INSERT INTO job_error (job, attempt, at, kind, message, began)
    SELECT value->>0, value->>1, ?2, 'crash', ?3, value->>2 FROM json_each(?1)
"""


class Enlisted(NamedTuple):
    """A worker as its row tells it."""

    worker: int
    boot: str
    lease: float
    until: float


def enlist(ledger: Ledger, spec: WorkerSpec, boot: str, until: float, now: int) -> int:
    """A new worker; its number is never used again."""
    [(worker,)] = ledger.run(
        "INSERT INTO worker (name, boot, lease, lease_until, started_at)"
        " VALUES (?, ?, ?, ?, ?) RETURNING id",
        (spec.name, boot, spec.lease, until, now),
    )
    if spec.draining:
        ledger.run("UPDATE worker SET draining = 1 WHERE id = ?", (worker,))
    ledger.welcome(worker)
    return int(worker)


def extend(ledger: Ledger, worker: int, until_from: Callable[[float], float]) -> Heartbeat:
    """The lease begins anew."""
    ledger.check_enlisted(worker)
    [(lease, draining)] = ledger.run("SELECT lease, draining FROM worker WHERE id = ?", (worker,))
    until = until_from(lease)
    ledger.run("UPDATE worker SET lease_until = ?2 WHERE id = ?1", (worker, until))
    cancelled = ledger.run(
        "SELECT key FROM job WHERE worker = ? AND state = 1 AND cancel_requested", (worker,)
    )
    return Heartbeat(worker, until, tuple(key for (key,) in cancelled), bool(draining))


def retire(ledger: Ledger, worker: int, now: int) -> None:
    """Ends a worker; what it holds comes back untouched."""
    give_back(ledger, worker, (), now)
    ledger.dismiss(worker)


def workers(ledger: Ledger) -> list[Enlisted]:
    """Every enlisted worker."""
    rows = ledger.run("SELECT id, boot, lease, lease_until FROM worker")
    return [Enlisted(*row) for row in rows]


def known_since(ledger: Ledger, lock_file: int, now: float) -> float:
    """Since when workers hold their locks in this file, in the uptime that leases are counted
    in. The first one that a store sees is known from the beginning; so is what has a moment
    that has not come, as it is of another start of the machine."""
    known = dict(
        ledger.run("SELECT name, value FROM meta WHERE name IN ('lock_file', 'lock_file_since')")
    )
    keep = "INSERT OR REPLACE INTO meta VALUES (?, ?)"
    if not known:
        ledger.run(keep, ("lock_file", lock_file))
    elif known["lock_file"] != lock_file:
        ledger.run(keep, ("lock_file", lock_file))
        ledger.run(keep, ("lock_file_since", int(now * SECOND)))
        return now
    since = known.get("lock_file_since")
    return -inf if since is None or since > now * SECOND else since / SECOND


def reclaim(
    ledger: Ledger, dead: Mapping[int, Collection[tuple[int, int]] | None], now: int
) -> Reclaimed:
    """Takes back the claims of dead workers.

    Args:
        dead: by worker, the (key, token) pairs whose code was noted as begun; None where
            nothing is known but what the worker said it might start.
    """
    names: list[str] = []
    rescued: list[Rescued] = []
    crashed = untouched = 0
    for worker, noted in dead.items():
        row = ledger.run("SELECT name, started FROM worker WHERE id = ?", (worker,)).fetchone()
        if row is None:
            continue
        name, started = row
        names.append(name)
        charged = set(json.loads(started))
        if noted is not None:
            held = ledger.run(
                "SELECT key, token FROM job WHERE worker = ? AND state = 1", (worker,)
            )
            charged &= {key for key, token in held if (key, token) in noted}
        rescued += (Rescued(*row) for row in ledger.run(RESCUED, (worker, json.dumps([*charged]))))
        if charged:
            crashed += _charge(ledger, worker, name, charged, now)
        untouched += give_back(ledger, worker, (), now)
        ledger.dismiss(worker)
    return Reclaimed(tuple(names), crashed, untouched, rescued=tuple(rescued))


def take_back(ledger: Ledger, worker: int, keys: Sequence[int], now: int) -> None:
    """These claims of a worker that has no row, or of none: whether their code had begun is known
    to nobody, so each is charged for it."""
    text = json.dumps(list(keys))
    ledger.run(OF_WORKER, (text, worker))
    _charge(ledger, worker, f"{worker}, of which nothing else is known,", set(keys), now)


def _charge(ledger: Ledger, worker: int, name: str, keys: set[int], now: int) -> int:
    reason = f"the worker {name} died while it ran this job"
    rows: Sequence[Any] = ledger.run(
        "SELECT key, id, attempt + 1, ifnull(started_at, 0) FROM job"
        " WHERE worker = ? AND state = 1 AND key IN (SELECT value FROM json_each(?))",
        (worker, json.dumps(sorted(keys))),
    ).fetchall()
    told = ledger.run("SELECT report FROM worker_report WHERE worker = ?", (worker,)).fetchone()
    begins = begins_of(told[0] if told else None)
    crashed = []
    for key, id_, attempt, before in rows:
        began = begins.get((id_, attempt), 0)
        crashed.append((key, attempt, began if began > before else None))
    held = [key for key, *_ in crashed]
    text = json.dumps(held)
    ledger.run(CRASH_ERRORS, (json.dumps(crashed), now, reason))
    for key in held:
        trim_errors(ledger, key)
    ledger.run(CHARGE, (worker, ledger.fresh_token(), now, text, reason))
    charged = ledger.connection.changes()
    loosen(ledger, held, now)
    ledger.wakes |= {Wake.JOBS, Wake.FINISHED}
    return charged
