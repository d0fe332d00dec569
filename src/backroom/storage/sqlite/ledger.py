"""The frame of a transaction: what it must know first, what it hands out, what it leaves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, Final

import apsw
import msgspec

from backroom.errors import LeaseLostError
from backroom.ports import Wake
from backroom.storage.sqlite import migrations

__all__ = ["APPLICATION_ID", "SCHEMA_VERSION", "VERSION", "Ledger", "encode"]

APPLICATION_ID: Final = 0x4261636B  # "Back"
SCHEMA_VERSION: Final = 1
"""The oldest version whose code may use the tables that this code makes; see `migrations`."""

VERSION: Final = (
    "CAST(ifnull(CASE WHEN json_valid(options) THEN json_extract(options, '$.version') END, 1)"
    " AS INTEGER)"
)
"""The version of a job's data, as its options tell it. An index has this very expression."""

# All that a transaction needs to know first, in one statement: each one more would have to
# wait for the interpreter lock once more.
HEAD: Final = """
    SELECT 1 + max(ifnull((SELECT max(key) FROM job), 0),
                   ifnull((SELECT value FROM meta WHERE name = 'forgotten'), 0)),
           (SELECT value FROM meta WHERE name = 'token'),
           (SELECT json_group_array(id) FROM worker),
           EXISTS (SELECT 1 FROM job WHERE state = 6)
"""


class Ledger:
    """A job store in one SQLite connection. Not safe for use from several threads at once.

    The keys that a worker may have started are held here for the workers of this process, and
    written to the worker's row once a transaction (`flush`), not once a job.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection
        self.run = connection.execute
        self.queues: set[str] = set()
        """Names that have a row already."""
        self.pruned_to: dict[int, int] = {}
        """By state: the key up to which retention has looked."""
        self.ticks_pruned_to = 0
        """The key of the schedule up to which retention has looked."""
        self.holds_pruned_to = ""
        """The id of the job up to whose hold retention has looked."""
        self.members_mended_to = -1
        """The key of the job of a flow up to which has been looked for ends that were not told."""
        self.parked = False
        """Some jobs are parked."""
        self.limits: set[str] = set()
        """Names that have a row already."""
        self.freed_to = ("", "")
        """The place up to which `free_up` has looked."""
        self.started: dict[int, set[int]] = {}
        """By worker of this process: the claims that count as started."""
        self.wakes: set[Wake] = set()
        """Who is to be woken once the transaction is committed."""
        self.undo: list[Callable[[], None]] = []
        """What is to be done, still alone among all processes, if the transaction fails."""
        self.done: list[Callable[[], None]] = []
        """What is to be done as soon as it is committed, before anybody is answered: who asked
        may not wait for the answer."""
        self._stale: set[int] = set()
        self._key = 0
        self._token = 0
        self._token_known = 0
        self._living: set[int] = set()

    # -- a transaction -------------------------------------------------------------------------

    def create(self, store: int = 0, worker: int = 0, token: int = 0) -> None:
        """Makes the tables in an empty database.

        `store` tells this store from every other one. `worker` and `token` are what its numbers
        begin above: where a store may take the place of another one, under the eyes of workers
        of that, far from the numbers of any other store.
        """
        migrations.make(self.connection)
        self.run("INSERT INTO meta VALUES ('token', ?), ('store', ?)", (token, store))
        self.run("INSERT INTO sqlite_sequence (name, seq) VALUES ('worker', ?)", (worker,))
        self.run(f"PRAGMA application_id = {APPLICATION_ID}")
        self.run(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def store(self) -> int:
        """What `create` was told of this store."""
        row = self.run("SELECT value FROM meta WHERE name = 'store'").fetchone()
        return int(row[0]) if row else 0

    def begin(self) -> None:
        """To be called first in every transaction: forgets what another process may change."""
        self.undo.clear()
        self.done.clear()
        [(self._key, self._token, living, parked)] = self.run(HEAD)
        self._token_known = self._token
        self._living = set(json.loads(living))
        self.parked = bool(parked)

    def flush(self) -> None:
        """To be called last in every transaction: writes what each worker may have started, and
        the last token that was used."""
        if self._token != self._token_known:
            self.run("UPDATE meta SET value = ? WHERE name = 'token'", (self._token,))
        for worker in self._stale:
            started = encode(list(self.started.get(worker, ())))
            self.run("UPDATE worker SET started = ?2 WHERE id = ?1", (worker, started))
        self._stale.clear()

    def resume(self, before: Ledger) -> None:
        """Takes over what the workers of this process had started, after the database was
        opened anew; a worker's row may lack what a lost commit would have written."""
        self.started = before.started
        self._stale = set(self.started)

    def snapshot(self) -> dict[int, set[int]]:
        """What `rollback` needs to undo the memory's part of a transaction."""
        return {worker: set(keys) for worker, keys in self.started.items()}

    def rollback(self, snapshot: dict[int, set[int]]) -> None:
        """Puts the memory's part back to the moment of the snapshot."""
        self.started = snapshot
        self._stale.clear()
        self.queues.clear()
        self.limits.clear()
        self.wakes.clear()
        while self.undo:
            self.undo.pop()()

    def settle(self) -> None:
        """To be called once the transaction is committed."""
        done, self.done = self.done, []
        for call in done:
            call()

    def fresh_token(self) -> int:
        """A lease token above every one there ever was. One for each act, not one for each
        transaction: in a group commit a job may change hands more than once."""
        self._token += 1
        return self._token

    def fresh_keys(self, count: int) -> int:
        """The first of so many keys that no job has had."""
        first = self._key
        self._key += count
        return first

    # -- workers -------------------------------------------------------------------------------

    def is_enlisted(self, worker: int) -> bool:
        """Whether nobody has declared this worker dead."""
        return worker in self._living

    def check_enlisted(self, worker: int) -> None:
        """Raises `LeaseLostError` where somebody has declared this worker dead."""
        if worker not in self._living:
            raise LeaseLostError(
                f"worker {worker} was declared dead: it did not extend its lease in time, and its"
                " jobs went to others"
            )

    def welcome(self, worker: int) -> None:
        """This worker has enlisted."""
        self.started[worker] = set()
        self._living.add(worker)

    def dismiss(self, worker: int) -> None:
        """This worker has ended."""
        self.run("DELETE FROM worker WHERE id = ?", (worker,))
        self.started.pop(worker, None)
        self._stale.discard(worker)
        self._living.discard(worker)

    def mark(self, worker: int, keys: Iterable[int]) -> None:
        """These claims count as started."""
        self.started.setdefault(worker, set()).update(keys)
        self._stale.add(worker)

    def unmark(self, worker: int, keys: Iterable[int]) -> None:
        """These do not, or not any more."""
        started = self.started.get(worker)
        if started:
            started.difference_update(keys)
            self._stale.add(worker)


_encoder: Final = msgspec.json.Encoder()


def encode(value: Any) -> str:
    """JSON text, as the statements take it."""
    return _encoder.encode(value).decode()
