"""How long a unique key is held, and what becomes of who finds it held (promise 6)."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

CONTRACT = "contract/test_uniqueness.py"
SQLITE = "storage/sqlite/keys.py"
POSTGRES = "storage/postgres/keys.py"
STATEMENTS = "storage/postgres/keys.sql"
MATRIX = "test_a_job_that_finds_its_key_held"


def on(storage: str, test: str, *kinds: str) -> tuple[str, ...]:
    """One test, on one kind of storage."""
    return tuple(f"{CONTRACT}::{test}[{storage}{kind}]" for kind in kinds or ("",))


MUTANTS = (
    Mutant(
        name="unique-start-lets-go",
        promises=(6,),
        guard="a key that is held until the start is free once its job was claimed",
        file=SQLITE,
        old="return self._waits(holder, _FRESH) or",
        new="return True or",
        tests=on("memory", MATRIX, "-start-running", "-start-retried"),
    ),
    Mutant(
        name="unique-start-for-good",
        promises=(6,),
        guard="a job that has started once holds nothing until it starts, though it waits again",
        file=SQLITE,
        old="return bool(holder.unstarted) and holder.state in states",
        new="return holder.state in states",
        tests=on("memory", MATRIX, "-start-retried", "-end-snoozed"),
    ),
    Mutant(
        name="unique-period-outlives-its-job",
        promises=(6, 10),
        guard="retention frees no key whose period lasts",
        file="storage/sqlite/retention.py",
        old="    text = json.dumps(list(keys))",
        new="    text = json.dumps(list(keys))\n    ledger.run('DELETE FROM hold')",
        tests=(f"{CONTRACT}::test_a_period_outlives_retention_and_ends_when_its_job_is_deleted",),
    ),
    Mutant(
        name="unique-period-ends",
        promises=(6,),
        guard="a period ends",
        file=SQLITE,
        old="return job.created_at < holder.until",
        new="return True",
        tests=(f"{CONTRACT}::test_a_period_ends_to_the_microsecond_whatever_became_of_the_job",),
    ),
    Mutant(
        name="unique-deleted-frees",
        promises=(6,),
        guard="who deletes a job frees its key",
        file="storage/sqlite/steering.py",
        old="    free(ledger, keys)",
        new="",
        tests=on("memory", MATRIX, "-period-deleted"),
    ),
    Mutant(
        name="unique-replaces-only-what-waits",
        promises=(6,),
        guard="a job that runs keeps its data, whoever wants to replace it",
        file=SQLITE,
        old='if how != "replace" or holder.woven or not self._waits(holder, _NOBODYS):',
        new='if how != "replace" or holder.woven:',
        tests=on("memory", MATRIX, "-end-running", "-period-completed"),
    ),
    Mutant(
        name="unique-refused-whole",
        promises=(6,),
        guard="of a call that is refused for a key nothing is kept",
        file="storage/sqlite/inserts.py",
        old="            del waiting[first:]",
        new="",
        tests=(f"{CONTRACT}::test_who_is_told_that_a_key_is_held_leaves_no_trace",),
    ),
    Mutant(
        name="unique-refused-undone",
        promises=(6,),
        guard="a call that is refused for a key has taken none, and replaced nothing",
        file="storage/sqlite/inserts.py",
        old="            keys.undo()",
        new="",
        tests=(f"{CONTRACT}::test_who_is_told_that_a_key_is_held_leaves_no_trace",),
    ),
    Mutant(
        name="unique-asked-again",
        promises=(6,),
        guard="a call that is asked again, when what it replaced has started, makes no second job",
        file=SQLITE,
        old="if job.id in (holder.id, holder.last):",
        new="if job.id == holder.id:",
        tests=(
            f"{CONTRACT}::test_what_was_replaced_is_not_made_once_more_by_a_call_that_is_asked_again",
        ),
    ),
    Mutant(
        name="unique-retry-asks",
        promises=(6,),
        guard="a retried job takes no key that another one holds for a period, or until it starts",
        file="storage/sqlite/inspect.py",
        old="SELECT 1 FROM hold WHERE hold.type = job.type AND hold.unique_key = job.unique_key",
        new="SELECT 1 WHERE false",
        tests=(
            f"{CONTRACT}::test_a_job_with_a_plain_key_is_not_retried_while_another_one_holds_it",
        ),
    ),
    Mutant(
        name="unique-pruned-when-over",
        promises=(6,),
        guard="upkeep lets go of no key that is held",
        file=SQLITE,
        old="SELECT type, unique_key FROM hold WHERE until > 0 AND until <= ?1 LIMIT ?2",
        new="SELECT type, unique_key FROM hold WHERE until > 0 AND until >= ?1 LIMIT ?2",
        tests=(f"{CONTRACT}::test_upkeep_lets_go_of_no_key_that_is_held",),
    ),
    Mutant(
        name="unique-in-a-lane",
        promises=(6,),
        guard="a job that waits in the lanes of a worker is not replaced, but one more is made",
        file=SQLITE,
        old='(_how(job) != "replace" and self._in_a_lane(holder))',
        new="self._in_a_lane(holder)",
        tests=on("memory", MATRIX, "-start-claimed"),
    ),
    Mutant(
        name="unique-replaced-waits",
        promises=(6,),
        guard="a parked job whose data was replaced is looked at anew: it may have another version",
        file=SQLITE,
        old="        expires_at = ?7, state = 0",
        new="        expires_at = ?7",
        tests=on("memory", "test_what_replaces_a_job_brings_the_version_of_its_data", "-parked"),
    ),
    Mutant(
        name="unique-moves",
        promises=(6, 1),
        guard="a job that has ended and holds a key goes along when the jobs move",
        file="storage/sqlite/moving.py",
        old="EXISTS (SELECT 1 FROM hold WHERE hold.job = job.id AND until > 0)",
        new="EXISTS (SELECT 1 FROM hold WHERE hold.job = job.id AND until < 0)",
        tests=(
            "contract/test_moving.py::test_a_key_is_held_there_as_long_as_it_was_to_be_held_here",
        ),
    ),
    Mutant(
        name="unique-ticks",
        promises=(6, 7),
        guard="what makes the jobs of a type unique counts for those of its schedules",
        file="ticking.py",
        old="    if job.unique_key is None:",
        new="    if True:",
        tests=("engine/test_schedules.py::test_a_tick_is_of_the_job_that_has_the_key_of_its_type",),
    ),
    # -- PostgreSQL -----------------------------------------------------------------------------
    Mutant(
        name="pg-unique-start-lets-go",
        promises=(6,),
        guard="a key that is held until the start is free once its job was claimed",
        file=POSTGRES,
        old='if standing.held and (one.how == "replace" or standing.begun):',
        new='if standing.held and one.how == "replace":',
        tests=on("postgres", MATRIX, "-start-running"),
    ),
    Mutant(
        name="pg-unique-start-for-good",
        promises=(6,),
        guard="a job that has started once holds nothing until it starts, though it waits again",
        file=POSTGRES,
        old="return standing.unstarted and not standing.ended",
        new="return not standing.ended",
        tests=on("postgres", MATRIX, "-start-retried"),
    ),
    Mutant(
        name="pg-unique-is-nobodys-by-id",
        promises=(6,),
        guard="who ends a job does not free a key that is held for a period",
        file="storage/postgres/statements.py",
        old="CASE WHEN held_until IS NULL THEN id ELSE {nobody} END,",
        new="id,",
        tests=on("postgres", MATRIX, "-period-completed"),
    ),
    Mutant(
        name="pg-unique-replaces-only-what-waits",
        promises=(6,),
        guard="a call that would replace a job that runs has not done so, and is not noted as done",
        file=POSTGRES,
        old="standing.waits and standing.unstarted and not standing.woven:",
        new="standing.waits and not standing.woven:",
        tests=on("postgres", MATRIX, "-end-retried", "-end-snoozed"),
    ),
    Mutant(
        name="pg-unique-refused-alone",
        promises=(6, 15),
        guard="who is told that a key is held takes no other call of its transaction along",
        file="storage/postgres/adding.py",
        old="if one not in refused.additions]",
        new="if not refused.additions]",
        tests=on("postgres", "test_of_many_who_may_not_be_the_same_one_is_made", "-end"),
    ),
    Mutant(
        name="pg-unique-refused-whole",
        promises=(6,),
        guard="of a call that is refused for a key nothing is kept",
        file=POSTGRES,
        old="""
            job.unique_key is None or (job.hold is None and len(self.jobs) == 1)
            for job in self.jobs
        """,
        new="""
            job is not None
            for job in self.jobs
        """,
        tests=on("postgres", "test_who_is_told_that_a_key_is_held_leaves_no_trace", "-end-default"),
    ),
    Mutant(
        name="pg-unique-call-whole",
        promises=(6,),
        guard="of a call with a key to decide about nothing is made before that is decided",
        file="storage/postgres/statements.py",
        old="WHERE t.call = a.call AND t.decides)",
        new="WHERE t.call = a.call AND t.n = a.n)",
        tests=on("postgres", "test_who_is_told_that_a_key_is_held_leaves_no_trace", "-end-default"),
    ),
    Mutant(
        name="pg-unique-taken-just-now",
        promises=(6,),
        guard="of a call that loses a key in this very moment nothing is made before it is decided",
        file="storage/postgres/statements.py",
        old="WHEN (SELECT count(*) FROM given AS o WHERE o.call = g.call) = 1 THEN {nobody}",
        new="WHEN (SELECT count(*) FROM given AS o WHERE o.call = g.call) > 0 THEN {nobody}",
        tests=(
            "postgres/test_uniqueness_in_transactions.py::"
            "test_a_call_whose_key_is_taken_while_it_waits_is_kept_whole_or_not_at_all",
        ),
    ),
    Mutant(
        name="pg-unique-moves",
        promises=(6, 1),
        guard="a job that has ended and holds a key goes along when the jobs move",
        file="storage/postgres/moving.sql",
        old="WHERE k.holder = e.id AND k.held_until > 0)) FOR UPDATE OF e",
        new="WHERE k.holder = e.id AND false)) FOR UPDATE OF e",
        tests=(
            "contract/test_moving.py::test_a_key_is_held_there_as_long_as_it_was_to_be_held_here",
        ),
    ),
    Mutant(
        name="pg-unique-asked-again",
        promises=(6,),
        guard="a call that is asked again, when what it replaced has started, makes no second job",
        file=POSTGRES,
        old="if one.job.id in (holder.id, holder.last):",
        new="if one.job.id == holder.id:",
        tests=on(
            "postgres",
            "test_what_was_replaced_is_not_made_once_more_by_a_call_that_is_asked_again",
            "-start",
        ),
    ),
    Mutant(
        name="pg-unique-deleted-frees",
        promises=(6,),
        guard="who deletes a job frees its key",
        file="storage/postgres/retention.sql",
        old="h AS (DELETE FROM {keys} WHERE holder = ANY($1::uuid[]))",
        new="h AS (DELETE FROM {keys} WHERE holder = ANY($1::uuid[]) AND holder IS NULL)",
        tests=on("postgres", MATRIX, "-period-deleted"),
    ),
    Mutant(
        name="pg-unique-locked-while-asked",
        promises=(6,),
        guard="no worker claims a job that a transaction has answered with, before that commits",
        file=STATEMENTS,
        old="""
            ORDER BY r.id FOR UPDATE OF r
        ), parked AS MATERIALIZED (
        """,
        new="""
            ORDER BY r.id
        ), parked AS MATERIALIZED (
        """,
        tests=(
            "postgres/test_uniqueness_in_transactions.py::"
            "test_who_waits_is_not_claimed_before_the_transaction_that_found_it_has_ended",
        ),
    ),
    Mutant(
        name="pg-unique-refusal-leaves-a-savepoint",
        promises=(14, 6),
        guard="of a call that is refused nothing is kept by the application's transaction",
        file="storage/postgres/along.py",
        old='await self._line.execute("ROLLBACK TO SAVEPOINT backroom")',
        new="pass",
        tests=(
            "postgres/test_uniqueness_in_transactions.py::"
            "test_a_transaction_goes_on_without_what_was_refused",
        ),
    ),
    # -- how a key is made ----------------------------------------------------------------------
    Mutant(
        name="unique-order-of-fields",
        promises=(6,),
        guard="the order of fields makes no other key",
        file="keying.py",
        old='order="sorted"',
        new="order=None",
        tests=("unit/test_keying.py",),
    ),
    Mutant(
        name="unique-long-keys-hashed",
        promises=(6,),
        guard="a key that would be too long is its hash, and not cut off",
        file="keying.py",
        old='return text if len(text) <= MAX_KEY else f"hash {_hash(text)}"',
        new="return text[:MAX_KEY]",
        tests=("unit/test_keying.py",),
    ),
)
