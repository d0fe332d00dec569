"""Hundreds of worlds, no broken promise; and that a broken one would be found."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from backroom import claimer, lanes, scheduler, transition
from backroom.admitting import Gate
from backroom.calls import Calls
from backroom.claimer import Claimer
from backroom.flow import Piece
from backroom.flowing import keyed
from backroom.job import JobRecord
from backroom.lease import Lease
from backroom.recorder import Recorder
from backroom.storage.sqlite import (
    claims,
    flows,
    keys,
    limits,
    outcomes,
    schedules,
    turns,
    weaving,
    workers,
)
from backroom.storage.sqlite.keys import Keys
from backroom.worker import Worker
from tests.simulation.simulate import simulate

SOAK = os.environ.get("BACKROOM_SOAK") == "1"
"""Twice as many worlds."""
SEEDS = 504 if SOAK else 252
SHARES = 8
"""They are run by so many tests, to be spread over the cores."""
SCENARIOS = 56 if SOAK else 28
"""Over each of the real storages."""
CROWDS = (76, 296)
"""Of all worlds of the test run, two more with a crowd: over the real storages, too."""
FOUND = (158, 596, 636, 875, 881)
"""Over PostgreSQL: jobs starved where two groups of queues were claimed from in turn, since the
emptiness of one was taken for that of the other."""
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("share", range(SHARES))
def test_no_promise_is_broken(share: int) -> None:
    for seed in range(share, SEEDS, SHARES):
        outcome = simulate(seed)
        assert not outcome.trouble, outcome.trouble


@pytest.mark.parametrize("share", range(4))
def test_no_promise_is_broken_over_the_file_storage(share: int) -> None:
    for seed in (*range(share, SCENARIOS, 4), *CROWDS[share::4]):
        outcome = simulate(seed, kind="files")
        assert not outcome.trouble, outcome.trouble


@pytest.mark.parametrize("share", range(4))
def test_no_promise_is_broken_over_postgres(share: int) -> None:
    for seed in (*range(share, SCENARIOS, 4), *FOUND[share::4], *CROWDS[share::4]):
        outcome = simulate(seed, kind="postgres")
        assert not outcome.trouble, outcome.trouble


@pytest.mark.parametrize("arguments", [["--seed", "26", "--events"], ["--seed", "8", "--files"]])
def test_a_replay_prints_the_same_bytes(arguments: list[str]) -> None:
    said = [replay(arguments), replay(arguments)]
    assert said[0] == said[1]
    assert b"no promise is broken" in said[0]


def replay(arguments: list[str]) -> bytes:
    command = [sys.executable, "-m", "tests.simulation", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout


# -- that it would be found ------------------------------------------------------------------------

Plant = Callable[[pytest.MonkeyPatch], None]


def no_fence(patch: pytest.MonkeyPatch) -> None:
    """An outcome is taken whoever holds the job."""
    finish = outcomes.finish

    def unfenced(ledger: Any, worker: int, transitions: Any, now: int) -> list[bool]:
        for one in transitions:
            row = ledger.run("SELECT token FROM job WHERE key = ? AND state = 1", (one.key,))
            one.token = (row.fetchone() or (one.token,))[0]
        return finish(ledger, worker, transitions, now)

    patch.setattr(outcomes, "finish", unfenced)


def starts_uncounted(patch: pytest.MonkeyPatch) -> None:
    """Code runs before its start is durable."""
    patch.setattr(claims, "start", lambda ledger, worker, keys: None)


def starts_uncharged(patch: pytest.MonkeyPatch) -> None:
    """A crash costs nothing, and kills for ever."""
    patch.setattr(workers, "_charge", lambda *args: 0)


def lease_never_doubted(patch: pytest.MonkeyPatch) -> None:
    """A worker believes in its lease however long it has not heard of it."""
    patch.setattr(Lease, "stands", lambda self: True)


def lost_claims_kept(patch: pytest.MonkeyPatch) -> None:
    """Claims whose reply was lost are not given back."""

    async def nothing(self: Worker) -> None:
        await asyncio.sleep(0)

    patch.setattr(Worker, "_return_unknown", nothing)


def outcome_said_once(patch: pytest.MonkeyPatch) -> None:
    """An outcome that could not be written is forgotten."""
    patch.setattr(Recorder, "MAX_TRIES", 1, raising=False)

    async def write(self: Recorder, batch: Any) -> None:
        self._sent = [sent for sent in self._sent if sent is not batch]
        self._unrecorded -= len(batch)
        await self._storage.finish(self._worker(), [transition for _, transition in batch])
        self._recorded(batch)

    patch.setattr(Recorder, "_write", write)


def poison_for_ever(patch: pytest.MonkeyPatch) -> None:
    """A job may crash its workers as often as it likes."""
    patch.setattr(transition, "MAX_CRASHES", 1000)


def nothing_given_back(patch: pytest.MonkeyPatch) -> None:
    """A worker that leaves keeps what it holds."""

    async def nothing(self: Worker) -> None:
        for one in self._lanes:
            one.closed += 1

    patch.setattr(Worker, "_give_back_unstarted", nothing)
    patch.setattr(workers, "retire", lambda ledger, worker, now: None)


def stopped_worker_claims(patch: pytest.MonkeyPatch) -> None:
    """A worker that was told to stop goes on."""

    async def nothing(self: Claimer) -> None:
        await asyncio.sleep(0)

    patch.setattr(Claimer, "stop", nothing)
    patch.setattr(Worker, "_may_run", lambda self: self._lease.stands())
    patch.setattr(Worker, "_give_back_unstarted", nothing)


def result_told_early(patch: pytest.MonkeyPatch) -> None:
    """Callers hear of an outcome that is not written yet."""
    record = Recorder.record

    def early(self: Recorder, claim: Any, outcome: Any) -> None:
        record(self, claim, outcome)
        self._recorded([(claim, outcome)])

    patch.setattr(Recorder, "record", early)


def nothing_starves_alone(patch: pytest.MonkeyPatch) -> None:
    """The oldest job has no turn of its own."""
    patch.setattr(lanes, "EVERY", 10**9)


def dead_for_a_moment(patch: pytest.MonkeyPatch) -> None:
    """A worker counts as dead before its lease has ended."""
    dead = workers.workers
    patch.setattr(
        workers,
        "workers",
        lambda ledger: [one._replace(until=one.until - one.lease * 0.8) for one in dead(ledger)],
    )


def loop_keeps_the_lease(patch: pytest.MonkeyPatch) -> None:
    """The lease is extended by the loop that a handler may block."""
    from tests.simulation import loop

    patch.setattr(loop, "LEASE_THREAD", "nothing")


def one_word_for_all(patch: pytest.MonkeyPatch) -> None:
    """What a bulk handler says of one job holds for all that it runs."""
    say = Calls._say

    def say_of_all(self: Calls, running: Any, outcome: Any) -> None:
        for one in running.call.members:
            say(self, one, outcome)

    patch.setattr(Calls, "_say", say_of_all)


def first_of_many_counted(patch: pytest.MonkeyPatch) -> None:
    """Of the jobs that a bulk handler runs at once, the start of one is counted."""
    claims_of = claimer.claims_of
    patch.setattr(claimer, "claims_of", lambda items: [claims_of([item])[0] for item in items])


def keys_held_too_short(patch: pytest.MonkeyPatch) -> None:
    """A key that is to be held until the start, or for a period, is nobody's at once."""
    patch.setattr(Keys, "_holds", lambda self, holder, job: holder.until is None)


