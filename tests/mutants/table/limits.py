"""Limits are never exceeded, permits go with the holding, and nobody waits where there is room."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

CONTRACT = "contract/test_limits.py"
RANDOM = "contract/test_limits_at_random.py"
RATES = "contract/test_rates.py"
TURNS = "contract/test_turns.py"
ADMITTING = "admitting.py"
SQLITE = "storage/sqlite/limits.py"
STATEMENTS = "storage/postgres/limits.sql"
SERVER = "storage/postgres/limits.py"
WEAVING = "storage/postgres/weaving.py"

MUTANTS = (
    Mutant(
        name="limits-what-goes-back-leaves-no-permit",
        promises=(9,),
        guard="what was claimed ahead of an operator's limit takes no room when it has gone back",
        file="transition.py",
        old="tied=claim.tied or is_tied(options), options=options,",
        new="tied=claim.tied, options=options,",
        tests=(CONTRACT,),
    ),
    Mutant(
        name="limits-who-ends-makes-room-where-an-operator-limits",
        promises=(9,),
        guard="what ran when an operator limited its queue makes room when it ends",
        file="recorder.py",
        old="            transition.tied = True",
        new="            pass",
        tests=("engine/test_operated_limits.py",),
    ),
    Mutant(
        name="limits-of-a-holding-of-before-nothing-counts",
        promises=(9, 12),
        guard="PostgreSQL: whoever asks for room holds none yet, whatever was left behind",
        file=SERVER,
        old='        await link.execute(text["not_yet"], ids, *_columns(places))\n',
        new="",
        tests=(CONTRACT,),
    ),
    Mutant(
        name="limits-of-a-holding-of-before-nothing-counts-in-a-file",
        promises=(9,),
        guard="SQLite: whoever asks for room holds none yet, whatever was left behind",
        file=SQLITE,
        old="    ledger.run(NOT_YET, (asked,))\n",
        new="",
        tests=(CONTRACT,),
    ),
    Mutant(
        name="limits-count-what-runs",
        promises=(9,),
        guard="who is admitted counts for those behind it",
        file=ADMITTING,
        old="            self.used += self.taken(need.slots)",
        new="            self.used += 0",
        tests=(CONTRACT,),
    ),
    Mutant(
        name="limits-count-jobs-of-before",
        promises=(9,),
        guard="a job that was made when its limit was a rate holds what it holds now",
        file=ADMITTING,
        old="""
            else:
                admission.permits.append((one.claim, need))
        """,
        new="""
            elif not need.per:
                admission.permits.append((one.claim, need))
        """,
        tests=(f"{CONTRACT}::test_a_rate_that_becomes_a_limit_holds_for_jobs_of_before",),
    ),
    Mutant(
        name="limits-told-by-key",
        promises=(15,),
        guard="who is told when it may start is not looked for among all that is blocked",
        file=SQLITE,
        old="AND +job.state = 5",
        new="AND job.state = 5",
        tests=("unit/test_flow_costs.py",),
    ),
    Mutant(
        name="limits-cleared-by-key",
        promises=(15,),
        guard="a key that nobody uses is not looked for among all that is blocked",
        file=SQLITE,
        old="""
            AND NOT EXISTS (SELECT 1 FROM blocked AS b WHERE b.name = pace.name AND b.key = pace.key
                            AND b.called_at IS NULL)
            AND NOT EXISTS (SELECT 1 FROM blocked AS b WHERE b.name = pace.name AND b.key = pace.key
                            AND b.called_at IS NOT NULL)
        """,
        new="""
            AND NOT EXISTS (SELECT 1 FROM blocked AS b
                            WHERE b.name = pace.name AND b.key = pace.key)
        """,
        tests=("unit/test_flow_costs.py",),
    ),
    Mutant(
        name="limits-one-place-once",
        promises=(15,),
        guard="a job that needs one place twice does not hold up all others",
        file="limit.py",
        old="list({need.place: need for need in _decoder.decode(options).limits}.values())",
        new="_decoder.decode(options).limits",
        tests=(f"{CONTRACT}::test_a_job_that_needs_one_place_twice_is_counted_there_once",),
    ),
    Mutant(
        name="turns-never-for-ever",
        promises=(10,),
        guard="who waits for ever leaves no turn behind",
        file="storage/postgres/turns.sql",
        old="WHERE j.run_at > $2 AND j.run_at < $3 AND",
        new="WHERE j.run_at > $2 AND j.run_at <= $3 AND",
        tests=("postgres/test_limits.py::test_a_job_that_waits_for_ever_has_no_turn_to_take",),
    ),
    Mutant(
        name="limits-nobody-passes-the-first",
        promises=(12,),
        guard="a job of many slots is not passed by small ones for ever",
        file=ADMITTING,
        old="        if self.front is not None and line > self.front:",
        new="        if False:",
        tests=(CONTRACT,),
    ),
    Mutant(
        name="limits-first-waits-for-no-call",
        promises=(12,),
        guard="what is kept for those behind is not kept from those in front",
        file=ADMITTING,
        old="for whose, slots in self.called if whose < line)",
        new="for whose, slots in self.called)",
        tests=(RANDOM,),
    ),
    Mutant(
        name="limits-room-is-kept",
        promises=(9, 12),
        guard="who was called is not called for by others' room, nor passed by a newcomer",
        file=SQLITE,
        old="            ledger.run(KEEP_ROOM, (text, now))",
        new="            ledger.run(GONE, (text,))",
        tests=(CONTRACT, RANDOM),
    ),
    Mutant(
        name="limits-permits-go",
        promises=(9,),
        guard="a permit goes in the change that ends the holding, in a folder",
        file="storage/sqlite/ties.py",
        old="    limits.let_go(ledger, keys, now)",
        new="    pass",
        tests=(CONTRACT,),
    ),
    Mutant(
        name="limits-permits-go-on-a-server",
        promises=(9,),
        guard="a permit goes in the change that ends the holding, on a server",
        file="storage/postgres/ties.py",
        old="    await limits.let_go(link, text, ids, now)",
        new="    pass",
        tests=(CONTRACT,),
    ),
    Mutant(
        name="limits-others-are-called",
        promises=(12,),
        guard="who waits for another limit leaves the room it was called for",
        file=ADMITTING,
        old="        admission.vacant.update(need.place for need in one.needs)",
        new="        admission.vacant.update(())",
        tests=(CONTRACT, RANDOM),
    ),
    Mutant(
        name="limits-paused-hold-up-nobody",
        promises=(12,),
        guard="jobs of a paused queue hold up no other queue's",
        file=SQLITE,
        old="WHERE queue.name = b.queue AND queue.paused)",
        new="WHERE false)",
        tests=(CONTRACT,),
    ),
    Mutant(
        name="limits-pass-no-claim-by",
        promises=(9,),
        guard="a limited job does not go straight to a worker that inserts it",
        file="storage/sqlite/inserts.py",
        old="job.run_at <= group.now and not limits_of(job.options):",
        new="job.run_at <= group.now:",
        tests=(CONTRACT,),
    ),
    Mutant(
        name="limits-gates-are-locked",
        promises=(9,),
        guard="two workers do not count at one gate at the same time",
        file=STATEMENTS,
        old="""
        ORDER BY g.name, g.key FOR UPDATE OF g;
        """,
        new="""
        ORDER BY g.name, g.key;
        """,
        tests=("postgres/test_limits.py",),
    ),
    Mutant(
        name="limits-gates-are-locked-by-who-leaves",
        promises=(12,),
        guard="who lets go waits for who counts, and sees whom it has put aside",
        file=STATEMENTS,
        old="    ORDER BY g.name, g.key FOR UPDATE\n)",
        new="    ORDER BY g.name, g.key\n)",
        tests=("postgres/test_limits.py",),
    ),
    Mutant(
        name="limits-rate-moves-on",
        promises=(9,),
        guard="each start moves the next one, on a server",
        file=SERVER,
        old="        if rates and admission.granted:",
        new="        if False:",
        tests=(RATES,),
    ),
    Mutant(
        name="limits-rate-is-looked-at-again",
        promises=(9,),
        guard="who comes at its moment is still held to the rate",
        file=ADMITTING,
        old="            return self.moment(before, now) > now",
        new="            return False",
        tests=(RATES,),
    ),
    Mutant(
        name="limits-of-those-who-did-not-say-them",
        promises=(9,),
        guard="a job that was made without the limits of its worker is counted",
        file="limited.py",
        old="        if names <= {need.name for need in said}:",
        new="        if True:",
        tests=("engine/test_limits.py",),
    ),
    Mutant(
        name="limits-kept-with-what-goes-back",
        promises=(9,),
        guard="what a job is kept with from now on is written with its release, in a folder",
        file="storage/sqlite/outcomes.py",
        old="        options = ifnull(t.value->>16, options),\n",
        new="",
        tests=(CONTRACT,),
    ),
    Mutant(
        name="limits-kept-with-what-goes-back-on-a-server",
        promises=(9,),
        guard="what a job is kept with from now on is written with its release, on a server",
        file="storage/postgres/outcomes.sql",
        old="        options = coalesce(d.options, j.options)",
        new="        options = j.options",
        tests=(CONTRACT,),
    ),
    Mutant(
        name="limits-rate-as-it-was-told",
        promises=(9,),
        guard="who comes at the moment that it was told starts, whoever has not come before it",
        file=ADMITTING,
        old="            return self.moment(before, now) > now",
        new="            return before > 0 or self.moment(0, now) > now",
        tests=("unit/test_admitting.py",),
    ),
    Mutant(
        name="limits-rate-makes-up-for-lateness",
        promises=(9,),
        guard="a worker that is a little late keeps the pace",
        file="limit.py",
        old="        return LATE if self.burst == UNSAID else (self.burst - 1) * self.step",
        new="        return max(0, self.burst - 1) * self.step",
        tests=(RATES,),
    ),
    Mutant(
        name="limits-rate-sent-back-first",
        promises=(9, 12),
        guard="who was sent back at its moment is told before those behind it",
        file=ADMITTING,
        old="        before = bisect_left(told, head) + len(ats)",
        new="        before = len(told) + len(ats)",
        tests=(RATES,),
    ),
    Mutant(
        name="turns-past-those-that-are-gone",
        promises=(12,),
        guard="many that do not wait any more hide nobody who takes its turn late, in a folder",
        file="storage/sqlite/turns.py",
        old="        if len(due) < LATE:",
        new="        if True:",
        tests=(TURNS,),
    ),
    Mutant(
        name="turns-past-those-that-are-gone-on-a-server",
        promises=(12,),
        guard="many that do not wait any more hide nobody who takes its turn late, on a server",
        file="storage/postgres/turns.py",
        old="        if len(rows) < LATE:",
        new="        if True:",
        tests=(TURNS,),
    ),
    Mutant(
        name="turns-behind-their-own",
        promises=(12,),
        guard="many of one key wait behind each other, not beside others",
        file="storage/sqlite/turns.py",
        old="        stamp = max(stamp, last[0] + 1)",
        new="        stamp = max(stamp, last[0])",
        tests=(TURNS,),
    ),
    Mutant(
        name="turns-when-due",
        promises=(12,),
        guard="a job for later takes its turn when it is due, on a server",
        file=SERVER,
        old="called += await self._base.change(lambda link: turns.take_late(link, text, now))",
        new="called += 0",
        tests=(TURNS,),
    ),
    Mutant(
        name="turns-of-first-jobs",
        promises=(12,),
        guard="the first jobs of a workflow take turns",
        file="storage/sqlite/flows.py",
        old="(job if blocked else turns.in_turn(ledger, job, now), blocked)",
        new="(job, blocked)",
        tests=(f"{TURNS}::test_the_first_jobs_of_a_workflow_take_turns[memory]",),
    ),
    Mutant(
        name="turns-of-first-jobs-for-later",
        promises=(12,),
        guard="a first job of a workflow takes its turn when it is due",
        file="storage/sqlite/flows.py",
        old="            turns.take_later(ledger, key, job.run_at)",
        new="            pass",
        tests=(f"{TURNS}::test_a_first_job_for_later_takes_its_turn_when_it_is_due[memory]",),
    ),
    Mutant(
        name="turns-of-who-is-let-go",
        promises=(12,),
        guard="a job that a workflow lets go takes its turn",
        file="storage/sqlite/flows.py",
        old="        turns.take_again(ledger, jobs, now)",
        new="        pass",
        tests=(f"{TURNS}::test_a_job_that_a_workflow_lets_go_takes_its_turn[memory]",),
    ),
    Mutant(
        name="turns-of-who-is-retried",
        promises=(12,),
        guard="what people retry takes its turn",
        file="storage/sqlite/steering.py",
        old="        turns.take_again(ledger, [key], now)",
        new="        pass",
        tests=(f"{TURNS}::test_what_people_retry_takes_its_turn[memory-one]",),
    ),
    Mutant(
        name="turns-of-a-workflow-that-is-retried",
        promises=(12,),
        guard="what is retried of a workflow takes its turn",
        file="storage/sqlite/reopening.py",
        old="    turns.take_again(ledger, keys, now)",
        new="    pass",
        tests=(f"{TURNS}::test_what_is_retried_of_a_workflow_takes_its_turn[memory]",),
    ),
    Mutant(
        name="turns-once",
        promises=(12,),
        guard="a retry of what is about to run does not put it behind others of its key",
        file="storage/sqlite/steering.py",
        old="    if jobs.retry(job_id, now):",
        new="    if jobs.retry(job_id, now) or True:",
        tests=(f"{TURNS}::test_a_retry_of_what_has_its_turn_changes_nothing[memory]",),
    ),
    Mutant(
        name="pg-turns-of-who-is-retried",
        promises=(12,),
        guard="what people retry takes its turn, on a server",
        file="storage/postgres/looking.py",
        old="        await turns.take_again(self._connection, self._statements, again, now)",
        new="",
        tests=(f"{TURNS}::test_what_people_retry_takes_its_turn[postgres-one]",),
    ),
    Mutant(
        name="pg-turns-of-a-workflow-that-is-retried",
        promises=(12,),
        guard="what is retried of a workflow takes its turn, on a server",
        file="storage/postgres/reopening.py",
        old="    await turns.take_again(link, text, again, now)",
        new="",
        tests=(f"{TURNS}::test_what_is_retried_of_a_workflow_takes_its_turn[postgres]",),
    ),
    Mutant(
        name="pg-turns-of-first-jobs",
        promises=(12,),
        guard="the first jobs of a workflow take turns, on a server",
        file=WEAVING,
        old="        if turns_of([one.record for one in piece.members]):",
        new="        if False:",
        tests=(f"{TURNS}::test_the_first_jobs_of_a_workflow_take_turns[postgres]",),
    ),
    Mutant(
        name="pg-turns-of-first-jobs-along",
        promises=(12,),
        guard="the first jobs of a workflow that is made along a connection take turns",
        file="storage/postgres/along.py",
        old="turned = await begun_in_turn(self._line, text, piece, now, aside=True)",
        new="turned = piece",
        tests=("postgres/test_flows_in_transactions.py::test_its_first_jobs_take_turns",),
    ),
    Mutant(
        name="pg-turns-of-who-is-added",
        promises=(12,),
        guard="a job that is added to a workflow takes its turn, on a server",
        file=WEAVING,
        old="await take_later(link, text, ready)",
        new="pass",
        tests=(f"{TURNS}::test_a_job_that_is_added_to_a_workflow_takes_its_turn[postgres]",),
    ),
    Mutant(
        name="pg-turns-of-who-is-let-go",
        promises=(12,),
        guard="a job that a workflow lets go takes its turn, on a server",
        file="storage/postgres/flows.sql",
        old="""
        INSERT INTO {later} (id, due) SELECT id, run_at FROM due WHERE fair
        ON CONFLICT (id) DO UPDATE SET due = excluded.due
    ), sums AS (
    """,
        new="""
        INSERT INTO {later} (id, due) SELECT id, run_at FROM due WHERE false
        ON CONFLICT (id) DO UPDATE SET due = excluded.due
    ), sums AS (
    """,
        tests=(f"{TURNS}::test_a_job_that_a_workflow_lets_go_takes_its_turn[postgres]",),
    ),
    Mutant(
        name="pg-turns-of-callbacks",
        promises=(12,),
        guard="the callback of a workflow takes its turn, on a server",
        file="storage/postgres/flows.sql",
        old="""
        INSERT INTO {later} (id, due) SELECT id, run_at FROM due WHERE fair
        ON CONFLICT (id) DO UPDATE SET due = excluded.due
    )
    """,
        new="""
        INSERT INTO {later} (id, due) SELECT id, run_at FROM due WHERE false
        ON CONFLICT (id) DO UPDATE SET due = excluded.due
    )
    """,
        tests=(f"{TURNS}::test_what_follows_a_workflow_takes_its_turn[postgres-callback]",),
    ),
    Mutant(
        name="pg-turns-of-undo-jobs",
        promises=(12,),
        guard="what undoes a workflow takes its turn, on a server",
        file="storage/postgres/flows.py",
        old="    await turns.take_later(link, text, records[:1])",
        new="",
        tests=(f"{TURNS}::test_what_follows_a_workflow_takes_its_turn[postgres-undo]",),
    ),
    Mutant(
        name="rates-of-who-asks-late",
        promises=(9,),
        guard="who asks late, or with a clock that is behind, begins no rate anew",
        file=ADMITTING,
        old="self.free_at > latest + APART",
        new="self.free_at > latest",
        tests=(
            "contract/test_limits.py"
            "::test_who_asks_late_or_with_a_clock_behind_lets_nobody_start_too_soon",
        ),
    ),
    Mutant(
        name="rates-go-on-when-clocks-go-back",
        promises=(12,),
        guard="a rate does not wait for the time that a clock showed before it was set back",
        file=ADMITTING,
        old="wrong = bool(self.per) and self.free_at > latest + APART",
        new="wrong = False",
        tests=("contract/test_limits.py::test_a_clock_that_was_set_back_holds_up_nobody",),
    ),
)
