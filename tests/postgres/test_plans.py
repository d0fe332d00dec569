"""How PostgreSQL goes about the statements: by an index, whatever it knows of the tables.

Every statement is made once with a plan for all values, so a plan that was bad stays. What it was
made from may be statistics of a table that was empty, or none.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import asyncpg
import pytest

from backroom.inspecting import Filter
from backroom.job import JobStatus
from backroom.storage.postgres.connecting import SESSION
from backroom.storage.postgres.looking import Inspector
from tests.postgres.yard import Yard, a_yard
from tests.servers.binaries import find_binaries
from tests.servers.fixtures import PostgresPlace, choose
from tests.servers.postgres import PostgresServer

ROWS: Final = int(os.environ.get("BACKROOM_PLAN_ROWS", "30000"))
"""Jobs of each kind. The plans are the same with a million, which takes a minute."""

BIG: Final = (
    "jobs", "ended", "ready", "errors", "logs", "keys", "steps", "signals", "schedules", "ticks",
    "flows", "members", "edges", "waiting", "gates", "blocked", "figures", "depths",
)  # fmt: skip
"""Tables that are never read as a whole: the others hold what runs now, and are small."""

ANY: Final = frozenset(BIG)
AS_A_WHOLE: Final = {
    "expire": set(),
    # From the beginning to what was there before a partition went.
    "sweep": {"errors", "logs", "steps", "signals", "members", "edges"},
    "open_flows": {"flows"},  # After a move.
    "flows_to_pack": {"flows"},  # During one.
    "all_limits": {"blocked"},
    "limited": {"gates", "blocked"},  # To the first one.
    "no_answer": {"blocked"},  # Of an index that holds only those that were called, which are few.
    "too_far": {"blocked"},
    "idle_gates": {"gates"},  # A thousand of them, now and then.
    "in_the_way": set(),
    # Whether the numbers that are kept are right, and where they are made anew: all is counted.
    "numbers_there": ANY,
    "fail_nothing": ANY,
    "fail_anew": ANY,
    "count_anew": ANY,
    "fail_again": ANY,  # Of a partition that was made just now.
    "fail_no_more": ANY,  # Of one that goes.
    "schedules": {"schedules"},  # They are listed, for people.
    # A partition that goes is read once, by who lets it go.
    "staying": ANY,
    "untell": ANY,
    "any_past": ANY,
    "bring_back": ANY,
    "place_again": set(),
    "displace": {"ready"},  # Of a few that nobody knew of, wherever they stand, for people.
}
"""Statements that may read these tables to their end."""
NOT_PLANNED: Final = {
    "make",
    "attach",
    "detach",
    "drop",
    "make_parcels",
    "move",
    "stand_still",
    "clear_changed",
}
"""They change tables, or wait until nobody is there."""
KNOWN: Final = [
    "above", "account", "actions", "add", "add_edges", "add_errors", "add_figures", "add_flow",
    "add_logs", "add_one", "add_parcel", "add_samples", "add_schedule", "add_signals", "add_steps",
    "admit", "admit_held", "again", "again_turns", "all_limits", "alone", "answer", "any_past",
    "arrive", "ask", "asked_to_end", "attach", "barred", "begin_action", "behind",
    "blocked_children", "bring", "bring_back", "bring_edges", "bring_flows", "bring_members",
    "callbacks", "cancel_waiting", "causes", "change_schedule", "charge", "claim", "claim_few",
    "claim_one", "claim_parked", "clear_changed", "complete", "contended", "count_anew",
    "count_held", "count_nothing", "crew", "dead", "decided", "detach", "dismiss", "disown",
    "displace", "done_anew", "doom", "doomed_callbacks", "drain", "drop", "drop_empty",
    "drop_ended", "drop_flows", "drop_parcel", "drop_permits", "drop_schedules", "drop_unheld",
    "drop_waiting", "due_turns", "end_action", "ended_with", "enlist", "errors", "errors_of",
    "expect_flows", "expire", "expiring", "extend", "fail_again", "fail_anew", "fail_no_more",
    "fail_nothing", "failures", "fewer_ended", "fewer_ticks", "finished", "fired_before",
    "first_schedules", "flow", "flow_edges", "flow_jobs", "flows", "flows_here", "flows_of",
    "flows_to_pack", "fold", "fold_changed", "fold_passed", "folded_to", "forget", "forget_actions",
    "forget_ended", "forget_figures", "forget_flows", "forget_steps", "forget_ticks", "free",
    "free_keys", "gates", "going_on", "graft", "grant", "heads", "held_by_nobody", "held_now",
    "here", "hold", "hold_back", "hold_members", "hold_none", "hold_still", "holders", "holds",
    "holds_member", "hurry", "idle_gates", "in_the_way", "jobs_of_flow", "keep", "keep_steps",
    "keep_waiting", "keys_after", "kinds", "kinds_of", "know_limits", "last_samples", "leave_lines",
    "let_go", "let_go_for", "let_go_in_time", "let_go_of", "let_go_series", "let_in", "let_move",
    "limit_queue", "limited", "limited_behind", "line_up", "lock_active", "lock_claims",
    "lock_flow", "lock_flows", "lock_flows_of", "lock_gates", "lock_gates_of", "lock_held",
    "lock_job", "lock_jobs", "lock_more_flows_of", "lock_schedule", "lock_worker", "log", "log_of",
    "look_round", "make", "make_parcels", "mark_parcel", "members_by_id", "members_of",
    "memberships", "more_jobs", "move", "move_on", "move_turns", "new_gates", "new_queues", "next",
    "no_answer", "not_again", "not_away", "not_completed", "not_counted", "not_told", "not_yet",
    "numbers", "numbers_there", "of_open_flow", "old", "oldest_parcel", "open_flows", "operated",
    "outlook", "over_turns", "pace", "parents", "parts", "past", "past_errors", "past_of_type",
    "past_samples", "pause", "place_again", "places_after", "present", "progress", "put_aside",
    "put_limits", "queues", "rearrange", "release", "reopened", "replace", "role_of", "say",
    "schedule", "schedules", "schedules_after", "schedules_due", "see_turns", "seize",
    "seize_schedules", "send_signal", "series", "settle", "signals_of", "signals_of_all", "sizes",
    "sooner", "stand_still", "standing", "start", "stats", "staying", "step_aside", "steps_of",
    "steps_of_all", "stood", "store", "store_number", "stranded", "stranded_among", "sweep",
    "take_edges", "take_keys", "take_members", "take_out", "take_place", "take_signal",
    "take_turns", "tell", "tell_report", "there", "ticks", "ticks_of", "tied", "to_undo",
    "tokens_of", "told_by", "too_far", "totals", "trim_errors", "trim_logs", "twins", "undone",
    "unheld", "unplaced", "untell", "wait_again", "wait_for", "wait_for_job", "wait_for_place",
    "wait_turn", "waits_anew", "weave", "what_is_next", "what_to_undo", "whereabouts", "whole",
]  # fmt: skip
"""Whoever adds a statement looks at its plan."""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """Nobody looks after its statistics."""
    with PostgresServer(choose(find_binaries()), settings={"autovacuum": "off"}) as server:
        server.execute(b"CREATE SCHEMA plans")
        yield server


@pytest.fixture(params=["never looked at", "seen when they were empty", "seen as they are"])
async def yard(request: pytest.FixtureRequest, server: PostgresServer) -> AsyncIterator[Yard]:
    server.execute(b"DROP SCHEMA plans CASCADE; CREATE SCHEMA plans")
    async with a_yard(PostgresPlace(server.url(), "plans"), 7 * 86_400.0) as yard:
        bench = await yard.bench()
        await bench.storage._links.run(  # type: ignore[attr-defined]
            lambda link: link.execute(bench.storage._statements["make_parcels"])  # type: ignore[attr-defined]
        )
        for days in range(5):
            await bench.prune()
            yard.clock.advance(days * 86_400.0)
        if request.param == "seen when they were empty":
            await yard.side.execute("ANALYZE")
        await fill(yard)
        if request.param == "seen as they are":
            await yard.side.execute("ANALYZE")
        for name, value in SESSION.items():
            await yard.side.execute(f"SET {name} = '{value}'")
        yield yard


async def fill(yard: Yard) -> None:
    """Jobs of ten days that ended, and as many that wait, spread over all partitions."""
    newest = yard.clock.now() // 1000
    step = 10 * 86_400_000 // ROWS
    await yard.side.execute(
        f"""
        CREATE FUNCTION pg_temp.made(n bigint, kind text) RETURNS uuid LANGUAGE sql AS $$
            SELECT (lpad(to_hex({newest} - n * {step}), 12, '0') || '7' || kind || '008000'
                    || lpad(to_hex(n), 12, '0'))::uuid $$;
        INSERT INTO background_jobs (id, type, queue, priority, run_at, created_at, data)
        SELECT pg_temp.made(n, kind), 'T' || n % 7, 'q' || n % 3, n % 4, {newest}000 - n, 0,
               repeat('x', 100)
        FROM generate_series(1, {ROWS}) AS n, unnest(ARRAY['0', '1']) AS kind;
        INSERT INTO background_jobs_ended (id, token, state, attempt, finished_at)
        SELECT pg_temp.made(n, '0'), n, 2 + (n % 10 = 0)::int, 1, 0
        FROM generate_series(1, {ROWS}) AS n;
        INSERT INTO background_jobs_ready (queue, priority, run_at, id)
        SELECT 'q' || n % 3, n % 4, {newest}000 - n, pg_temp.made(n, '1')
        FROM generate_series(1, {ROWS}) AS n;
        INSERT INTO background_jobs_errors (job, attempt, at, kind, message)
        SELECT pg_temp.made(n, '0'), 1, 0, 'OSError', 'no' FROM generate_series(1, {ROWS}) AS n;
        INSERT INTO background_jobs_logs (job, attempt, at, level, message)
        SELECT pg_temp.made(n, '0'), 1, 0, 'info', 'no' FROM generate_series(1, {ROWS}) AS n;
        INSERT INTO background_jobs_keys (type, unique_key, id)
        SELECT 'T', n::text, pg_temp.made(n, '1') FROM generate_series(1, {ROWS}) AS n;
        INSERT INTO background_jobs_keys (type, unique_key, id, holder, held_until)
        SELECT 'U', n::text, '00000000-0000-0000-0000-000000000000', pg_temp.made(n, '1'), n % 2 * n
        FROM generate_series(1, {ROWS}) AS n;
        INSERT INTO background_jobs_steps (job, number, kind, name, begun_at, ended_at, result)
        SELECT pg_temp.made(n, '0'), 1, 0, 'quote', 0, 0, '1' FROM generate_series(1, {ROWS}) AS n;
        INSERT INTO background_jobs_signals (job, id, name, value, at)
        SELECT pg_temp.made(n, '1'), n::text, 'approved', '1', 0
        FROM generate_series(1, {ROWS}) AS n;
        INSERT INTO background_jobs_flows (id, name, kind, on_failure, created_at, finished_at)
        SELECT pg_temp.made(n, '0'), 'import', 0, 0, 0, CASE WHEN n % 2 = 0 THEN 0 END
        FROM generate_series(1, {ROWS} / 10) AS n;
        INSERT INTO background_jobs_members (job, flow, role, anyway, counted)
        SELECT pg_temp.made(n, '0'), pg_temp.made(n / 10 + 1, '0'), 0, false, 2 * (n % 2)
        FROM generate_series(1, {ROWS}) AS n;
        INSERT INTO background_jobs_edges (parent, child)
        SELECT pg_temp.made(n, '0'), pg_temp.made(n + 1, '0') FROM generate_series(1, {ROWS}) AS n;
        INSERT INTO background_jobs_waiting (id, waits)
        SELECT pg_temp.made(n, '0'), 1 FROM generate_series(1, {ROWS}) AS n;
        INSERT INTO background_jobs_schedules (name, rule, tz, type, queue, priority, data, missed,
            overlap, jitter, origin, paused, created_at, revision, next_at, kept)
        SELECT 's' || n, '* * * * *', 'UTC', 'T', 'q', 2, '{{}}', 'skip', 'allow', 0, 'call',
               n % 10 = 0, 0, 1, {newest}000 + n, 1200 FROM generate_series(1, {ROWS}) AS n;
        INSERT INTO background_jobs_ticks (schedule, at, until, count, outcome, decided_at)
        SELECT n % 30, n, n, 1, 'missed', n FROM generate_series(1, 2 * {ROWS}) AS n;
        INSERT INTO background_jobs_limits (name, most, per, burst)
        SELECT 'l' || n, 4, 0, 1 FROM generate_series(1, 3) AS n;
        INSERT INTO background_jobs_gates (name, key)
        SELECT 'l' || n % 3, 'k' || n FROM generate_series(1, {ROWS}) AS n;
        INSERT INTO background_jobs_blocked (name, key, priority, run_at, id, slots, queue,
            expires_at)
        SELECT 'l' || n % 3, 'k' || n % 1000, n % 4, n, pg_temp.made(n, '1'), 1, 'q' || n % 3, n
        FROM generate_series(1, {ROWS}) AS n;
        INSERT INTO background_jobs_queues (name) SELECT 'q' || n FROM generate_series(0, 2) AS n;
        INSERT INTO background_jobs_figures (step, at, queue, type, scheduled, completed, failed,
            retried, cancelled, put_off, rescued, waited, ran, waits, runs, errors)
        SELECT step, n / 20, 'q' || n % 2, 't' || n % 20, 0, 1, 0, 0, 0, 0, 0, 1, 1, '{{"1": 1}}',
            '{{"1": 1}}', '{{"ValueError": 1}}'
        FROM generate_series(1, {ROWS}) AS n, unnest(ARRAY[10, 600]) AS step;
        INSERT INTO background_jobs_figures (step, at, queue, type, scheduled, completed, failed,
            retried, cancelled, put_off, rescued, waited, ran, waits, runs, errors)
        SELECT 0, 0, 'q' || n % 2, 't' || n, 0, 1, 0, 0, 0, 0, 0, 1, 1, '{{}}', '{{}}', '{{}}'
        FROM generate_series(1, 20) AS n;
        INSERT INTO background_jobs_depths (step, at, seen_at, queues)
        SELECT step, n, n, '{{}}'
        FROM generate_series(1, {ROWS}) AS n, unnest(ARRAY[10, 600]) AS step;
        """
    )


_numbers = itertools.count()


async def plan_of(link: asyncpg.Connection, text: str) -> list[dict[str, Any]]:
    """The steps of the plan for all values."""
    name = f"it_{next(_numbers)}"
    await link.execute(f"PREPARE {name} AS {text}")
    count = max([int(n) for n in re.findall(r"\$(\d+)", text)], default=0)
    nulls = f"({', '.join(['NULL'] * count)})" if count else ""
    found = await link.fetchval(f"EXPLAIN (FORMAT JSON, COSTS OFF, VERBOSE) EXECUTE {name}{nulls}")
    return list(_steps(json.loads(found)[0]["Plan"]))


def _steps(step: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield step
    for one in step.get("Plans", ()):
        yield from _steps(one)


def _table(step: dict[str, Any]) -> str | None:
    """`jobs` for a job's table and its partitions."""
    name = str(step.get("Relation Name", ""))
    found = re.fullmatch(r"background_jobs(?:_(?!\d)([a-z_]+?))?(?:_\d{8}_\d{6})?", name)
    if found is None:
        return None
    part = found[1] or "jobs"
    return part.removesuffix("_rest")