def keys_held_too_long(patch: pytest.MonkeyPatch) -> None:
    """Whoever had a key once has it."""
    patch.setattr(Keys, "_holds", lambda self, holder, job: True)


def running_jobs_replaced(patch: pytest.MonkeyPatch) -> None:
    """A job gets other data while it runs."""
    patch.setattr(Keys, "_waits", lambda self, holder, states: True)


def jobs_of_flows_replaced(patch: pytest.MonkeyPatch) -> None:
    """A job of a workflow gets the data of another one."""
    patch.setattr(keys, "LOOK", keys.LOOK.replace(keys.WOVEN, "0"))


def keys_of_flows_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Jobs of workflows hold no keys until they start, or for a period."""

    def until_the_end(piece: Piece) -> list[JobRecord]:
        return [job for job in keyed(piece) if job.hold is None or job.hold.until is None]

    patch.setattr(weaving, "keyed", until_the_end)


def ticks_unfenced(patch: pytest.MonkeyPatch) -> None:
    """What was decided of a tick is carried out whoever has decided it before."""
    patch.setattr(schedules._State, "lets", lambda self, firing: True)


def skipped_without_a_word(patch: pytest.MonkeyPatch) -> None:
    """Ticks that fire no job are not written down."""
    decide = scheduler.decide

    def decide_quietly(*args: Any) -> Any:
        firing = decide(*args)
        if firing is None or not firing.jobs:
            return firing
        fired = tuple(tick for tick in firing.ticks if tick.job is not None)
        return msgspec.structs.replace(firing, ticks=fired)

    patch.setattr(scheduler, "decide", decide_quietly)


def tick_lost(patch: pytest.MonkeyPatch) -> None:
    """A schedule goes on with the tick behind the next one."""
    decide = scheduler.decide

    def decide_too_far(record: Any, rule: Any, *args: Any) -> Any:
        firing = decide(record, rule, *args)
        if firing is None or firing.next_at is None:
            return firing
        return msgspec.structs.replace(firing, next_at=rule.next(firing.next_at))

    patch.setattr(scheduler, "decide", decide_too_far)


def tick_doubled(patch: pytest.MonkeyPatch) -> None:
    """Two jobs are made of a tick, of which one is written down."""
    jobs_to_make = schedules.jobs_to_make

    def twice(firings: Any, decided: set[str]) -> list[Any]:
        jobs = jobs_to_make(firings, decided)
        return jobs + [msgspec.structs.replace(job, id=job.id[::-1]) for job in jobs]

    patch.setattr(schedules, "jobs_to_make", twice)


def turns_ignored(patch: pytest.MonkeyPatch) -> None:
    """Jobs that are to take turns wait as all others do."""
    patch.setattr(turns, "in_turn", lambda ledger, job, now: job)


def turns_never_behind(patch: pytest.MonkeyPatch) -> None:
    """Each job has the first turn, as if it were the only one of its key."""
    patch.setattr(turns, "LAST", "SELECT 0 WHERE ?1 IS ?2 AND ?1 IS ?3")


def limits_overlooked(patch: pytest.MonkeyPatch) -> None:
    """Whoever is claimed may run."""
    patch.setattr(claims, "admitted", lambda ledger, worker, claimed, now: claimed)


def rates_overlooked(patch: pytest.MonkeyPatch) -> None:
    """A start moves nobody else's."""
    take = Gate.take
    patch.setattr(Gate, "take", lambda self, need, now: None if self.per else take(self, need, now))


