"""The guards of the storage in PostgreSQL, most of them parts of a statement."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

ROOM = "storage/postgres"


def on_postgres(file: str, *names: str) -> tuple[str, ...]:
    """Tests of the contract, on PostgreSQL alone; of a test that is several, the one of them."""
    named = (name.partition(" ") for name in names)
    return tuple(
        f"contract/{file}.py::{name}[postgres{which and '-'}{which}]" for name, _, which in named
    )


CLAIMS = """), claims AS MATERIALIZED (
    SELECT token, ids FROM {held}
    WHERE token = ANY(ARRAY(SELECT DISTINCT token FROM given))
    ORDER BY token FOR UPDATE
), mine AS MATERIALIZED (
"""
FENCE = """    SELECT * FROM given  -- IS TRUE: looked up in a hash, never in a loop over all.
    WHERE ((token, id) IN (SELECT c.token, i FROM claims AS c, unnest(c.ids) AS i)) IS TRUE"""
COMPLETING = f"""
                         $6::text[]) AS g (id, token, attempt, started_at, finished_at, result)
{CLAIMS}"""
TAKING_OUT = f"""
    SELECT * FROM unnest($1::uuid[], $2::bigint[]) AS g (id, token)
{CLAIMS}"""

AFTER_A_START = (
    "postgres/test_server_faults.py"
    "::test_who_has_died_is_not_alive_once_the_server_has_run_for_a_lease"
)

MUTANTS = (
    Mutant(
        name="pg-dead-since-before-the-server",
        promises=(5,),
        guard="who has not beaten in a life of the server that has lasted for its lease is gone",
        file=f"{ROOM}/statements.py",
        old="THEN coalesce(CASE WHEN w.presence IS DISTINCT FROM $1",
        new="AND false THEN coalesce(CASE WHEN w.presence IS DISTINCT FROM $1",
        tests=(AFTER_A_START,),
    ),
    Mutant(
        name="pg-lease-in-a-new-life-of-the-server",
        promises=(5,),
        guard="who lives has a whole lease to say so to a server that was started anew",
        file=f"{ROOM}/statements.py",
        old="clock_timestamp() >= w.lease * interval '1 second'",
        new="clock_timestamp() >= 0 * interval '1 second'",
        tests=(AFTER_A_START,),
    ),
    Mutant(
        name="pg-sessions-in-a-new-life-of-the-server",
        promises=(5,),
        guard="whose sessions are there is not gone, however long the server has run",
        file=f"{ROOM}/statements.py",
        old="THEN pg_try_advisory_xact_lock(w.presence) END, w.presence IS NULL)",
        new="THEN true END, w.presence IS NULL)",
        tests=(AFTER_A_START,),
    ),
    # -- fences ---------------------------------------------------------------------------------
    Mutant(
        name="pg-token-of-completion",
        promises=(2,),
        guard="the lease fence: what went well counts only while its claim holds the job",
        file=f"{ROOM}/outcomes.sql",
        old=COMPLETING + FENCE,
        new=COMPLETING + "    SELECT * FROM given",
        tests=on_postgres(
            "test_fences", "test_a_job_that_changes_hands_in_one_moment_changes_its_token"
        ),
    ),
    Mutant(
        name="pg-token-of-outcome",
        promises=(2,),
        guard="the same fence for every other outcome",
        file=f"{ROOM}/outcomes.sql",
        old=TAKING_OUT + FENCE,
        new=TAKING_OUT + "    SELECT * FROM given",
        tests=on_postgres(
            "test_fences",
            "test_a_worker_that_lost_its_lease_cannot_finish_what_another_runs",
            "test_a_worker_that_lost_its_lease_cannot_change_what_another_finished",
            "test_one_stale_outcome_among_five_hundred_is_the_only_one_refused",
        ),
    ),
    Mutant(
        name="pg-token-of-progress",
        promises=(2,),
        guard="progress and log lines of a stale claim are dropped",
        file=f"{ROOM}/outcomes.sql",
        old="JOIN {held} AS h USING (token) WHERE g.id = ANY(h.ids)",
        new="JOIN {held} AS h ON g.id = ANY(h.ids)",
        tests=on_postgres(
            "test_fences", "test_progress_and_log_lines_of_a_stale_claim_are_dropped"
        ),
    ),
    Mutant(
        name="pg-dead-workers-claim-nothing",
        promises=(2, 5),
        guard="a worker that was declared dead gets no jobs",
        file=f"{ROOM}/claims.sql",
        old=") AS f WHERE EXISTS (SELECT FROM living)",
        new=") AS f",
        tests=("postgres/test_guards.py::test_a_claim_waits_for_who_declares_its_worker_dead",),
    ),
    Mutant(
        name="pg-claim-locks-its-worker",
        promises=(2, 5),
        guard="who claims while it is declared dead waits for that, and then finds itself gone",
        file=f"{ROOM}/claims.sql",
        old="SELECT id FROM {workers} WHERE id = $4 FOR KEY SHARE",
        new="SELECT id FROM {workers} WHERE id = $4",
        tests=("postgres/test_guards.py::test_a_claim_waits_for_who_declares_its_worker_dead",),
    ),
    Mutant(
        name="pg-few-claims-lock-their-worker",
        promises=(2, 5),
        guard="the same of a claim of few jobs",
        file=f"{ROOM}/claims.sql",
        old="WHERE id = $4 AND EXISTS (SELECT FROM due) FOR KEY SHARE",
        new="WHERE id = $4 AND EXISTS (SELECT FROM due)",
        tests=("postgres/test_guards.py::test_a_claim_waits_for_who_declares_its_worker_dead",),
    ),
    Mutant(
        name="pg-few-dead-workers-claim-nothing",
        promises=(2, 5),
        guard="the same of a claim of few jobs",
        file=f"{ROOM}/claims.sql",
        old="JOIN {jobs} AS j ON j.id = d.id WHERE EXISTS (SELECT FROM living)",
        new="JOIN {jobs} AS j ON j.id = d.id WHERE EXISTS (SELECT FROM due)",
        tests=("postgres/test_guards.py::test_a_claim_waits_for_who_declares_its_worker_dead",),
    ),
    Mutant(
        name="pg-few-skip-locked",
        promises=(15, 2),
        guard="a claim of few jobs, or of one, passes over what others are about to take",
        file=f"{ROOM}/statements.py",
        old="ORDER BY w.run_at, w.id LIMIT {most} FOR UPDATE SKIP LOCKED) AS w",
        new="ORDER BY w.run_at, w.id LIMIT {most} FOR UPDATE) AS w",
        tests=("postgres/test_guards.py::test_a_claim_passes_over_what_others_are_about_to_take",),
    ),
    Mutant(
        name="pg-few-count-starts",
        promises=(4,),
        guard="of a claim of few jobs, what finds a free slot counts as started with it",
        file=f"{ROOM}/claims.sql",
        old="t.ids, t.ids[: $7]",
        new="t.ids, t.ids[: least($7, 0)]",
        tests=("postgres/test_guards.py::test_all_ways_to_claim_take_the_same",),
    ),
    Mutant(
        name="pg-few-in-order",
        promises=(12,),
        guard="a claim of few jobs takes the most urgent first",
        file=f"{ROOM}/claims.sql",
        old="WINDOW so_far AS (ORDER BY j.priority, d.run_at, j.id)",
        new="WINDOW so_far AS (ORDER BY d.run_at, j.id)",
        tests=("postgres/test_guards.py::test_all_ways_to_claim_take_the_same",),
    ),
    Mutant(
        name="pg-one-claim-locks-its-worker",
        promises=(2, 5),
        guard="who claims one job while it is declared dead waits for that",
        file=f"{ROOM}/claims.sql",
        old="WHERE id = $3 AND EXISTS (SELECT FROM due) FOR KEY SHARE",
        new="WHERE id = $3 AND EXISTS (SELECT FROM due)",
        tests=("postgres/test_guards.py::test_a_claim_waits_for_who_declares_its_worker_dead",),
    ),
    Mutant(
        name="pg-one-dead-worker-claims-nothing",
        promises=(2, 5),
        guard="the same, and then finds itself gone",
        file=f"{ROOM}/claims.sql",
        old="l.id, ARRAY[d.id], (ARRAY[d.id])[: $5] FROM due AS d, living AS l",
        new="$3, ARRAY[d.id], (ARRAY[d.id])[: $5] FROM due AS d",
        tests=("postgres/test_guards.py::test_a_claim_waits_for_who_declares_its_worker_dead",),
    ),
    Mutant(
        name="pg-one-stays-where-nobody-lives",
        promises=(1, 5),
        guard="a job that a dead worker did not get waits on",
        file=f"{ROOM}/claims.sql",
        old="WHERE ctid = (SELECT place FROM due) AND EXISTS (SELECT FROM living)",
        new="WHERE ctid = (SELECT place FROM due)",
        tests=("postgres/test_guards.py::test_a_claim_waits_for_who_declares_its_worker_dead",),
    ),
    Mutant(
        name="pg-one-counts-its-start",
        promises=(4,),
        guard="a job that is claimed alone counts as started where it finds a free slot",
        file=f"{ROOM}/claims.sql",
        old="(ARRAY[d.id])[: $5]",
        new="(ARRAY[d.id])[: least($5, 0)]",
        tests=("postgres/test_guards.py::test_all_ways_to_claim_take_the_same",),
    ),
    Mutant(
        name="pg-one-in-order",
        promises=(12,),
        guard="who claims one job takes the first one",
        file=f"{ROOM}/statements.py",
        old="        ORDER BY w.run_at, w.id LIMIT {most}) AS r",
        new="        LIMIT {most}) AS r",
        tests=("postgres/test_guards.py::test_the_first_of_all_queues_is_taken_first",),
    ),
    Mutant(
        name="pg-one-and-then-the-others",
        promises=(5,),
        guard="who has claimed one job looks for the others at once",
        file=f"{ROOM}/claiming.py",
        old="return Claimed(claims, min(want.starts, 1), True, None)",
        new="return Claimed(claims, min(want.starts, 1), False, None)",
        tests=("postgres/test_guards.py::test_who_has_found_nothing_takes_the_next_job_alone",),
    ),
    Mutant(
        name="pg-one-woken-with-the-commit",
        promises=(5,),
        guard="others hear of one new job in the transaction that adds it",
        file=f"{ROOM}/inserts.sql",
        old="CASE WHEN $10::text IS NOT NULL THEN pg_notify($11, $10) END",
        new="$10::text || $11::text",
        tests=("postgres/test_guards.py::test_others_are_woken_with_the_commit",),
    ),
    Mutant(
        name="pg-one-added-once",
        promises=(6, 3),
        guard="one job that is added again after a lost reply is not made twice",
        file=f"{ROOM}/inserts.sql",
        old="    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)\n    ON CONFLICT (id) DO NOTHING",
        new="    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        tests=on_postgres("test_inserting", "test_a_job_that_is_inserted_again_is_the_same_job"),
    ),
    Mutant(
        name="pg-few-are-bounded",
        promises=(15,),
        guard="a claim of few jobs takes no more data than a worker can hold",
        file=f"{ROOM}/claims.sql",
        old="WHERE n = 1 OR bytes <= $5",
        new="WHERE n = 1 OR $5::bigint > 0",
        tests=("postgres/test_guards.py::test_no_way_to_claim_takes_too_much_at_once",),
    ),
    Mutant(
        name="pg-dead-workers-start-nothing",
        promises=(2, 5),
        guard="a worker that was declared dead cannot count a start",
        file=f"{ROOM}/living.py",
        old="if not await self._write_begun(worker, begun, keys):",
        new="if not await self._write_begun(worker, begun, keys) and False:",
        tests=on_postgres("test_leases", "test_a_worker_that_was_declared_dead_is_told_so"),
    ),
    Mutant(
        name="pg-skip-locked",
        promises=(15, 2),
        guard="a claim passes over what others are about to take",
        file=f"{ROOM}/statements.py",
        old="""
            ORDER BY w.run_at, w.id LIMIT {most} FOR UPDATE SKIP LOCKED) AS r
        {parked}
        """,
        new="""
            ORDER BY w.run_at, w.id LIMIT {most} FOR UPDATE) AS r
        {parked}
        """,
        tests=("postgres/test_guards.py::test_a_claim_passes_over_what_others_are_about_to_take",),
    ),
    # -- unknown replies, and one outcome -------------------------------------------------------
    Mutant(
        name="pg-stood-before",
        promises=(3, 6),
        guard="an outcome that is sent again after a lost reply stands",
        file=f"{ROOM}/outcomes.py",
        old="        refused -= await self.stood(",
        new="        await self.stood(",
        tests=on_postgres(
            "test_fences",
            "test_an_outcome_sent_again_after_a_lost_reply_stands_and_changes_nothing",
        ),
    ),
    Mutant(
        name="pg-stood-by-its-token",
        promises=(2, 3),
        guard="only the outcome of that claim stands, not another one's",
        file=f"{ROOM}/outcomes.sql",
        old="WHERE e.token = g.token OR j.token = g.token",
        new="WHERE e.token IS NOT NULL OR j.token = g.token",
        tests=on_postgres(
            "test_fences", "test_a_worker_that_lost_its_lease_cannot_change_what_another_finished"
        ),
    ),
    Mutant(
        name="pg-stood-until-given-back",
        promises=(2, 3),
        guard="an outcome before a claim that was given back stands no more",
        file=f"{ROOM}/claims.sql",
        old="UPDATE {jobs} SET token = 0 WHERE id = ANY($1::uuid[]) AND token <> 0",
        new="UPDATE {jobs} SET token = 0 WHERE id = ANY($1::uuid[]) AND token < 0",
        tests=on_postgres(
            "test_fences", "test_an_outcome_stands_no_more_once_a_later_claim_was_given_back"
        ),
    ),
    Mutant(
        name="pg-same-id-same-job",
        promises=(6,),
        guard="a job that is inserted again, and may go straight to a worker, is made once",
        file=f"{ROOM}/inserts.sql",
        old="WHERE NOT EXISTS (SELECT FROM {jobs} AS j WHERE j.id = g.id)",
        new="WHERE true",
        tests=on_postgres(
            "test_unique_keys",
            "test_a_job_that_is_inserted_again_is_the_same_job_though_its_key_has_a_new_holder",
            "test_a_job_that_has_ended_does_not_answer_for_a_new_one_in_the_same_batch",
        ),
    ),
    Mutant(
        name="pg-cancel-wins",
        promises=(3,),
        guard="a cancel that was asked for wins over running again",
        file=f"{ROOM}/outcomes.sql",
        old="SELECT g.*, a.id IS NOT NULL AND g.state IN (0, 6) AS stopped",
        new="SELECT g.*, false AS stopped",
        tests=on_postgres(
            "test_finishing", "test_a_cancel_that_was_asked_for_wins_over_running_again retried"
        ),
    ),
    Mutant(
        name="pg-cancel-wins-over-coming-back",
        promises=(3, 11),
        guard="a job that was cancelled ends when it is given back, and waits no more",
        file=f"{ROOM}/claims.sql",
        old="FROM {jobs} WHERE id = ANY($1::uuid[]) AND id NOT IN (SELECT id FROM asked)\n",
        new="FROM {jobs} WHERE id = ANY($1::uuid[])\n",
        tests=on_postgres(
            "test_giving_back", "test_a_job_that_was_cancelled_ends_when_it_is_given_back"
        ),
    ),
    Mutant(
        name="pg-active-is-not-retried",
        promises=(3, 2),
        guard="a job that runs cannot be retried",
        file=f"{ROOM}/looking.py",
        old='        if place["active"]:',
        new="        if place is None:",
        tests=on_postgres("test_steering", "test_a_job_that_runs_cannot_be_retried"),
    ),
    Mutant(
        name="pg-bulk-looks-again",
        promises=(3,),
        guard="a bulk change touches only what still is what it looked for",
        file=f"{ROOM}/look.sql",
        old="""
            DELETE FROM {ended} WHERE id = ANY($1::uuid[]) AND state = ANY($2::smallint[])
            RETURNING id, state
        """,
        new="""
            SELECT unnest($1::uuid[]) AS id, 2::smallint AS state
            WHERE $2::smallint[] IS NOT NULL
        """,
        tests=on_postgres(
            "test_steering",
            "test_a_bulk_delete_among_others_spares_what_people_retry_meanwhile",
            "test_a_job_that_runs_cannot_be_deleted",
        ),
    ),
    Mutant(
        name="pg-bell-of-who-has-gone",
        promises=(5,),
        guard="a change that stands is told of, also where its caller has gone",
        file=f"{ROOM}/base.py",
        old="                self.ring(*wakes)",
        new="                pass",
        tests=(
            "postgres/test_steering.py::test_who_waits_hears_of_a_change_whose_caller_has_gone",
        ),
    ),
    Mutant(
        name="pg-silence-ends-with-the-grace",
        promises=(11,),
        guard="who stops does not wait for a server that does not answer",
        file="worker.py",
        old="            task.cancel()\n            await asyncio.wait([task])",
        new="            await asyncio.wait([task])",
        tests=(
            "postgres/test_faults.py::test_a_service_stops_in_time_though_its_server_is_silent",
        ),
    ),
    Mutant(
        name="pg-silence-ends-with-the-store",
        promises=(11,),
        guard="what nobody answers is given up where a store is closed",
        file=f"{ROOM}/storage.py",
        old="call_later(CLOSE, self._links.give_up)",
        new="call_later(60, self._links.give_up)",
        tests=(
            "postgres/test_faults.py::test_a_service_stops_in_time_though_its_server_is_silent",
        ),
    ),
    # -- starts ---------------------------------------------------------------------------------
    Mutant(
        name="pg-counted-before-the-run",
        promises=(4,),
        guard="a start is written before the code runs: the marks in the worker's row",
        file=f"{ROOM}/living.py",
        old="        begun.mark(keys)",
        new="",
        tests=on_postgres(
            "test_leases",
            "test_only_jobs_that_had_started_are_charged_for_the_death_of_their_worker",
        ),
    ),
    Mutant(
        name="pg-lists-stand-while-one-runs",
        promises=(4,),
        guard="a list of starts stands as long as one job of it may run",
        file=f"{ROOM}/begun.py",
        old="while named and named[-1] not in self.marks:",
        new="while named:",
        tests=(
            "postgres/test_begun.py::test_a_start_names_what_is_new",
            "postgres/test_begun.py::test_jobs_that_run_long_keep_few_lists",
        ),
    ),
    Mutant(
        name="pg-few-lists",
        promises=(15,),
        guard="a worker of long jobs keeps few lists of its starts",
        file=f"{ROOM}/begun.py",
        old="len(self._lists) - len(ended) >= MOST_LISTS",
        new="len(self._lists) < 0",
        tests=("postgres/test_begun.py::test_jobs_that_run_long_keep_few_lists",),
    ),
    Mutant(
        name="pg-lists-of-which-nothing-is-known",
        promises=(4,),
        guard="after a start whose answer was lost the next one names all that may have begun",
        file=f"{ROOM}/begun.py",
        old="if self._unsure or len(",
        new="if len(",
        tests=("postgres/test_begun.py::test_one_list_of_all_whose_answer_was_lost_loses_nothing",),
    ),
    Mutant(
        name="pg-look-again-behind-marks",
        promises=(12,),
        guard="a claim that began at a mark tells when to look again, also where that is now",
        file=f"{ROOM}/claiming.py",
        old="again = 1 if behind[0] else 0",
        new="again = 0",
        tests=(
            "postgres/test_marks.py"
            "::test_a_look_that_is_due_while_the_next_moment_is_asked_for_comes_next",
        ),
    ),
    Mutant(
        name="pg-what-is-left-is-told",
        promises=(9, 12),
        guard="who had no room for what is due looks again, also where claims begin at a mark",
        file=f"{ROOM}/claiming.py",
        old="if behind[0] and not cut and len(claims) < want.rooms[3]:",
        new="if behind[0] and not cut:",
        tests=("postgres/test_marks.py::test_what_there_was_no_room_for_is_told_of",),
    ),
    Mutant(
        name="pg-refused-outcomes-are-named",
        promises=(2, 3),
        guard="an outcome whose claim is gone is not told to stand",
        file=f"{ROOM}/outcomes.sql",
        old="FROM given WHERE (SELECT count(*) FROM mine) < cardinality($1::uuid[])",
        new="FROM given WHERE false",
        tests=on_postgres(
            "test_fences",
            "test_a_worker_that_lost_its_lease_cannot_finish_what_another_runs",
            "test_one_stale_outcome_among_five_hundred_is_the_only_one_refused",
        ),
    ),
    Mutant(
        name="pg-claim-counts-starts",
        promises=(4,),
        guard="what finds a free slot counts as started with its claim",
        file=f"{ROOM}/claims.sql",
        old="coalesce(array_agg(id ORDER BY n) FILTER (WHERE n <= $5), '{}')",
        new="coalesce(array_agg(id ORDER BY n) FILTER (WHERE n <= least($5, 0)), '{}')",
        tests=on_postgres("test_leases", "test_a_start_that_came_with_the_claim_is_charged"),
    ),
    Mutant(
        name="pg-insert-counts-starts",
        promises=(4,),
        guard="what starts on its way in counts as started with its insert",
        file=f"{ROOM}/inserts.sql",
        old="FILTER (WHERE start)",
        new="FILTER (WHERE start IS NULL)",
        tests=on_postgres(
            "test_direct_claims", "test_only_what_starts_at_once_counts_as_started True-1"
        ),
    ),
    Mutant(
        name="pg-only-starts-are-charged",
        promises=(4,),
        guard="only what may have started is charged for the death of its worker",
        file=f"{ROOM}/claims.sql",
        old="SELECT i FROM unnest(s.ids) AS i WHERE i = ANY(s.started)",
        new="SELECT i FROM unnest(s.ids) AS i",
        tests=on_postgres(
            "test_leases",
            "test_only_jobs_that_had_started_are_charged_for_the_death_of_their_worker",
        ),
    ),
    Mutant(
        name="pg-starts-of-this-claim",
        promises=(4,),
        guard="a start of an earlier claim of a job is not charged to the present one",
        file=f"{ROOM}/claims.sql",
        old="WHERE l.worker = s.worker AND b.token = s.token AND b.id = ANY(s.ids)",
        new="WHERE l.worker = s.worker AND b.id = ANY(s.ids)",
        tests=on_postgres(
            "test_leases", "test_an_attempt_that_ended_is_not_charged_to_the_next_claim_of_the_job"
        ),
    ),
    Mutant(
        name="pg-starts-are-charged",
        promises=(4,),
        guard="a death costs an attempt",
        file=f"{ROOM}/claims.sql",
        old="UPDATE {jobs} SET attempt = attempt + 1, crashes = crashes + 1, reason = $3",
        new="UPDATE {jobs} SET crashes = crashes + 1, reason = $3",
        tests=on_postgres("test_leases", "test_deaths_add_up"),
    ),
    Mutant(
        name="pg-disowned-costs-nothing",
        promises=(4, 11),
        guard="what a leaving worker could not stop comes back uncharged",
        file=f"{ROOM}/claims.sql",
        old="ARRAY(SELECT i FROM unnest(started) AS i WHERE NOT i = ANY($2::uuid[]))",
        new="started",
        tests=on_postgres(
            "test_leases",
            "test_a_start_that_came_with_the_claim_is_not_charged_once_it_was_disowned",
        ),
    ),
    Mutant(
        name="pg-disowned-marks-cost-nothing",
        promises=(4, 11),
        guard="the same for what was counted as started by itself",
        file=f"{ROOM}/living.py",
        old="        begun.unmark(keys)",
        new="",
        tests=on_postgres(
            "test_leases", "test_jobs_that_were_disowned_come_back_uncharged_when_the_lease_is_over"
        ),
    ),
    # -- leases, giving back --------------------------------------------------------------------
    Mutant(
        name="pg-lease-stands-to-its-end",
        promises=(5, 8),
        guard="a worker that is silent is not robbed before its lease is over",
        file=f"{ROOM}/watch.py",
        old="return one.until <= asked",
        new="return one.until - one.lease / 2 <= asked",
        tests=on_postgres("test_leases", "test_a_lease_stands_until_its_last_moment"),
    ),
    Mutant(
        name="pg-gives-back-its-own-only",
        promises=(2, 11),
        guard="a worker gives back only what is its own",
        file=f"{ROOM}/claims.sql",
        old="SELECT token, ids FROM {held} WHERE worker = $1 ORDER BY token FOR UPDATE;",
        new="SELECT token, ids FROM {held} WHERE $1::bigint > 0 ORDER BY token FOR UPDATE;",
        tests=on_postgres("test_giving_back", "test_a_worker_gives_back_only_what_is_its_own"),
    ),
    Mutant(
        name="pg-claims-are-kept-by-token",
        promises=(5, 11),
        guard="a second claim of a job, whose reply was lost, goes back: not so the first",
        file=f"{ROOM}/living.py",
        old="            gone = [one for one in ids if (one, token) not in kept]",
        new="            gone = [one for one in ids if one not in {id_ for id_, _ in kept}]",
        tests=on_postgres(
            "test_giving_back",
            "test_a_second_claim_of_a_job_is_given_back_though_the_first_one_is_kept",
        ),
    ),
    Mutant(
        name="pg-unknown-inserts-go-back",
        promises=(5, 11),
        guard="an insert that nobody waits for is carried out before its worker gives back",
        file=f"{ROOM}/living.py",
        old="        await self._settled(asyncio.get_running_loop())",
        new="",
        tests=on_postgres(
            "test_giving_back",
            "test_an_insert_that_nobody_waits_for_any_more_is_found_by_a_later_give_back",
        ),
    ),
    Mutant(
        name="pg-give-back-when-retiring",
        promises=(11, 5),
        guard="who leaves gives back what it holds",
        file=f"{ROOM}/living.py",
        old="            gone = await self._let_go(link, worker, ())",
        new="            gone = 0, None",
        tests=on_postgres(
            "test_leases", "test_a_worker_that_retires_gives_back_what_it_holds_untouched"
        ),
    ),
    Mutant(
        name="pg-woken-with-the-commit",
        promises=(5,),
        guard="others hear of new jobs in the transaction that adds them",
        file=f"{ROOM}/inserts.sql",
        old="CASE WHEN $10::text IS NOT NULL AND count(*) > 0 THEN pg_notify($11, $10) END",
        new="$10::text || $11::text",
        tests=("postgres/test_guards.py::test_others_are_woken_with_the_commit",),
    ),
    # -- keys -----------------------------------------------------------------------------------
    Mutant(
        name="pg-key-looked-up",
        promises=(6,),
        guard="a second job with the key of a live one is not made",
        file=f"{ROOM}/inserts.sql",
        old="WHERE unique_key IS NULL OR id IN (SELECT id FROM keyed) ORDER BY id, n",
        new="WHERE true ORDER BY id, n",
        tests=on_postgres(
            "test_unique_keys", "test_a_second_job_with_the_key_of_a_live_one_is_that_job"
        ),
    ),
    Mutant(
        name="pg-key-of-its-type",
        promises=(6,),
        guard="a key is one of its type",
        file=f"{ROOM}/schema.sql",
        old="PRIMARY KEY (type, unique_key)",
        new="PRIMARY KEY (unique_key)",
        tests=on_postgres("test_unique_keys", "test_a_key_is_of_its_type"),
    ),
    Mutant(
        name="pg-key-is-free-again",
        promises=(6, 9),
        guard="a key is free once its job has ended",
        file=f"{ROOM}/outcomes.sql",
        old="DELETE FROM {keys} WHERE id IN (SELECT id FROM mine)",
        new="DELETE FROM {keys} WHERE id IN (SELECT id FROM mine) AND id IS NULL",
        tests=on_postgres(
            "test_unique_keys", "test_a_key_is_free_again_once_its_job_has_ended completed"
        ),
    ),
    # -- order ----------------------------------------------------------------------------------
    Mutant(
        name="pg-starving-claimed-first",
        promises=(12,),
        guard="the starvation bound: a claim takes the oldest job that starves first",
        file=f"{ROOM}/statements.py",
        old='scan("$7", "$6", "p.priority", every, "")',
        new='scan("$7", "least($6, 0)", "p.priority", every, "")',
        tests=on_postgres(
            "test_claims", "test_the_oldest_starving_job_goes_first_when_it_is_its_turn"
        ),
    ),
    Mutant(
        name="pg-starving-in-each-queue",
        promises=(12,),
        guard="whose queues are not empty asks for what starves, whatever other queues are",
        file=f"{ROOM}/claiming.py",
        old="calm = not want.starving or which in self._had_all",
        new="calm = not want.starving or bool(self._had_all)",
        tests=(
            "postgres/test_guards.py"
            "::test_who_starves_in_one_queue_is_not_forgotten_for_another_that_is_empty",
        ),
    ),
    Mutant(
        name="pg-starving-claimed-once",
        promises=(12, 2),
        guard="a starving job is not claimed a second time by its priority",
        file=f"{ROOM}/statements.py",
        old='but = "AND w.id NOT IN (SELECT id FROM starving)"',
        new='but = ""',
        tests=on_postgres("test_claims", "test_a_starving_job_is_not_claimed_twice_in_one_claim"),
    ),
    Mutant(
        name="pg-paused-queues-wait",
        promises=(12,),
        guard="nothing is claimed from a paused queue",
        file=f"{ROOM}/statements.py",
        old="WHERE NOT paused AND name <> ALL",
        new="WHERE name <> ALL",
        tests=on_postgres("test_claims", "test_a_paused_queue_gives_nothing_until_it_is_resumed"),
    ),
    Mutant(
        name="pg-paused-queues-wait-at-the-door",
        promises=(12,),
        guard="nothing goes straight to a worker in a paused queue",
        file=f"{ROOM}/inserts.sql",
        old="WHERE NOT (SELECT paused FROM {queues} WHERE name = q.queue)",
        new="WHERE true",
        tests=on_postgres("test_direct_claims", "test_a_job_of_a_paused_queue_waits"),
    ),
    Mutant(
        name="pg-inserts-do-not-overtake",
        promises=(12,),
        guard="a job does not go straight to a worker in front of one that waits",
        file=f"{ROOM}/inserts.sql",
        old="AS w (at) WHERE w.at <= $13)",
        new="AS w (at) WHERE w.at < 0)",
        tests=on_postgres(
            "test_direct_claims", "test_a_job_does_not_overtake_one_of_equal_or_higher_priority 1"
        ),
    ),
    # -- who waits for whom ---------------------------------------------------------------------
    Mutant(
        name="pg-gates-behind-claims",
        promises=(15,),
        guard="who cancels holds no gate when it comes to claims",
        file=f"{ROOM}/looking.py",
        old="                ended += [row[0] for row in rows]",
        new=(
            "                ended += [row[0] for row in rows];"
            " await look_and_loosen(self._connection, self._statements, ended, now)"
        ),
        tests=(
            "postgres/test_lock_order.py::test_who_cancels_holds_no_gate_when_it_comes_to_claims",
        ),
    ),
    Mutant(
        name="pg-flows-before-claims",
        promises=(15,),
        guard="what was cancelled before it is counted is ended behind its flow",
        file=f"{ROOM}/limits.py",
        old="        await self._hold(link, text, ids)",
        new="        pass",
        tests=(
            "postgres/test_lock_order.py::test_what_was_cancelled_before_it_is_counted_ends_behind_its_flow",
        ),
    ),
    Mutant(
        name="pg-flows-before-what-expires",
        promises=(15,),
        guard="what expires is ended behind its flow",
        file=f"{ROOM}/retaining.py",
        old="members = await hold_members(link, text, ids)",
        new="members: dict[Any, bool] = {}",
        tests=("postgres/test_lock_order.py::test_what_expires_ends_behind_its_flow",),
    ),
    Mutant(
        name="pg-gates-cleared-apart",
        promises=(15,),
        guard="who clears gates away holds no other one",
        file=f"{ROOM}/limits.py",
        old="""
            if not places:
                return 0
            await lock(link, text, places)
        """,
        new="""
            if not places:
                return 0
            await link.fetch(text["idle_gates"], IDLE, now - HOUR)
            await lock(link, text, places)
        """,
        tests=("postgres/test_lock_order.py::test_who_clears_gates_away_waits_for_none",),
    ),
    Mutant(
        name="pg-claims-asked-in-order",
        promises=(15,),
        guard="who asks jobs to end comes to their claims in order",
        file=f"{ROOM}/look.sql",
        old="ORDER BY h.token FOR SHARE OF h",
        new="FOR SHARE OF h",
        tests=(
            "postgres/test_lock_order.py::test_who_asks_jobs_to_end_comes_to_their_claims_in_order",
        ),
    ),
    Mutant(
        name="pg-claims-seized-in-order",
        promises=(15,),
        guard="who takes back what the dead hold comes to their claims in order",
        file=f"{ROOM}/claims.sql",
        old="SELECT token FROM {held} WHERE worker = ANY($1::bigint[]) ORDER BY token FOR UPDATE",
        new="SELECT token FROM {held} WHERE worker = ANY($1::bigint[])",
        tests=(
            "postgres/test_lock_order.py::test_who_takes_back_what_the_dead_hold_comes_to_their_claims_in_order",
        ),
    ),
    Mutant(
        name="pg-hurried-behind-its-row",
        promises=(15,),
        guard="who hurries a job waits for who sends it a signal",
        file=f"{ROOM}/looking.py",
        old='        await fetch(text["lock_job"], key)',
        new="",
        tests=(
            "postgres/test_lock_order.py::test_who_hurries_a_job_waits_for_who_sends_it_a_signal",
        ),
    ),
    Mutant(
        name="pg-given-back-with-the-last-claim",
        promises=(4,),
        guard="who gives back sees what its worker claims in the same moment",
        file=f"{ROOM}/living.py",
        old='        await link.execute(self._base.statements["lock_worker"], worker)',
        new="        pass",
        tests=(
            "postgres/test_lock_order.py::test_who_gives_back_sees_what_its_worker_claims_in_the_same_moment",
        ),
    ),
    Mutant(
        name="pg-given-back-behind-its-flows",
        promises=(5,),
        guard="a worker extends its lease while what it gives back waits for a flow",
        file=f"{ROOM}/living.py",
        old="""        await hold_all_of(link, self._base.statements, [worker])
        # What it claims from here on waits, and so does its heartbeat: no flow is waited for now.
        await link.execute(self._base.statements["lock_worker"], worker)
