"""Who waits for others is let go once, when all of them have ended, and never before."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

CONTRACT = "contract/test_flows.py"
ENGINE = "engine/test_workflows.py"
SERVER = "postgres/test_flows.py"
MODEL = "property/test_flows.py"
SQLITE = "storage/sqlite/flows.py"
STATEMENTS = "storage/postgres/flows.sql"

MUTANTS = (
    Mutant(
        name="flows-all-of-them",
        promises=(9,),
        guard="a job runs when all that it waits for has ended, in a folder",
        file=SQLITE,
        old="(SELECT job FROM member WHERE job IN {_THESE} AND waits <= 0)",
        new="(SELECT job FROM member WHERE job IN {_THESE})",
        tests=(CONTRACT,),
    ),
    Mutant(
        name="flows-all-of-them-on-a-server",
        promises=(9,),
        guard="a job runs when all that it waits for has ended, on a server",
        file=STATEMENTS,
        old="SELECT place FROM places WHERE cause IS NULL AND waits <= 0)) RETURNING id",
        new="SELECT place FROM places WHERE cause IS NULL)) RETURNING id",
        tests=(CONTRACT,),
    ),
    Mutant(
        name="flows-counted-once",
        promises=(3,),
        guard="an end that is told twice is counted once, in a folder",
        file=SQLITE,
        old="    WHERE m.job IN {_THESE} AND m.counted = 0 AND job.state BETWEEN 2 AND 4\n",
        new="    WHERE m.job IN {_THESE} AND job.state BETWEEN 2 AND 4\n",
        tests=(MODEL,),
    ),
    Mutant(
        name="flows-outcome-tells",
        promises=(9,),
        guard="an outcome tells those that wait, in its own change, in a folder",
        file="storage/sqlite/outcomes.py",
        old="    tied = [t.key for t in transitions if t.tied]\n",
        new="    tied: list[int] = []\n",
        tests=(CONTRACT,),
    ),
    Mutant(
        name="flows-outcome-tells-on-a-server",
        promises=(9,),
        guard="an outcome tells those that wait, in its own transaction, on a server",
        file="storage/postgres/outcomes.py",
        old="        await loosen(link, self._statements, tied, now)\n",
        new="        del tied\n",
        tests=(CONTRACT,),
    ),
    Mutant(
        name="flows-held-while-they-change",
        promises=(9,),
        guard="of two who end the last two jobs at once, the second one lets go who waits",
        file="storage/postgres/outcomes.py",
        old="await hold(link, self._statements, [to_id(t.key) for t in transitions if t.tied])",
        new="pass",
        tests=(f"{SERVER}::test_of_two_who_end_the_last_two_the_second_lets_go",),
    ),
    Mutant(
        name="flows-end-by-return",
        promises=(9,),
        guard="a job that ends as it is given back tells those that wait, in a folder",
        file="storage/sqlite/claims.py",
        old="    loosen(ledger, tied, now)\n",
        new="",
        tests=(CONTRACT,),
    ),
    Mutant(
        name="flows-end-by-return-on-a-server",
        promises=(9,),
        guard="a job that ends as it is given back tells those that wait, on a server",
        file="storage/postgres/living.py",
        old="            await look_and_loosen(link, self._base.statements, back, now)\n",
        new="",
        tests=(CONTRACT,),
    ),
    Mutant(
        name="flows-end-by-death",
        promises=(9,),
        guard="a job that ends with its worker tells those that wait, in a folder",
        file="storage/sqlite/workers.py",
        old="    loosen(ledger, held, now)\n",
        new="",
        tests=(CONTRACT,),
    ),
    Mutant(
        name="flows-end-by-people",
        promises=(9,),
        guard="a job that people cancel tells those that wait, in a folder",
        file="storage/sqlite/steering.py",
        old="    loosen(ledger, keys, now)\n",
        new="",
        tests=(CONTRACT,),
    ),
    Mutant(
        name="flows-in-vain",
        promises=(9,),
        guard="what waits for a failure does not run, on a server",
        file=STATEMENTS,
        old="SELECT place FROM places WHERE cause IS NULL AND waits <= 0)) RETURNING id",
        new="SELECT place FROM places WHERE waits <= 0)) RETURNING id",
        tests=(CONTRACT,),
    ),
    Mutant(
        name="flows-restored-with-all",
        promises=(9,),
        guard="a job waits again only if nothing that it waits for has failed for good",
        file="storage/restoring.py",
        old="    lost = [child for _, child in in_vain]\n",
        new="    lost: list[K] = []\n",
        tests=(MODEL,),
    ),
    Mutant(
        name="flows-kept-whole",
        promises=(10,),
        guard="a job of a flow that goes on is not removed, in a folder",
        file="storage/sqlite/retention.py",
        old="            keys = [key for key in keys if key not in stay]\n",
        new="            del stay\n",
        tests=(CONTRACT,),
    ),
    Mutant(
        name="flows-kept-whole-on-a-server",
        promises=(10,),
        guard="a job of a flow that goes on is not removed, on a server",
        file="storage/postgres/retention.sql",
        old="    AND id NOT IN (SELECT job FROM staying) RETURNING id, state\n",
        new="    RETURNING id, state\n",
        tests=(CONTRACT,),
    ),
    Mutant(
        name="flows-go-before-their-jobs",
        promises=(10,),
        guard="a job goes when its flow has gone, which nobody retries any more, on a server",
        file="storage/postgres/retention.sql",
        old="""
            WHERE m.job = ANY($1::uuid[])
        ), gone AS (
        """,
        new="""
            WHERE m.job = ANY($1::uuid[]) AND coalesce(f.finished_at, $2) >= $2
        ), gone AS (
        """,
        tests=(
            f"{SERVER}::test_retention_leaves_a_flow_that_is_retried_in_the_same_moment",
            CONTRACT,
        ),
    ),
    Mutant(
        name="flows-that-are-retried-stay",
        promises=(10,),
        guard="retention passes by a flow that somebody retries just now, on a server",
        file=STATEMENTS,
        old="WHERE finished_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED))",
        new="WHERE finished_at < $1 LIMIT $2))",
        tests=(f"{SERVER}::test_retention_leaves_a_flow_that_is_retried_in_the_same_moment",),
    ),
    Mutant(
        name="flows-that-went-are-not-retried",
        promises=(10,),
        guard="a job whose flow has gone does not run without the others, in a folder",
        file="storage/sqlite/reopening.py",
        old="AND (f.key IS NULL OR f.undone",
        new="AND (f.undone",
        tests=(CONTRACT,),
    ),
    Mutant(
        name="flows-that-went-are-not-retried-on-a-server",
        promises=(10,),
        guard="a job whose flow has gone does not run without the others, on a server",
        file=STATEMENTS,
        old="AND (f.id IS NULL OR f.undone",
        new="AND (f.undone",
        tests=(CONTRACT,),
    ),
    Mutant(
        name="flows-that-are-retried-lose-no-job",
        promises=(10,),
        guard="who deletes jobs waits for who retries their flow, on a server",
        file="storage/postgres/looking.py",
        old="""
            await hold(self._connection, self._statements, keys)
            stay = {row[0] for row in await fetch(self._statements["of_open_flow"], keys)}
        """,
        new="""
            stay = {row[0] for row in await fetch(self._statements["of_open_flow"], keys)}
        """,
        tests=(f"{SERVER}::test_who_takes_jobs_away_waits_for_who_retries_their_flow",),
    ),
    Mutant(
        name="flows-that-are-retried-do-not-move",
        promises=(10,),
        guard="who moves jobs waits for who retries their flow, on a server",
        file="storage/postgres/moving.py",
        old="await hold(link, text, ids)",
        new="pass",
        tests=(f"{SERVER}::test_who_takes_jobs_away_waits_for_who_retries_their_flow",),
    ),
    Mutant(
        name="flows-doomed-one-by-one",
        promises=(15,),
        guard="what waits in vain is not looked for among all that wait, in a folder",
        file=SQLITE,
        old="CROSS JOIN member AS m ON m.job = r.value->>0 CROSS JOIN job",
        new="JOIN member AS m ON m.job = r.value->>0 JOIN job",
        tests=("unit/test_flow_costs.py",),
    ),
    Mutant(
        name="flows-callbacks-of-theirs",
        promises=(15,),
        guard="callbacks are not looked for among all that is blocked, in a folder",
        file=SQLITE,
        old="AND +job.state = 5 AND m.waits > 0",
        new="AND job.state = 5 AND m.waits > 0",
        tests=("unit/test_flow_costs.py",),
    ),
    Mutant(
        name="flows-children-of-theirs",
        promises=(15,),
        guard="who waits is not looked for among all that is blocked, in a folder",
        file="storage/sqlite/reopening.py",
        old="AND +job.state = 5 AND m.waits > 0",
        new="AND job.state = 5 AND m.waits > 0",
        tests=("unit/test_flow_costs.py",),
    ),
    Mutant(
        name="flows-undone-however-late",
        promises=(4,),
        guard="an undo job expires by when it was made, not by when its workflow was",
        file="flow.py",
        old="None if expires_at is None else now + expires_at - undo.created_at",
        new="expires_at",
        tests=(CONTRACT,),
    ),
    Mutant(
        name="flows-ids-of-their-own",
        promises=(1,),
        guard="what one job adds is not taken for what another one has added",
        file="workflow.py",
        old='rest = f"{job_id[:15]}{digest >> 52:03x}", digest & (1 << 39) - 1',
        new="rest = job_id[:18], digest & (1 << 24) - 1",
        tests=(
            f"{ENGINE}::test_what_a_hundred_thousand_jobs_add_that_one_has_added_is_of_different_ids",
        ),
    ),
    Mutant(
        name="flows-large-ends-have-time",
        promises=(3,),
        guard="an end with so much behind it that it was not answered in time has longer then",
        file="storage/postgres/ending.py",
        old="        within = None if plain else self._within",
        new="        within = None",
        tests=(f"{SERVER}::test_an_end_with_much_behind_it_has_longer_the_next_time",),
    ),
    Mutant(
        name="flows-fenced",
        promises=(2,),
        guard="only who holds a job adds to its flow, in a folder",
        file="storage/sqlite/weaving.py",
        old="    WHERE job.key = ?1 AND job.token = ?2 AND job.state = 1\n",
        new="    WHERE job.key = ?1 AND ?2 = ?2\n",
        tests=(CONTRACT,),
    ),
    Mutant(
        name="flows-acyclic",
        promises=(9,),
        guard="jobs that wait for each other are refused",
        file="workflow.py",
        old="        _refuse_cycles(self._members, self._edges)\n",
        new="",
        tests=(ENGINE,),
    ),
    Mutant(
        name="flows-callbacks-at-the-end",
        promises=(9,),
        guard="a callback waits for all jobs of its flow",
        file=SQLITE,
        old="    WHERE f.key IN {_THESE} AND f.open_jobs = 0 AND +job.state = 5 AND m.waits > 0\n",
        new="    WHERE f.key IN {_THESE} AND +job.state = 5 AND m.waits > 0\n",
        tests=(CONTRACT,),
    ),
)
