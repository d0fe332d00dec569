"""A workflow has all of its unique keys, or is refused as a whole (promise 6)."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

CONTRACT = "contract/test_keys_of_flows.py"
TRANSACTIONS = "postgres/test_uniqueness_in_transactions.py"
REFUSED = "test_a_retry_is_refused_as_a_whole_where_a_key_is_held"
OVER = "test_a_key_whose_time_is_over_is_in_no_retrys_way"
REPLACED = "test_nothing_replaces_a_job_of_a_flow"
AGAIN = "test_jobs_that_run_again_take_their_keys_again"
PART = "test_of_a_flow_of_which_one_has_no_key_any_more_no_other_one_is_retried"
CHANGED = "test_one_that_is_not_what_was_looked_for_any_more_keeps_no_other_one_from_a_retry"
AT_ONCE = "test_of_two_flows_with_one_key_that_are_retried_at_once_one_runs_again"


def on(storage: str, test: str, *kinds: str) -> tuple[str, ...]:
    """One test, on one kind of storage."""
    return tuple(f"{CONTRACT}::{test}[{storage}{kind}]" for kind in kinds or ("",))


MUTANTS = (
    Mutant(
        name="flow-keys-asked-for",
        promises=(6,),
        guard="a workflow whose key is held is refused",
        file="storage/sqlite/weaving.py",
        old="    _take_keys(ledger, piece, now)\n    [(key,)] = ledger.run(\n",
        new="    [(key,)] = ledger.run(\n",
        tests=on("memory", "test_a_flow_is_refused_as_a_whole_where_a_key_is_held", "-end-start"),
    ),
    Mutant(
        name="flow-keys-of-added-jobs",
        promises=(6,),
        guard="what is added to a workflow is refused where a key is held",
        file="storage/sqlite/weaving.py",
        old="""
            _take_keys(ledger, piece, now)
            there = {id_: (job, completed[id_]) for id_, job, _, _ in rows}
        """,
        new="            there = {id_: (job, completed[id_]) for id_, job, _, _ in rows}",
        tests=on("memory", "test_what_a_job_adds_is_refused_as_a_whole", "-end", "-start"),
    ),
    Mutant(
        name="flow-keys-kept",
        promises=(6,),
        guard="a key that is not held until the end is held by the job of a workflow, too",
        file="storage/sqlite/weaving.py",
        old="    keys.write()",
        new="",
        tests=on("memory", "test_a_job_that_waits_for_others_has_its_key", "-start"),
    ),
    Mutant(
        name="flow-keys-once",
        promises=(6,),
        guard="no two jobs of a workflow have the same key",
        file="flowing.py",
        old="        if other is not job:",
        new="        if not other:",
        tests=on("memory", "test_two_jobs_of_one_flow_do_not_have_the_same_key", "-start"),
    ),
    Mutant(
        name="flow-keys-not-replaced",
        promises=(6,),
        guard="nothing replaces what a job of a workflow is to do",
        file="storage/sqlite/keys.py",
        old='if how != "replace" or holder.woven or not self._waits(holder, _NOBODYS):',
        new='if how != "replace" or not self._waits(holder, _NOBODYS):',
        tests=on("memory", REPLACED, "-end-pending"),
    ),
    Mutant(
        name="flow-keys-nothing-lost",
        promises=(6,),
        guard="what would replace a job of a workflow runs in a job of its own",
        file="storage/sqlite/keys.py",
        old='if holder.woven and _how(job) == "replace":',
        new="if False:",
        tests=on("memory", REPLACED, "-start-pending", "-start-blocked"),
    ),
    Mutant(
        name="flow-keys-of-a-retried-flow",
        promises=(6,),
        guard="a workflow is retried as a whole, or not at all",
        file="storage/sqlite/reopening.py",
        old="    check_keys(ledger, keys)",
        new="",
        tests=on("memory", REFUSED, "-k-end"),
    ),
    Mutant(
        name="flow-keys-of-a-part-of-a-flow",
        promises=(6,),
        guard="jobs of a workflow are not retried without one that does not get its key",
        file="storage/sqlite/steering.py",
        old="        reopening.check_keys(ledger, jobs.left(which, now, keys))",
        new="        pass",
        tests=on("memory", PART),
    ),
    Mutant(
        name="flow-keys-of-no-flow",
        promises=(15, 6),
        guard="a job of no workflow that does not get its key keeps no other one from a retry",
        file="storage/sqlite/reopening.py",
        old="    AND EXISTS (SELECT 1 FROM member WHERE member.job = job.key)",
        new="",
        tests=on("memory", PART),
    ),
    Mutant(
        name="flow-keys-of-what-was-looked-for",
        promises=(15, 6),
        guard="what is not to be retried is not asked for its key",
        file="storage/sqlite/steering.py",
        old="        reopening.check_keys(ledger, jobs.left(which, now, keys))",
        new="        reopening.check_keys(ledger, keys)",
        tests=on("memory", CHANGED),
    ),
    Mutant(
        name="flow-keys-of-what-is-called-back",
        promises=(6,),
        guard="a job is not retried where what was cancelled for it would not get its key",
        file="storage/sqlite/reopening.py",
        old="    check_keys(ledger, list(back))",
        new="",
        tests=on("memory", REFUSED, "-l-end", "-m-end"),
    ),
    Mutant(
        name="flow-keys-of-periods",
        promises=(6,),
        guard="what is called back takes no key that another one holds for a period",
        file="storage/sqlite/reopening.py",
        old="""
            AND NOT (unique_key IS NOT NULL AND EXISTS (
                SELECT 1 FROM hold WHERE hold.type = job.type AND hold.unique_key = job.unique_key))
        """,
        new="",
        tests=on("memory", REFUSED, "-l-period", "-l-start"),
    ),
    Mutant(
        name="flow-keys-whose-time-is-over",
        promises=(6,),
        guard="a key whose period is over keeps no workflow from running again",
        file="storage/sqlite/reopening.py",
        old='    ledger.run(LET_GO, {"keys": encode(keys), "now": now})',
        new="",
        tests=on("memory", OVER, "-k"),
    ),
    Mutant(
        name="flow-keys-apart",
        promises=(15, 6),
        guard="one workflow that cannot run again keeps no other one from it",
        file="storage/sqlite/steering.py",
        old="    for some in reopening.apart(ledger, keys):",
        new="    for some in [keys]:",
        tests=on("memory", AT_ONCE),
    ),
    Mutant(
        name="flow-keys-in-no-undo-job",
        promises=(6,),
        guard="an undo job, of which nobody could be told that it is refused, has no key",
        file="workflow.py",
        old="""
            record = self._made(one.type, one.data, one.options)
            if record.unique_key is not None:
        """,
        new="""
            record = self._made(one.type, one.data, one.options)
            if record.unique_key == "":
        """,
        tests=("engine/test_workflows.py",),
    ),
    # -- on a server ----------------------------------------------------------------------------
    Mutant(
        name="pg-flow-keys-asked-for",
        promises=(6,),
        guard="a workflow whose key is held is refused",
        file="storage/postgres/weaving.py",
        old="""
            await self._take_keys(link, turned, now)
            await self._begin_flow(link, flow, turned, now)
        """,
        new="            await self._begin_flow(link, flow, turned, now)",
        tests=on("postgres", "test_a_flow_is_refused_as_a_whole_where_a_key_is_held", "-end-end"),
    ),
    Mutant(
        name="pg-flow-keys-of-added-jobs",
        promises=(6,),
        guard="what is added to a workflow is refused where a key is held",
        file="storage/postgres/weaving.py",
        old="""
            await self._take_keys(link, piece, now)
            await link.fetch(text["lock_flows"], [job])
        """,
        new='            await link.fetch(text["lock_flows"], [job])',
        tests=on("postgres", "test_what_a_job_adds_is_refused_as_a_whole", "-end"),
    ),
    Mutant(
        name="pg-flow-keys-before-the-flow",
        promises=(15, 6),
        guard="who waits for the key of a transaction keeps no job of the workflow from ending",
        file="storage/postgres/weaving.py",
        old="""
            await self._take_keys(link, piece, now)
            await link.fetch(text["lock_flows"], [job])
        """,
        new="""
            await link.fetch(text["lock_flows"], [job])
            await self._take_keys(link, piece, now)
        """,
        tests=(
            f"{TRANSACTIONS}::test_who_adds_jobs_whose_key_a_transaction_has_holds_up_no_other_job"
            "_of_its_workflow",
        ),
    ),
    Mutant(
        name="pg-flow-keys-until-the-end",
        promises=(6,),
        guard="a job of a workflow knows its key, to take it again",
        file="storage/postgres/flows.py",
        old="None if one.hold and one.hold.until is not None else to_text(one.unique_key)",
        new="None",
        tests=on("postgres", AGAIN),
    ),
    Mutant(
        name="pg-flow-keys-in-vain",
        promises=(6,),
        guard="a job that has waited in vain lets go of its key",
        file="storage/postgres/flows.sql",
        old="DELETE FROM {keys} WHERE id = ANY(ARRAY(SELECT id FROM gone))",
        new="SELECT FROM gone",
        tests=on(
            "postgres", "test_a_key_is_free_whichever_way_its_job_ends", "-waited_in_vain-end"
        ),
    ),
    Mutant(
        name="pg-flow-keys-not-replaced",
        promises=(6,),
        guard="nothing replaces what a job of a workflow is to do",
        file="storage/postgres/keys.py",
        old="standing.waits and standing.unstarted and not standing.woven:",
        new="standing.waits and standing.unstarted:",
        tests=on("postgres", REPLACED, "-end-pending"),
    ),
    Mutant(
        name="pg-flow-keys-nothing-lost",
        promises=(6,),
        guard="what would replace a job of a workflow runs in a job of its own",
        file="storage/postgres/keys.py",
        old='if standing.woven and one.how == "replace":',
        new="if False:",
        tests=on("postgres", REPLACED, "-start-pending", "-start-blocked"),
    ),
    Mutant(
        name="pg-flow-keys-may-begin-meanwhile",
        promises=(14, 6),
        guard="a job that may begin before a transaction commits does not answer for one of it",
        file="storage/postgres/keys.py",
        old="(begun=place.held or place.blocked)",
        new="(begun=place.held)",
        tests=(
            f"{TRANSACTIONS}::test_a_job_that_waits_for_others_does_not_answer_for_one_of_a"
            "_transaction",
        ),
    ),
    Mutant(
        name="pg-flow-keys-of-a-retried-flow",
        promises=(6,),
        guard="a workflow is retried as a whole, or not at all",
        file="storage/postgres/reopening.py",
        old="    await check_keys(link, text, set(jobs).difference(again), [3, 4])",
        new="",
        tests=on("postgres", REFUSED, "-k-end"),
    ),
    Mutant(
        name="pg-flow-keys-of-a-part-of-a-flow",
        promises=(6,),
        guard="jobs of a workflow are not retried without one that does not get its key",
        file="storage/postgres/looking.py",
        old="        await check_keys(self._connection, self._statements, left, states)",
        new="",
        tests=on("postgres", PART),
    ),
    Mutant(
        name="pg-flow-keys-of-no-flow",
        promises=(15, 6),
        guard="a job of no workflow that does not get its key keeps no other one from a retry",
        file="storage/postgres/flows.sql",
        old="AND (SELECT true FROM {members} AS m WHERE m.job = j.id LIMIT 1)\n",
        new="",
        tests=on("postgres", PART),
    ),
    Mutant(
        name="pg-flow-keys-of-what-was-looked-for",
        promises=(15, 6),
        guard="what is not to be retried is not asked for its key",
        file="storage/postgres/flows.sql",
        old="AND (SELECT e.state = ANY($2::smallint[]) FROM",
        new="AND (SELECT $2::smallint[] IS NOT NULL FROM",
        tests=on("postgres", CHANGED),
    ),
    Mutant(
        name="pg-flow-keys-of-what-is-called-back",
        promises=(6,),
        guard="a job is not retried where what was cancelled for it would not get its key",
        file="storage/postgres/reopening.py",
        old="    await check_keys(link, text, back - {row[0] for row in rows}, [4])",
        new="",
        tests=on("postgres", REFUSED, "-l-end"),
    ),
    Mutant(
        name="pg-flow-keys-taken-again",
        promises=(6,),
        guard="what is called back waits again only with its key",
        file="storage/postgres/flows.sql",
        old="SELECT id FROM wanted WHERE unique_key IS NULL OR id IN (SELECT id FROM keyed)))",
        new="SELECT id FROM wanted))",
        tests=on("postgres", REFUSED, "-l-end"),
    ),
    Mutant(
        name="pg-flow-keys-whose-time-is-over",
        promises=(6,),
        guard="a key whose period is over keeps no workflow from running again",
        file="storage/postgres/reopening.py",
        old='    await link.execute(text["let_go_for"], jobs, [3, 4], now)',
        new="",
        tests=on("postgres", OVER, "-k"),
    ),
    Mutant(
        name="pg-flow-keys-apart",
        promises=(15, 6),
        guard="one workflow that cannot run again keeps no other one from it",
        file="storage/postgres/looking.py",
        old="        for some in await apart(self._connection, self._statements, keys):",
        new="        for some in [keys]:",
        tests=on("postgres", AT_ONCE),
    ),
)