def operators_unheard(patch: pytest.MonkeyPatch) -> None:
    """Workers hear nothing of what operators say of queues."""

    async def nothing(self: Worker, *, quietly: bool = False) -> None:
        await asyncio.sleep(0)

    patch.setattr(Worker, "_learn_limits", nothing)


def operators_overruled(patch: pytest.MonkeyPatch) -> None:
    """What operators say of a queue is kept, and holds over nothing."""
    patch.setattr(limits, "GATE", limits.GATE.replace("ifnull(own, most)", "most"))


def permits_kept(patch: pytest.MonkeyPatch) -> None:
    """What a job has held is nobody's again."""
    patch.setattr(limits, "let_go", lambda ledger, keys, now: None)


def children_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Nobody lets those go that wait for other jobs."""
    patch.setattr(flows, "_free", lambda ledger, jobs, now: None)


def flows_unfinished(patch: pytest.MonkeyPatch) -> None:
    """All jobs of a workflow end, and it does not."""
    patch.setattr(flows, "FINISHED", "SELECT ?1, ?2")


PLANTS: list[Plant] = [
    no_fence, starts_uncounted, starts_uncharged, lease_never_doubted, lost_claims_kept,
    outcome_said_once, poison_for_ever, nothing_given_back,
    stopped_worker_claims, nothing_starves_alone, result_told_early, dead_for_a_moment,
    loop_keeps_the_lease, one_word_for_all, first_of_many_counted, keys_held_too_short,
    keys_held_too_long, running_jobs_replaced, jobs_of_flows_replaced, keys_of_flows_forgotten,
    ticks_unfenced, skipped_without_a_word, tick_lost, tick_doubled, turns_ignored,
    turns_never_behind, limits_overlooked, rates_overlooked, permits_kept, children_forgotten,
    flows_unfinished, operators_unheard, operators_overruled,
]  # fmt: skip
TRIES = 120
"""Worlds in which each must be found."""
SEEN = {
    no_fence: 105,
    nothing_starves_alone: 42,
    result_told_early: 122,
    jobs_of_flows_replaced: 64,
    operators_unheard: 14,
    operators_overruled: 30,
}
"""Of what is seen in few worlds, one: it is looked at first."""


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_a_planted_fault_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    for seed in (SEEN.get(plant, 0), *range(TRIES)):
        trouble = simulate(seed).trouble
        if trouble:
            print(f"in world {seed}: {trouble}")
            return
    pytest.fail(f"{plant.__doc__} Nothing of it was seen in {TRIES} worlds")