def read_to_the_end(steps: list[dict[str, Any]], limited: bool = False) -> set[str]:
    """The big tables of which all rows are read: no condition leads to those that are wanted."""
    tables = set()
    for step in steps:
        kind, table = step["Node Type"], _table(step)
        if table not in BIG or kind in ("ModifyTable", "LockRows"):
            continue
        led = "Index Cond" in step or "TID Cond" in step or "Recheck Cond" in step
        if kind == "Seq Scan" or (kind.endswith("Scan") and not led and not limited):
            tables.add(str(table))
    return tables


async def test_every_statement_finds_what_it_wants_by_an_index(yard: Yard) -> None:
    texts = yard.storages[0]._statements._texts
    assert sorted(texts) == sorted(KNOWN), "a statement that is new, or gone: look at its plan"
    part = (await yard.parts())[0].name
    bad = {}
    for name in sorted(set(texts) - NOT_PLANNED):
        text = yard.storages[0]._statements.part(name, part)
        read = read_to_the_end(await plan_of(yard.side, text)) - AS_A_WHOLE.get(name, set())
        if read:
            bad[name] = read
    assert not bad, bad


async def test_parked_jobs_that_a_worker_does_not_know_are_not_in_its_way(yard: Yard) -> None:
    """Each type and version is a range of an index of its own."""
    steps = await plan_of(yard.side, yard.storages[0]._statements["claim_parked"])
    used = [step for step in steps if _table(step) == "parked" and "Index Cond" in step]
    assert [step["Index Name"] for step in used] == ["background_jobs_parked_kind"] * 5
    for step in used:
        for part in ("queue = ", "version", "priority = ", "run_at <= "):
            assert part in step["Index Cond"]
        assert "Filter" not in step or "version" not in step["Filter"]


