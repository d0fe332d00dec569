"""The storage of a world: a real one, which carries out one call at a time, and says what it did.

What it says is what it answered, and what its own look-ups tell: none of it comes from the
processes, so a checker can hold the one against the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import msgspec

from backroom.errors import DuplicateJobError
from backroom.flow import FlowRecord, Kept, Piece, Role
from backroom.inspecting import Outlook
from backroom.job import PRIORITIES, Hold, JobRecord, State, microseconds
from backroom.limit import LimitInfo
from backroom.ports import Claimed, Clock, Heartbeat, Inserted, Reclaimed, Store
from backroom.schedule import Firing, ScheduleRecord, Tick
from backroom.transition import Claim, Transition
from tests.simulation.history import History

if TYPE_CHECKING:
    from tests.simulation.network import Remote

__all__ = ["Data", "Row", "Server", "at_once", "on_loop"]

T = TypeVar("T")


class Row(NamedTuple):
    """A tick, or several in a row that were skipped."""

    at: int
    until: int
    outcome: str
    job: int | None
    """The number of its job."""


class Data(msgspec.Struct):
    """What every job of a world carries."""

    n: int
    """Its number."""
    acts: list[str]
    """What its handler does, run by run; the last one again and again."""


CHANGES: Final = {
    "insert_flow", "finish", "give_back", "retire", "reclaim", "cancel", "retry", "prune",
}  # fmt: skip
"""After these, jobs of workflows may stand otherwise that nobody named."""

_data_decoder = msgspec.json.Decoder(Data)


COUNTED: Final = 50
"""Calls, after which the numbers that are kept are compared with the jobs."""


class Server:
    """Carries out calls on the backend of their caller."""

    def __init__(
        self,
        history: History,
        clock: Clock,
        carry_out: Callable[[Callable[[], Awaitable[Any]]], Any],
        number: Callable[[], int],
    ) -> None:
        """`carry_out` makes a call, and runs it to its end; `number` gives the next number of a
        job, for those that nobody has sent here."""
        self._history = history
        self.clock = clock
        self._run = carry_out
        self._number = number
        self.ids: dict[str, int] = {}
        """Of every job that was ever sent here, its number."""
        self._keys: dict[int, int] = {}
        self._calls = 0
        self._names = 0
        self._workers: dict[int, int] = {}
        self._first_token: int | None = None
        self._seen: dict[int, str] = {}
        self._carried: dict[int, int] = {}
        """By the number of a job whose data was replaced: whose data it has."""
        self._names_of: dict[int, tuple[str, str | None]] = {}
        """By the number of a job: its type and its unique key."""
        self._members: dict[str, str] = {}
        """Of jobs of workflows: how each stood when it was looked at last."""
        self._tell: dict[str, Callable[..., None]] = {
            "insert": self._inserted,
            "insert_flow": self._composed,
            "enlist": self._enlisted,
            "claim": self._claimed,
            "start": self._counted,
            "finish": self._finished,
            "give_back": self._given_back,
            "disown": self._disowned,
            "retire": self._retired,
            "extend": self._extended,
            "reclaim": self._reclaimed,
            "put_schedule": self._schedule_put,
            "pause_schedule": self._schedule_switched,
            "fire": self._fired,
        }

    def carry_out(self, remote: Remote, verb: str, args: Any, kwargs: Any) -> Any:
        """One call of a process."""
        if verb == "enlist":
            self._names += 1
            args = (msgspec.structs.replace(args[0], name=f"{remote.machine.name}#{self._names}"),)
        try:
            answer = self._run(lambda: getattr(remote.backend, verb)(*args, **kwargs))
        except DuplicateJobError as refusal:
            flow = verb == "insert_flow"
            jobs = [one.record for one in args[1].members] if flow else args[0]
            self._refused(refusal, jobs, flow)
            raise
        tell = self._tell.get(verb)
        if tell is not None:
            tell(remote, answer, *args, **kwargs)
        if verb in CHANGES and self._members and _may_end(verb, answer, args):
            self._look_at_members(remote)
        if verb == "prune" and answer.touched:
            self._look(remote, "prune", "")
        elif verb in ("cancel", "retry", "delete"):
            self._look(remote, verb, "" if not isinstance(args[0], str) else args[0])
        elif verb == "pause":
            self._note("pauses" if args[1] else "resumes", queue=args[0])
        elif verb == "limit_queue":
            self._note("limits", queue=args[0], most=args[1])
        self._calls += 1
        if self._calls % COUNTED == 0:
            self.count(remote.backend)
        return answer

    def count(self, backend: Any) -> None:
        """Notes which numbers that are kept are not those that are there, and which jobs are where
        nobody would ever come for them."""
        wrong = self._run(backend.miscounted)
        if wrong:
            self._note("miscounts", numbers=wrong)
        for id_ in self._run(lambda: backend.stranded(None, 10**6)).ids:
            self._note("strands", self.ids[id_])

    def begun(self, remote: Remote, worker: int, claim: Claim) -> None:
        """User code of a claim begins, in its process."""
        remote.backend.note_start(worker, claim)
        self._history.note(
            remote.machine.name, "begins", self.ids[claim.id],
            token=self.token(claim.token), worker=self.worker(worker), attempt=claim.attempt + 1,
        )  # fmt: skip

    def worker(self, number: int) -> int:
        """A worker by the order of enlisting: a storage may begin its numbers anywhere."""
        return self._workers.setdefault(number, len(self._workers) + 1)

    def token(self, token: int) -> int:
        """A token, counted from the first one that was seen."""
        if self._first_token is None:
            self._first_token = token
        return token - self._first_token + 1

    def outlooks(self, backend: Store) -> dict[int, Outlook]:
        """How all jobs stand."""
        ids = list(self.ids)
        found: dict[str, Outlook] = {}
        for at in range(0, len(ids), 500):
            some = ids[at : at + 500]
            found |= self._run(lambda some=some: backend.outlook(some, self.clock.now()))
        return {self.ids[id_]: outlook for id_, outlook in found.items()}

    # -- what it did -----------------------------------------------------------------------------

    def _note(self, what: str, job: int | None = None, **more: Any) -> None:
        self._history.note("storage", what, job, **more)

    def _inserted(
        self,
        remote: Remote,
        answer: list[Inserted],
        jobs: Sequence[JobRecord],
        now: int,
        *,
        worker: int | None = None,
        start: bool = False,
    ) -> None:
        for record in jobs:
            self.ids.setdefault(record.id, _data_decoder.decode(record.data).n)
        batch = [self.ids[record.id] for record in jobs]
        for record, inserted in zip(jobs, answer, strict=True):
            n = self.ids[record.id]
            if inserted.created:
                self._keeps(record, batch if len(batch) > 1 else [])
            elif inserted.id != record.id:
                self._note(
                    "has already", n, other=self.ids[inserted.id], key=record.unique_key,
                    made=record.created_at,
                )  # fmt: skip
            if inserted.claim is not None and worker is not None:
                self._grant(inserted.claim, worker, start, now)
        for id_ in {
            inserted.id: None
            for record, inserted in zip(jobs, answer, strict=True)
            if inserted.id != record.id and record.hold and record.hold.on_conflict == "replace"
        }:
            self._look_whose(remote, id_)

    def _keeps(self, record: JobRecord, batch: list[int]) -> None:
        hold = record.hold or Hold()
        self._names_of[self.ids[record.id]] = record.type, record.unique_key
        self._note(
            "keeps", self.ids[record.id], type=record.type, key=record.unique_key,
            priority=record.priority, queue=record.queue, run_at=record.run_at, batch=batch,
            made=record.created_at, until=hold.until, how=hold.on_conflict,
        )  # fmt: skip

    def _look_whose(self, remote: Remote, id_: str) -> None:
        """Somebody may have replaced the data of this job."""
        info = self._run(lambda: remote.backend.find(id_, self.clock.now()))
        if info is None:
            return
        n, by = self.ids[id_], info.data["n"]
        if self._carried.get(n, n) != by:
            self._carried[n] = by
            self._note(
                "is replaced", n, by=by, queue=info.queue, priority=PRIORITIES.index(info.priority),
                run_at=microseconds(info.run_at),
            )  # fmt: skip

    def _refused(
        self, refusal: DuplicateJobError, jobs: Sequence[JobRecord], flow: bool = False
    ) -> None:
        """Nothing of a call was kept. Who has the key may be another job of it."""
        holder = self.ids.get(refusal.job_id)
        if holder is None:
            return
        job = jobs[refusal.index or 0]
        if flow:  # It has no numbers.
            [job] = [one for one in jobs if (one.type, one.unique_key) == self._names_of[holder]]
        n = _data_decoder.decode(job.data).n
        self._note("is refused", n, other=holder, key=job.unique_key, made=job.created_at)

    def _schedule_put(self, remote: Remote, answer: ScheduleRecord, said: ScheduleRecord) -> None:
        self._note("keeps a schedule", record=answer)

    def _schedule_switched(
        self,
        remote: Remote,
        answer: ScheduleRecord | None,
        name: str,
        paused: bool,
        next_at: int | None,
        *,
        revision: int,
        tick: Tick | None = None,
    ) -> None:
        if answer is not None:
            self._note("switches a schedule", record=answer, tick=tick and self.row(tick))

    def _fired(
        self, remote: Remote, answer: list[bool], firings: Sequence[Firing], now: int
    ) -> None:
        for firing, stood in zip(firings, answer, strict=True):
            if not stood:
                continue
            for record in firing.jobs:
                if record.id in self.ids:  # Said again.
                    continue
                n = self.ids[record.id] = self._number()
                acts = _data_decoder.decode(record.data).acts
                self._note("schedules", n, type=record.type, acts=acts)
                self._keeps(record, [])
            self._note(
                "fires", name=firing.schedule, expected=firing.expected, next_at=firing.next_at,
                revision=firing.revision, rows=sorted(map(self.row, firing.ticks)),
            )  # fmt: skip

    def row(self, tick: Tick) -> Row:
        return Row(
            tick.at, tick.until, tick.outcome, None if tick.job is None else self.ids[tick.job]
        )

    def timetable(self, backend: Any) -> dict[str, tuple[ScheduleRecord, list[Row]]]:
        """All schedules, each with the ticks that are kept of it, oldest first."""
        found: dict[str, tuple[ScheduleRecord, list[Row]]] = {}
        for record in self._run(backend.schedules):
            ticks = self._run(lambda name=record.name: backend.ticks(name, 1000))
            found[record.name] = record, sorted(map(self.row, ticks))
        return found

    def flows(self, backend: Any) -> list[Kept]:
        """All workflows that are kept."""
        found: list[Kept] = []
        while True:
            before = found[-1].record.id if found else None
            page: list[Kept] = self._run(lambda before=before: backend.flows(500, before))
            if not page:
                return found
            found += page

    def limits(self, backend: Any) -> list[LimitInfo]:
        """All limits."""
        found: list[LimitInfo] = self._run(backend.limits)
        return found

    def _grant(self, claim: Claim, worker: int, counted: bool, now: int) -> None:
        if claim.id not in self.ids:
            self.ids[claim.id] = self._number()
            self._note("appears", self.ids[claim.id])
        n = self._keys[claim.key] = self.ids[claim.id]
        self._seen.pop(n, None)
        self._note(
            "grants", n, token=self.token(claim.token), worker=self.worker(worker), counted=counted,
            attempt=claim.attempt, budget=claim.budget, crashes=claim.crashes, now=now,
        )  # fmt: skip

    def has_forgotten(self, jobs: Sequence[JobRecord]) -> bool:
        """Whether retention, or people, have removed one of these jobs."""
        return any(self._seen.get(self.ids.get(job.id, 0)) == "gone" for job in jobs)

    def _enlisted(self, remote: Remote, beat: Heartbeat, spec: Any) -> None:
        self._note(
            "enlists", worker=self.worker(beat.worker), process=remote.machine.name,
            lease=spec.lease, name=spec.name,
        )  # fmt: skip

    def _extended(self, remote: Remote, beat: Heartbeat, worker: int) -> None:
        self._note("extends", worker=self.worker(worker))

    def _claimed(self, remote: Remote, answer: Claimed, worker: int, want: Any, now: int) -> None:
        for place, claim in enumerate(answer.claims):
            self._grant(claim, worker, place < answer.started, now)

    def _counted(self, remote: Remote, answer: None, worker: int, keys: Sequence[int]) -> None:
        for key in keys:
            self._note("counts", self._keys[key], worker=self.worker(worker))

    def _finished(
        self, remote: Remote, answer: list[bool], worker: int, transitions: Sequence[Transition]
    ) -> None:
        for one, stood in zip(transitions, answer, strict=True):
            self._note(
                "ends" if stood else "refuses", self._keys[one.key],
                state=State(one.state).name, token=self.token(one.token),
                worker=self.worker(worker), attempt=one.attempt, crashed=one.crashed,
                **({} if one.run_at is None else {"run_at": one.run_at}),
            )  # fmt: skip

    def _given_back(
        self, remote: Remote, answer: int, worker: int, keep: Sequence[tuple[int, int]]
    ) -> None:
        kept = sorted(
            (self._keys[key], self.token(token)) for key, token in keep if key in self._keys
        )
        self._note("takes back", worker=self.worker(worker), kept=kept, count=answer)

    def _disowned(self, remote: Remote, answer: None, worker: int, keys: Sequence[int]) -> None:
        self._note(
            "disowns", worker=self.worker(worker), of=sorted(self._keys[key] for key in keys)
        )

    def _retired(self, remote: Remote, answer: None, worker: int) -> None:
        self._note("retires", worker=self.worker(worker))

    def _reclaimed(self, remote: Remote, answer: Reclaimed, now: int) -> None:
        if answer.workers:
            self._note(
                "reclaims", names=list(answer.workers), crashed=answer.crashed,
                untouched=answer.untouched,
            )  # fmt: skip

    # -- workflows -------------------------------------------------------------------------------

    def _composed(
        self, remote: Remote, answer: None, flow: FlowRecord, piece: Piece, now: int
    ) -> None:
        new = [one for one in piece.members if one.record.id not in self._members]
        for member in new:
            record = member.record
            self.ids[record.id] = _data_decoder.decode(record.data).n
            self._members[record.id] = ""
            self._keeps(record, [])
        for member in new:
            before = [parent for parent, child in piece.edges if child == member.record.id]
            if member.role == Role.CALLBACK:
                before = [one.record.id for one in new if one.role == Role.JOB]
            self._note(
                "waits", self.ids[member.record.id], parents=[self.ids[id_] for id_ in before],
                anyway=member.anyway,
            )  # fmt: skip

    def _look_at_members(self, remote: Remote) -> None:
        """What has become of jobs that wait for others, or did."""
        ids = list(self._members)
        found = self._run(lambda: remote.backend.outlook(ids, self.clock.now()))
        for id_ in ids:
            status = str(found[id_].status) if id_ in found else "gone"
            if self._members[id_] != status:
                self._members[id_] = status
                self._note("flow: stands", self.ids[id_], status=status)

    def _look(self, remote: Remote, verb: str, only: str) -> None:
        """After what people did, or retention: how the jobs stand now."""
        ids = [only] if only else list(self.ids)
        found = self._run(lambda: remote.backend.outlook(ids, self.clock.now()))
        for id_ in ids:
            if id_ in self.ids:
                n = self.ids[id_]
                status = str(found[id_].status) if id_ in found else "gone"
                if only or self._seen.get(n) != status:
                    self._note(f"{verb}: stands", n, status=status, named=bool(only))
                self._seen[n] = status


def _may_end(verb: str, answer: Any, args: Any) -> bool:
    """Whether a job of a workflow may have ended by this, or others for it."""
    if verb == "finish":
        return any(one.tied for one in args[1])
    if verb == "reclaim":
        return bool(answer.workers)
    if verb == "prune":
        return bool(answer.touched)
    return verb != "give_back" or bool(answer)


def at_once(call: Callable[[], Awaitable[T]]) -> T:
    """The answer of a verb that never waits; where it gives others a turn, there is nobody."""
    coroutine: Any = call()
    try:
        while coroutine.send(None) is None:
            pass
    except StopIteration as answer:
        return answer.value  # type: ignore[no-any-return]
    raise AssertionError("this storage waits; it needs a loop")


def on_loop(loop: asyncio.AbstractEventLoop, call: Callable[[], Awaitable[T]]) -> T:
    """The same of a verb that waits, for a thread or a socket: on a loop of its own, while the
    world stands still."""
    world = asyncio._get_running_loop()
    asyncio._set_running_loop(None)

    async def run() -> T:
        return await call()

    try:
        return loop.run_until_complete(run())
    finally:
        asyncio._set_running_loop(world)
