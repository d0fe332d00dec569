"""Same key, one job; same id, one job: also after an unknown reply (promise 6)."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

MUTANTS = (
    Mutant(
        name="key-looked-up",
        promises=(6,),
        guard="a job whose unique key is taken is the job that holds it",
        file="storage/sqlite/inserts.py",
        old="                if job.unique_key is not None:",
        new="                if job.unique_key == '':",
        tests=("contract/test_unique_keys.py",),
    ),
    Mutant(
        name="key-index",
        promises=(6,),
        guard="the database itself lets no two live jobs have one unique key",
        file="storage/sqlite/schema.sql",
        old="CREATE UNIQUE INDEX job_unique",
        new="CREATE INDEX job_unique",
        tests=("contract/test_unique_keys.py",),
    ),
    Mutant(
        name="key-within-a-batch",
        promises=(6,),
        guard="a key that comes twice in one batch is one job",
        file="storage/sqlite/keys.py",
        old="        self._set(self._holders, name, now)",
        new="",
        tests=("contract/test_unique_keys.py",),
    ),
    Mutant(
        name="key-of-its-type",
        promises=(6,),
        guard="a unique key is one within its type",
        file="storage/sqlite/keys.py",
        old='        name = (job.type, job.unique_key or "")',
        new="        name = ('T', job.unique_key or '')",
        tests=("contract/test_unique_keys.py",),
    ),
    Mutant(
        name="key-is-free-again",
        promises=(6, 9),
        guard="a key is free once its job has ended",
        file="storage/sqlite/keys.py",
        old="AND unique_key = ?2 AND unique_key IS NOT NULL AND state NOT BETWEEN 2 AND 4",
        new="AND unique_key = ?2 AND unique_key IS NOT NULL",
        tests=("contract/test_unique_keys.py",),
    ),
    Mutant(
        name="same-id-answers-first",
        promises=(6,),
        guard="a job that is sent again is that job, though another one holds its key by now",
        file="storage/sqlite/keys.py",
        old="""
        if self._ledger.run("SELECT 1 FROM job WHERE id = ?", (job.id,)).fetchone():
            return job.id
        """,
        new="",
        tests=("contract/test_unique_keys.py",),
    ),
    Mutant(
        name="same-id-same-job",
        promises=(6,),
        guard="an id that is sent again, after a lost reply, is the same job",
        file="storage/sqlite/inserts.py",
        old="    ON CONFLICT (id) DO NOTHING",
        new="    ON CONFLICT (id) DO UPDATE SET state = excluded.state",
        tests=("contract/test_inserting.py",),
    ),
    Mutant(
        name="made-once",
        promises=(6,),
        guard="of an id that was there already nobody is told that it was made",
        file="storage/sqlite/inserts.py",
        old="                if inserted.id in known or inserted.id in made:",
        new="                if inserted.id in made:",
        tests=("contract/test_inserting.py",),
    ),
    Mutant(
        name="known-id-is-no-claim",
        promises=(6, 2),
        guard="an id that is sent again is not handed to the worker that sends it",
        file="storage/sqlite/inserts.py",
        old="        if job.id in known:",
        new="        if job.id in ():",
        tests=("contract/test_inserting.py", "contract/test_unique_keys.py"),
    ),
    Mutant(
        name="retry-respects-keys",
        promises=(6,),
        guard="a job whose key has a new holder is not retried, and says so",
        file="storage/sqlite/inspect.py",
        old="        if not self.connection.changes():\n            raise JobStateError(",
        new="        if self.connection.changes() < 0:\n            raise JobStateError(",
        tests=("contract/test_unique_keys.py",),
    ),
)
