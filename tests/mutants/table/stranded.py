"""A job that nobody would ever run is found and put back; one that is in its place stays (12)."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

TESTS = "contract/test_stranded.py"
LOST = f"{TESTS}::test_a_job_that_has_lost_its_place_is_found_put_back_and_claimed"
WHOLE = f"{TESTS}::test_where_nothing_is_lost_nobody_is_stranded_and_nobody_is_moved"
ONCE = f"{TESTS}::test_several_who_put_a_job_back_at_once_do_it_once"
SQLITE = "storage/sqlite/stranded.py"
SERVER = "storage/postgres/stranded.py"
STATEMENTS = "storage/postgres/statements.py"

MUTANTS = (
    Mutant(
        name="stranded-called-by-nobody",
        promises=(12,),
        guard="who was called from a line, and waits nowhere, is found",
        file=SQLITE,
        old="WHERE b.job = job.key AND b.called_at IS NULL)",
        new="WHERE b.job = job.key)",
        tests=(f"{LOST}[memory-the call from a line]",),
    ),
    Mutant(
        name="stranded-let-go-by-nobody",
        promises=(12,),
        guard="who waits for no job any more, and was not let go, is found",
        file=SQLITE,
        old="AND (m.waits > 0 OR m.flow IN (SELECT key FROM away)))",
        new="AND m.waits >= 0)",
        tests=(f"{LOST}[memory-the end that it waits for]",),
    ),
    Mutant(
        name="stranded-waits-for-jobs",
        promises=(3,),
        guard="who waits for other jobs is not put back before these have ended",
        file=SQLITE,
        old="AND (m.waits > 0 OR m.flow IN (SELECT key FROM away)))",
        new="AND m.flow IN (SELECT key FROM away))",
        tests=(f"{WHOLE}[memory]",),
    ),
    Mutant(
        name="stranded-in-no-queue",
        promises=(12,),
        guard="a queue that no worker would look into is made known again",
        file=SQLITE,
        old='ledger.run("INSERT OR IGNORE INTO queue (name) VALUES (?)", (queue,))',
        new="pass",
        tests=(f"{LOST}[memory-its queue]",),
    ),
    Mutant(
        name="stranded-held-by-nobody",
        promises=(5,),
        guard="what a worker has that has no row is found, on a server",
        file=STATEMENTS,
        old="                     WHERE h.worker IN (SELECT id FROM {workers}))",
        new="                     WHERE true)",
        tests=(f"{LOST}[postgres-its worker]",),
    ),
    Mutant(
        name="stranded-looked-at-again",
        promises=(2,),
        guard="only what is stranded still, when nobody else can move it, is put back",
        file=SERVER,
        old='rows = await link.fetch(text["stranded_among"], locked)',
        new='rows = await link.fetch(text["stranded_among"], wanted)',
        tests=(f"{ONCE}[postgres]", "postgres/test_stranded.py"),
    ),
    Mutant(
        name="stranded-said-elsewhere",
        promises=(2,),
        guard="a job that stands at another moment than its row says has one place in the end",
        file=SERVER,
        old='await link.execute(text["displace"], lost)',
        new="pass",
        tests=("postgres/test_stranded.py",),
    ),
)