""",
        new="""        await link.execute(self._base.statements["lock_worker"], worker)
        await hold_all_of(link, self._base.statements, [worker])
""",
        tests=(
            "postgres/test_lock_order.py::test_a_worker_lives_on_while_what_it_gives_back_waits_for_a_flow",
        ),
    ),
    Mutant(
        name="pg-given-back-anew",
        promises=(5,),
        guard="who gives back waits for no flow while it holds the worker's row",
        file=f"{ROOM}/living.py",
        old="if not await hold_more_of(link, self._base.statements, [worker]):",
        new="if False:",
        tests=(
            "postgres/test_lock_order.py::test_a_worker_lives_on_while_what_it_claimed_just_now_waits_for_a_flow",
        ),
    ),
    Mutant(
        name="pg-given-back-with-flows-that-are-free",
        promises=(5, 15),
        guard="what was claimed just now comes back with its flow locked",
        file=f"{ROOM}/flows.sql",
        old="    FOR NO KEY UPDATE SKIP LOCKED\n)\nSELECT id FROM {flows}",
        new=")\nSELECT id FROM {flows}",
        tests=(
            "postgres/test_lock_order.py::test_a_worker_lives_on_while_what_it_claimed_just_now_waits_for_a_flow",
        ),
    ),
    Mutant(
        name="pg-dead-behind-their-flows",
        promises=(5,),
        guard="a worker that extends its lease while somebody waits for its flow is not dead",
        file=f"{ROOM}/living.py",
        old="        await hold_all_of(link, text, [one.worker for one in doomed])\n",
        new="",
        also=(
            (
                "if not await hold_more_of(link, text, list(dead)):",
                "if await hold_all_of(link, text, list(dead)):",
            ),
        ),
        tests=(
            "postgres/test_lock_order.py::test_who_extends_its_lease_while_its_flow_is_waited_for_is_not_dead",
        ),
    ),
    Mutant(
        name="pg-dead-anew",
        promises=(15,),
        guard="who takes back what the dead hold waits for no flow with their rows",
        file=f"{ROOM}/living.py",
        old="if not await hold_more_of(link, text, list(dead)):",
        new="if False:",
        tests=(
            "postgres/test_lock_order.py::test_who_takes_back_what_was_claimed_just_now_waits_for_its_flow_first",
        ),
    ),
    # -- retention, expiry ----------------------------------------------------------------------
    Mutant(
        name="pg-retention-cutoff",
        promises=(10,),
        guard="retention removes only what ended long enough ago",
        file=f"{ROOM}/retaining.py",
        old="cutoff = now - round(self._retention * SECOND)",
        new="cutoff = now",
        tests=on_postgres(
            "test_retention", "test_what_ended_is_kept_for_the_time_of_retention_and_then_removed"
        ),
    ),
    Mutant(
        name="pg-retention-leaves-nothing",
        promises=(10,),
        guard="what is kept with a job goes with it",
        file=f"{ROOM}/retention.sql",
        old="m AS (DELETE FROM {errors} WHERE job IN (SELECT id FROM gone))",
        new="m AS (DELETE FROM {errors} WHERE job IN (SELECT id FROM gone) AND job IS NULL)",
        tests=("postgres/test_guards.py::test_what_retention_removes_leaves_no_row",),
    ),
    Mutant(
        name="pg-expired-in-their-time",
        promises=(10, 4),
        guard="only what waited longer than it may ends unstarted",
        file=f"{ROOM}/retention.sql",
        old="(SELECT id FROM {ready} WHERE expires_at <= $1 LIMIT $2)",
        new="(SELECT id FROM {ready} WHERE expires_at <= $1 + 1000000000 LIMIT $2)",
        also=(
            (
                "AND o.expires_at <= $1 LIMIT 1 FOR UPDATE SKIP LOCKED) AS r))",
                "LIMIT 1 FOR UPDATE SKIP LOCKED) AS r))",
            ),
        ),
        tests=on_postgres(
            "test_retention", "test_a_job_that_did_not_start_in_time_ends_as_cancelled"
        ),
    ),
    # -- one bad item ---------------------------------------------------------------------------
    Mutant(
        name="pg-group-tried-apart",
        promises=(15,),
        guard="a job that cannot be kept does not spoil what others insert in the same moment",
        file=f"{ROOM}/adding.py",
        old="if len(additions) == 1 or not is_of_values(error):",
        new="if additions:",
        tests=on_postgres(
            "test_inserting",
            "test_a_job_that_cannot_be_kept_does_not_spoil_what_others_insert_with_it",
        ),
    ),
    Mutant(
        name="pg-outcomes-tried-apart",
        promises=(15,),
        guard="an outcome that cannot be written does not spoil the others of its batch",
        file=f"{ROOM}/ending.py",
        old="""
            if not is_of_values(error):
                return [error] * len(results)
            if len(results) == 1:
            """,
        new="""
            if len(results) > 0:
                return [error] * len(results)
            if len(results) == 1:
            """,
        tests=on_postgres(
            "test_bad_items",
            "test_an_outcome_that_cannot_be_written_does_not_spoil_the_others_of_its_batch",
        ),
    ),
    Mutant(
        name="pg-unwritable-outcome-ends",
        promises=(15, 3),
        guard="a job whose outcome cannot be written fails, and says so",
        file=f"{ROOM}/ending.py",
        old="for last, transition in ((False, one), (True, one.unkept(now))):",
        new="for last, transition in ((False, one),):",
        tests=on_postgres(
            "test_bad_items", "test_a_job_whose_outcome_cannot_be_written_fails_and_says_so"
        ),
    ),
    Mutant(
        name="pg-reports-tried-apart",
        promises=(15,),
        guard="a report that cannot be written does not spoil the others",
        file=f"{ROOM}/ending.py",
        old="for one in reports if len(reports) > 1 else ():",
        new="for one in ():",
        tests=on_postgres(
            "test_bad_items", "test_a_report_that_cannot_be_written_does_not_spoil_the_others"
        ),
    ),
    Mutant(
        name="pg-claims-are-bounded",
        promises=(15,),
        guard="a claim takes no more data than a worker can hold",
        file=f"{ROOM}/claims.sql",
        old="WHERE n = 1 OR bytes <= $8",
        new="WHERE n = 1 OR $8::bigint > 0",
        tests=on_postgres(
            "test_claims",
            "test_a_claim_of_large_jobs_takes_what_is_not_too_much_and_says_that_there_is_more",
        ),
    ),
    Mutant(
        name="pg-all-or-nothing",
        promises=(1, 15),
        guard="what takes several statements is one transaction",
        file=f"{ROOM}/base.py",
        old="        if one_statement:",
        new="        if one_statement or work:",
        tests=("postgres/test_guards.py::test_several_statements_are_kept_whole_or_not_at_all",),
    ),
    Mutant(
        name="pg-zero-bytes",
        promises=(15,),
        guard="text with a zero byte, which PostgreSQL has not, comes back as it was",
        file=f"{ROOM}/texts.py",
        old='if text is None or ("\\0" not in text and _MARK not in text):',
        new="if text is None or _MARK not in text:",
        tests=(
            "contract/test_bad_items.py::test_whatever_a_handler_says_is_kept_to_the_last_character",
        ),
    ),
    # -- tables ---------------------------------------------------------------------------------
    Mutant(
        name="pg-made-once",
        promises=(13,),
        guard="two that make the tables at once come one after the other",
        file=f"{ROOM}/schema.py",
        old="                await link.execute(self.turn())",
        new="",
        tests=("postgres/test_migrations.py::test_many_who_find_nothing_make_the_tables_once",),
    ),
    Mutant(
        name="pg-newer-schema-refused",
        promises=(13,),
        guard="tables of a version that leaves this code out are refused",
        file=f"{ROOM}/schema.py",
        old="if stored.compatible > self.known:",
        new="if stored.version < 0:",
        tests=("postgres/test_migrations.py::test_a_version_that_leaves_this_one_out_is_refused",),
    ),
)
