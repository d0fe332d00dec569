"""A job that is scheduled, or ends, within the application's transaction does so if, and only if,
that commits (promise 14)."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

SCHEDULE = "postgres/test_transactions.py"
COMPLETE = "postgres/test_completion.py"
FLOWS = "postgres/test_flows_in_transactions.py"
EXTEND = "postgres/test_extending_in_transactions.py"
LOST = "postgres/test_lost_commits.py"
THREADS = "postgres/test_completion_in_threads.py"
ALONG = "storage/postgres/along.py"
LOANS = "storage/postgres/loans.py"
TRANSACTIONS = "transactions.py"

MUTANTS = (
    Mutant(
        name="other-database-refused",
        promises=(14,),
        guard="jobs are not scheduled along a connection to another database",
        file=ALONG,
        old="if here == self._here:",
        new="if known:",
        tests=(f"{SCHEDULE}::test_a_connection_to_another_database_is_refused",),
    ),
    Mutant(
        name="other-database-asked-for-first",
        promises=(14,),
        guard="a statement that fails for want of its table is not said: all would fail with it",
        file=ALONG,
        old="if here == self._here:",
        new="if True:",
        tests=(f"{SCHEDULE}::test_a_connection_to_another_database_is_refused",),
    ),
    Mutant(
        name="queue-known-before-its-job",
        promises=(14,),
        guard="workers look for jobs in the queue of one that comes with a transaction",
        file=ALONG,
        old="await self._know(queues)",
        new="pass",
        tests=(f"{SCHEDULE}::test_the_commit_wakes_a_worker",),
    ),
    Mutant(
        name="commit-wakes",
        promises=(14,),
        guard="the commit of the application wakes a worker",
        file=ALONG,
        old="            word = Wake.JOBS.value",
        new="            word = None if Wake else ''",
        tests=(f"{SCHEDULE}::test_the_commit_wakes_a_worker",),
    ),
    Mutant(
        name="alone-is-whole",
        promises=(14,),
        guard="outside a transaction the jobs of one call have one of their own",
        file=ALONG,
        old="        if await self._line.alone():\n            return await self._whole(work)",
        new="",
        tests=(
            f"{SCHEDULE}::test_without_a_transaction_all_jobs_are_kept_or_none",
            f"{FLOWS}::test_without_a_transaction_all_of_a_workflow_is_kept_or_nothing",
        ),
    ),
    Mutant(
        name="commit-of-a-flow-wakes",
        promises=(14,),
        guard="the commit that makes a workflow wakes a worker",
        file=ALONG,
        old='await self._line.fetch(text["say"], text.channel, Wake.JOBS.value)',
        new="del text",
        tests=(f"{FLOWS}::test_the_commit_wakes_a_worker",),
    ),
    Mutant(
        name="queues-of-a-flow-known-before",
        promises=(14, 15),
        guard="workers look for jobs in the queues of a workflow that comes with a transaction",
        file="composing.py",
        old="await along.prepare({member.record.queue for member in piece.members})",
        new="await along.prepare(())",
        tests=(f"{FLOWS}::test_the_commit_wakes_a_worker",),
    ),
    Mutant(
        name="queues-of-a-flow-not-named-within",
        promises=(14,),
        guard="a transaction that has a snapshot names no queue: somebody may have done it since",
        file="storage/postgres/weaving.py",
        old="        await self._weave(link, flow.id, piece, {})\n",
        new="""
        await name_queues(link, text, _records(piece))
        await self._weave(link, flow.id, piece, {})
        """,
        tests=(f"{FLOWS}::test_a_snapshot_from_before_its_queue_had_a_name_does_not_fail",),
    ),
    Mutant(
        name="added-with-the-commit",
        promises=(14,),
        guard="what a job adds to its workflow with a transaction is there when that commits",
        file="composing.py",
        old="if transaction is not None:",
        new="if False:",
        tests=(f"{EXTEND}::test_all_is_committed_together",),
    ),
    Mutant(
        name="added-before-the-end",
        promises=(9, 14),
        guard="what a job adds is there before it completes: who waits for it waits for that, too",
        file=ALONG,
        old="""
        if pieces and not await self._extend(transition, pieces, now):
            return False
        return not await Outcomes(text, self._follow).write(self._line, [transition], now)
        """,
        new="""
        stood = not await Outcomes(text, self._follow).write(self._line, [transition], now)
        return stood and (not pieces or await self._extend(transition, pieces, now))
        """,
        tests=(f"{EXTEND}::test_all_is_committed_together",),
    ),
    Mutant(
        name="flow-held-by-who-adds",
        promises=(9,),
        guard="who adds to a workflow waits for who ends a job that this one waits for",
        file=ALONG,
        old="await ties.hold(self._line, text, [job])",
        new="pass",
        tests=(
            "postgres/test_flows.py"
            "::test_what_is_added_with_a_transaction_waits_for_who_ends_a_job_it_waits_for",
        ),
    ),
    Mutant(
        name="keys-before-the-flow-with-the-commit",
        promises=(15, 6),
        guard="who waits for the key of a transaction to add by its own keeps no job from ending",
        file=ALONG,
        old="""
        for piece in pieces:  # First: who waits for a key holds no flow.
            await self._take_keys(self._line, piece, now)
        await ties.hold(self._line, text, [job])
        """,
        new="""
        await ties.hold(self._line, text, [job])
        for piece in pieces:
            await self._take_keys(self._line, piece, now)
        """,
        tests=(
            f"{EXTEND}"
            "::test_a_key_that_is_held_is_waited_for_by_who_holds_no_workflow_and_then_rolls_all_back",
        ),
    ),
    Mutant(
        name="keys-of-a-flow-apart",
        promises=(14, 6),
        guard="a workflow that is refused for a key leaves the transaction as it was",
        file=ALONG,
        old="return await (self._apart(work) if may_be_refused else work())",
        new="return await work()",
        tests=(f"{FLOWS}::test_a_workflow_whose_key_is_held_leaves_the_transaction_as_it_was",),
    ),
    Mutant(
        name="stale-adds-nothing",
        promises=(2, 14),
        guard="who has no claim any more is told so, whatever it would add",
        file=ALONG,
        old='if not await self._line.fetch(text["held_now"], [job], [transition.token]):',
        new="if False:",
        tests=(f"{EXTEND}::test_who_has_lost_the_lease_adds_nothing",),
    ),
    Mutant(
        name="claim-not-shared-by-who-adds",
        promises=(15,),
        guard="two of one claim that add to workflows do not wait for each other",
        file=ALONG,
        old='text["held_now"], [job], [transition.token]',
        new='text["holds_member"], job, transition.token',
        tests=(f"{EXTEND}::test_many_that_add_and_end_at_once_are_in_nobodys_way",),
    ),
    Mutant(
        name="added-along-its-own-connection",
        promises=(14,),
        guard="a job adds along the connection of its own transaction, and no other",
        file=TRANSACTIONS,
        old="return self._lent is not None and self._lent is connection",
        new="return self._lent is not None",
        tests=(f"{EXTEND}::test_only_the_connection_of_the_open_transaction_is_taken",),
    ),
    Mutant(
        name="added-while-it-is-open",
        promises=(14,),
        guard="what comes after the commit is refused, and not forgotten",
        file=TRANSACTIONS,
        old="if self._lent is None:",
        new="if False:",
        tests=(f"{EXTEND}::test_only_the_connection_of_the_open_transaction_is_taken",),
    ),
    Mutant(
        name="keys-wait-apart",
        promises=(15, 14),
        guard="who waits for a key that somebody's transaction holds keeps no other job waiting",
        file="storage/postgres/adding.py",
        old="keyed = any(job.unique_key is not None for job in jobs)",
        new="keyed = False",
        tests=(f"{SCHEDULE}::test_who_waits_for_a_key_keeps_nobody_else_waiting",),
    ),
    Mutant(
        name="types-at-each-place",
        promises=(14,),
        guard="for drivers that write values into the text, each place tells the type",
        file="storage/postgres/line.py",
        old='f"%(p{number})s::{types[number]}" if number in types else f"%(p{number})s"',
        new='f"%(p{number})s"',
        tests=("postgres/test_drivers.py",),
    ),
    Mutant(
        name="asyncio-is-not-for-threads",
        promises=(14,),
        guard="a connection for asyncio is not used without a loop",
        file=TRANSACTIONS,
        old="if along.waits:",
        new="if False:",
        tests=("postgres/test_blocking_transactions.py::test_a_connection_for_asyncio_is_refused",),
    ),
    Mutant(
        name="error-in-the-block",
        promises=(14, 3),
        guard="an exception in the block of job.transaction() rolls all back",
        file=TRANSACTIONS,
        old="""
        if error is not None:
            await self._roll_back()
        """,
        new="""
        if False:
            await self._roll_back()
        """,
        tests=(f"{COMPLETE}::test_an_error_in_the_block_rolls_all_back",),
    ),
    Mutant(
        name="fence-of-a-transaction",
        promises=(2, 14),
        guard="who has no claim any more commits nothing",
        file=TRANSACTIONS,
        old="if not self._leased() or not await along.finish(transition, self._now(), pieces):",
        new="if await along.finish(transition, self._now(), pieces) and not self._leased():",
        tests=(
            f"{THREADS}::test_a_thread_that_is_overdue_writes_nothing",
            f"{THREADS}::test_who_has_lost_the_lease_writes_nothing",
        ),
    ),
    Mutant(
        name="once-an-attempt",
        promises=(3,),
        guard="an attempt has one transaction",
        file="runner.py",
        old="running.transacted = True",
        new="running.transacted = False",
        tests=(f"{COMPLETE}::test_an_attempt_has_one_transaction",),
    ),
    Mutant(
        name="busy-connection-refused",
        promises=(14,),
        guard="job.transaction() does not commit what others have begun",
        file=ALONG,
        old="if await self._line.busy():",
        new="if False:",
        tests=(f"{COMPLETE}::test_a_connection_that_is_in_a_transaction_is_refused",),
    ),
    Mutant(
        name="lost-commit-asked-for",
        promises=(14, 3),
        guard="a commit whose answer was lost is not taken for a failure",
        file=TRANSACTIONS,
        old="if not await self._on_loop(self._stood(transition)):",
        new="if True:",
        tests=(f"{LOST}::test_whether_it_stands_is_asked_where_the_answer_was_lost",),
    ),
    Mutant(
        name="lost-commit-not-believed",
        promises=(14, 3),
        guard="nor for a success",
        file=TRANSACTIONS,
        old="if not await self._on_loop(self._stood(transition)):",
        new="if False:",
        tests=(f"{LOST}::test_whether_it_stands_is_asked_where_the_answer_was_lost",),
    ),
    Mutant(
        name="commit-on-its-way",
        promises=(14, 3),
        guard="a commit that the server is about to do is waited for, before it is judged",
        file="storage/postgres/ending.py",
        old='await link.fetch(self._base.statements["wait_for"], [transition.token])',
        new="pass",
        tests=(f"{LOST}::test_a_commit_that_is_on_its_way_is_waited_for",),
    ),
    Mutant(
        name="commit-never-comes",
        promises=(14, 15),
        guard="the server gives up a completion whose client has gone",
        file=ALONG,
        old='await self._line.fetch(text["hurry"], PATIENCE)',
        new="pass",
        tests=(f"{LOST}::test_a_commit_that_never_comes_is_not_waited_for_long",),
        hangs=True,
    ),
    Mutant(
        name="commit-not-interrupted",
        promises=(14, 3),
        guard="who interrupts a handler that commits waits until it has",
        file=TRANSACTIONS,
        old="interrupted = cancelled",
        new="raise",
        tests=(f"{LOST}::test_who_is_interrupted_while_it_commits_has_committed",),
    ),
    Mutant(
        name="commit-is-final",
        promises=(3,),
        guard="what a handler does after its transaction changes nothing",
        file="runner.py",
        old="if running.completed is not None:",
        new="if False:",
        tests=(f"{COMPLETE}::test_the_commit_is_final_whatever_the_handler_does_then",),
    ),
    Mutant(
        name="lines-of-what-was-not-written",
        promises=(14,),
        guard="log lines that were to travel with a commit are kept with the attempt that failed",
        file=TRANSACTIONS,
        old="self._attempt.take_back(transition)",
        new="pass",
        tests=(f"{LOST}::test_whether_it_stands_is_asked_where_the_answer_was_lost",),
    ),
    Mutant(
        name="marks-go-with-the-commit",
        promises=(4,),
        guard="what ended within a transaction is not said to have begun any more",
        file="storage/postgres/ending.py",
        old="self._base.of(worker).finished([transition], [True])",
        new="pass",
        tests=(f"{COMPLETE}::test_all_is_committed_together",),
    ),
    Mutant(
        name="results-are-told",
        promises=(14,),
        guard="who waits here for the result hears of the commit at once",
        file="recorder.py",
        old="""
        self._recorded([(claim, transition)])
        self._flushed()
        """,
        new="""
        self._flushed()
        """,
        tests=(f"{COMPLETE}::test_the_result_is_heard_of_at_once",),
    ),
    Mutant(
        name="idle-loans-are-tried",
        promises=(14,),
        guard="a lent connection that was cut while it lay idle is made anew",
        file=LOANS,
        old="except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):",
        new="except ZeroDivisionError:",
        tests=(f"{COMPLETE}::test_a_connection_that_was_cut_while_it_lay_idle_costs_no_attempt",),
    ),
    Mutant(
        name="loans-are-bounded",
        promises=(15,),
        guard="handlers have so many connections at once, and no more",
        file=LOANS,
        old="async with ours.room:",
        new="if True:",
        tests=(f"{COMPLETE}::test_who_asks_for_more_connections_than_are_lent_waits",),
    ),
    Mutant(
        name="loans-are-clean",
        promises=(15,),
        guard="what one handler sets on a connection does not reach the next",
        file=LOANS,
        old="await connection.reset(timeout=CLEAN)",
        new="pass",
        tests=(f"{COMPLETE}::test_many_at_once_end_each_for_itself",),
    ),
)