async def test_what_expires_is_found_where_it_is(yard: Yard) -> None:
    """Not among all that have expired, anew for each page of them."""
    steps = await plan_of(yard.side, yard.storages[0]._statements["expire"])
    for table in ("ready", "parked", "waiting", "blocked"):
        looks = [step for step in steps if _table(step) == table and "Index Cond" in step]
        assert len(looks) == 1, table
        assert "id = " in looks[0]["Index Cond"], table
        assert "expires_at" not in looks[0]["Index Cond"], table


class Recorder:
    """Takes down what is asked, and has found little."""

    def __init__(self, few: bool = True) -> None:
        self.texts: list[str] = []
        self._few = few

    async def fetch(self, text: str, *_: Any) -> list[Any]:
        if text.startswith("SELECT count(*)"):
            return [(0 if self._few else 10**6,)]
        self.texts.append(text)
        return [([], None, 0, 0, None)]


FILTERS: Final = [
    Filter(),
    *[Filter(status=status) for status in JobStatus],
    Filter(type="T1"),
    Filter(queue="q1"),
    Filter(status=JobStatus.FAILED, type="T1"),
    Filter(text="needle"),
    Filter(text="needle", status=JobStatus.COMPLETED),
    Filter(error="OSError", since=0, until=1, priority=2, tag="t"),
    Filter(worker="host:1"),
    Filter(workflow="01977300-0000-7000-8000-000000000000"),
]


@pytest.mark.parametrize("cursor", [None, "01977300-0000-7000-8000-000000000000"])
@pytest.mark.parametrize("few", [True, False])
async def test_a_look_at_history_reads_it_from_its_newest_job_on(
    yard: Yard, cursor: str | None, few: bool
) -> None:
    """Never all jobs, to be sorted then. Where a few live jobs are wanted, those are."""
    for which in FILTERS:
        recorder = Recorder(few)
        inspector = Inspector(yard.storages[0]._statements, recorder)
        await inspector.look(which, 0, 100, cursor, 1000)
        [text] = recorder.texts
        steps = await plan_of(yard.side, text)
        status = which.status
        live = status is not None and not status.terminal and few
        read = read_to_the_end(steps, limited=True)
        assert read <= ({"ready"} if live else set()), which
        sorts = [step for step in steps if step["Node Type"] == "Sort"]
        if not live and status not in (JobStatus.ACTIVE, JobStatus.BLOCKED) and not which.worker:
            # What was seen is sorted, to tell where it ended; nothing before.
            assert all("seen" in str(step) or "found" in str(step) for step in sorts), which
            assert "Hash Join" not in {step["Node Type"] for step in steps}, which
