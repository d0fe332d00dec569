"""Jobs in PostgreSQL: durable, shared by many machines."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeVar
from uuid import UUID

import asyncpg

from backroom.clock import SystemClock
from backroom.errors import ConfigurationError, LeaseLostError, StorageError
from backroom.job import SECOND, JobInfo, JobRecord, JobStats, State, duration
from backroom.ports import (
    Capabilities,
    Claimed,
    Clock,
    Filter,
    Heartbeat,
    Inserted,
    Outlook,
    Pruned,
    Reclaimed,
    Report,
    Wake,
    Want,
    WorkerSpec,
)
from backroom.storage.postgres.begun import Begun
from backroom.storage.postgres.groups import Group
from backroom.storage.postgres.inserts import Addition, Inserts
from backroom.storage.postgres.links import Links, is_of_values, masked
from backroom.storage.postgres.looking import Inspector
from backroom.storage.postgres.outcomes import Outcomes, Results
from backroom.storage.postgres.schema import prepare
from backroom.storage.postgres.statements import Statements
from backroom.storage.postgres.texts import from_text, to_id, to_text
from backroom.storage.postgres.wakeup import Bells
from backroom.transition import Claim, Transition

__all__ = ["DatabaseJobStorage"]

log = logging.getLogger("backroom.storage")

T = TypeVar("T")

DEFAULT_RETENTION: Final = timedelta(days=7)
MOST_BYTES: Final = 32 * 2**20
"""Of data that one claim takes at most, where it takes more than one job."""
BULK: Final = 1000
"""How many jobs one transaction of a bulk change touches."""
LOOKS: Final = 20
"""Pages of jobs that one call of `prune` looks through at most."""


class DatabaseJobStorage:
    """Jobs in the tables of a PostgreSQL database, from version 14 on.

    Safe for many loops, processes and machines. A worker that dies is noticed when its lease
    ends. Lease time is the server's.

    Args:
        url: `postgresql://user:password@host:port/database`.
        table_name: of the table of jobs; the names of the others begin with it.
        schema: where the tables are; None: the first one of the `search_path`.
        retention: how long ended jobs are kept; seconds or a `timedelta`, None for ever.
        clock: for tests: tells the lease time, too.

    Raises:
        ConfigurationError: a name that is no plain identifier, or no URL of PostgreSQL.
    """

    capabilities = Capabilities(durable=True, shared=True)

    def __init__(
        self,
        url: str,
        *,
        table_name: str = "background_jobs",
        schema: str | None = None,
        retention: float | timedelta | None = DEFAULT_RETENTION,
        clock: Clock | None = None,
    ) -> None:
        if not str(url).startswith(("postgresql://", "postgres://")):
            raise ConfigurationError(
                f"{masked(str(url))!r} is no URL of PostgreSQL; write"
                " postgresql://user:password@host/database"
            )
        try:
            self.retention = None if retention is None else duration("retention", retention)
        except ValueError as error:
            raise ConfigurationError(str(error)) from None
        self.clock: Clock = clock or SystemClock()
        self._virtual = clock is not None
        self._statements = Statements(table_name, schema)
        self._links = Links(url)
        self._inserts: dict[asyncio.AbstractEventLoop, Group[Addition, list[Inserted]]] = {}
        self._outcomes: dict[asyncio.AbstractEventLoop, Group[Results, list[bool]]] = {}
        self._bells = Bells(self._links, self._statements.channel)
        self._users = 0
        self._queues: set[str] = set()
        self._begun: dict[int, Begun] = {}
        self._parked = True
        """Some jobs may be parked."""
        self._pruned_to = UUID(int=0)
        self._adding = Inserts(self._statements, self._queues)
        self._ending = Outcomes(self._statements)

    @property
    def url(self) -> str:
        return masked(self._links.url)

    # -- life ------------------------------------------------------------------------------------

    async def open(self) -> None:
        self._users += 1
        if self._links.open:
            return
        self._links.open = True
        try:
            await self._links.run(lambda link: prepare(link, self._statements))
        except BaseException:
            self._users -= 1
            if not self._users:
                await self._links.close()
            raise

    async def close(self) -> None:
        self._users -= 1
        if self._users > 0 or not self._links.open:
            return
        for inserts in self._inserts.values():
            await inserts.settled()
        for outcomes in self._outcomes.values():
            await outcomes.settled()
        await self._bells.close()
        await self._links.close()
        self._inserts.clear()
        self._outcomes.clear()

    def _lease_now(self) -> float | None:
        """None: the server's."""
        return self.clock.uptime() if self._virtual else None

    async def _fetch(self, name: str, *arguments: Any) -> list[Any]:
        text = self._statements[name]
        return await self._links.run(lambda link: link.fetch(text, *arguments))

    async def _change(self, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        """In a transaction of its own."""

        async def whole(link: asyncpg.Connection) -> T:
            async with link.transaction():
                return await work(link)

        return await self._links.run(whole)

    async def _carry(
        self, work: Callable[[asyncpg.Connection], Awaitable[T]], one_statement: bool
    ) -> T:
        """One statement is a transaction by itself: no word more on the way."""
        return await (self._links.run(work) if one_statement else self._change(work))

    def _ring(self, *wakes: Wake) -> None:
        self._bells.ring(wakes)

    # -- the hot path ----------------------------------------------------------------------------

    def insert(
        self, jobs: Sequence[JobRecord], now: int, *, worker: int | None = None, start: bool = False
    ) -> Awaitable[list[Inserted]]:
        loop = asyncio.get_running_loop()
        group = self._inserts.get(loop)
        if group is None:
            group = self._inserts[loop] = Group(self._add, Addition.size, Inserts.MOST, 2)
        return group.add(Addition(jobs, now, worker, start))

    async def _add(self, additions: Sequence[Addition]) -> list[list[Inserted] | BaseException]:
        answers: list[list[Inserted] | BaseException]
        word = self._bells.along()
        try:
            answers = list(
                await self._carry(
                    lambda link: self._adding.add(link, additions, word),
                    self._adding.is_one(additions),
                )
            )
        except StorageError as error:
            if len(additions) == 1 or not is_of_values(error):
                return [error] * len(additions)
            answers = []
            for one in additions:  # Whose fault it was is not known.
                answers += await self._add([one])
            return answers
        for one, said in zip(additions, answers, strict=True):
            if one.worker is not None and isinstance(said, list):
                claims = [made.claim for made in said if made.claim is not None]
                self._of(one.worker).claimed.update((c.key, c.token) for c in claims)
        if any(one.waits for one in additions):
            self._bells.ring_here((Wake.JOBS,))
        return answers

    async def claim(self, worker: int, want: Want, now: int) -> Claimed:
        return await self._links.run(lambda link: self._claim(link, worker, want, now))

    async def _claim(self, link: Any, worker: int, want: Want, now: int) -> Claimed:
        queues = None if want.queues is None else [to_text(name) for name in want.queues]
        arguments: list[Any] = [
            queues, list(want.rooms), now, worker, want.starts,
            min(want.starving, want.rooms[3]), want.starving_since, MOST_BYTES,
            [to_text(name) for name in want.but],
        ]  # fmt: skip
        parked, text = self._parked, self._statements["claim"]
        if parked:
            text = self._statements["claim_parked"]
            arguments.append([to_text(kind) for kind in want.types])
        rows = await link.fetch(text, *arguments)
        if not rows[0]["living"]:
            raise _dead(worker)
        self._parked = rows[0]["parked"]
        unseen = self._parked and not parked  # Some were parked, and this claim passed them over.
        claims = [_claim(row) for row in rows] if rows[0]["id"] is not None else []
        started = min(want.starts, len(claims))
        self._of(worker).claimed.update((claim.key, claim.token) for claim in claims)
        full = len(claims) >= max(want.rooms) or rows[0]["due"] > len(claims)
        if claims and (full or unseen):
            return Claimed(claims, started, True, None)
        if unseen:
            return await self._claim(link, worker, want, now)
        following = await link.fetchval(
            self._statements["next"], queues, [to_text(name) for name in want.but]
        )
        more = following is not None and following <= now
        return Claimed(claims, started, more, None if more else following)

    async def finish(self, worker: int, transitions: Sequence[Transition]) -> list[bool]:
        loop = asyncio.get_running_loop()
        group = self._outcomes.get(loop)
        if group is None:
            group = self._outcomes[loop] = Group(self._end, Results.size, Outcomes.MOST, 2)
        return await group.add(Results(worker, transitions))

    async def _end(self, results: Sequence[Results]) -> list[list[bool] | BaseException]:
        now = self.clock.now()
        try:
            answers = await self._carry(
                lambda link: self._ending.finish(link, results, now), self._ending.is_one(results)
            )
        except Exception as error:
            if not is_of_values(error):
                return [error] * len(results)
            if len(results) == 1:
                return [await self._end_apart(results[0], now)]
            apart: list[list[bool] | BaseException] = []
            for one in results:  # Whose fault it was is not known.
                apart += await self._end([one])
            return apart
        for said, stands in zip(results, answers, strict=True):
            self._of(said.worker).finished(said.transitions, stands)
        self._ring(Wake.FINISHED)
        states = {t.state for one in results for t in one.transitions}
        self._parked = self._parked or State.PARKED in states
        if State.PARKED in states or State.WAITING in states:
            self._ring(Wake.JOBS)
        return list(answers)

    async def _end_apart(self, results: Results, now: int) -> list[bool]:
        """Each outcome by itself: one that cannot be written fails its job, and says so."""
        stands: list[bool] = []
        for one in results.transitions:
            for last, transition in ((False, one), (True, one.unkept(now))):
                alone = [Results(results.worker, [transition])]
                try:
                    [answer] = await self._change(
                        partial(self._ending.finish, results=alone, now=now)
                    )
                except Exception as error:
                    if not is_of_values(error):
                        raise  # Asked again: what was written before stands.
                    log.exception("what was said of one job could not be kept")
                    if last:
                        stands.append(False)
                else:
                    self._of(results.worker).finished([one], answer)
                    stands.append(answer[0] and not last)
                    break
        self._ring(Wake.FINISHED)
        return stands

    # -- the life of a worker --------------------------------------------------------------------

    async def enlist(self, spec: WorkerSpec) -> Heartbeat:
        asked = self.clock.uptime()
        [row] = await self._fetch(
            "enlist", spec.name, spec.lease, self.clock.now(), self._lease_now()
        )
        return Heartbeat(row[0], asked + spec.lease)

    async def extend(self, worker: int) -> Heartbeat:
        asked = self.clock.uptime()

        async def extend(link: Any) -> Heartbeat:
            rows = await link.fetch(self._statements["extend"], worker, self._lease_now())
            if not rows:
                raise _dead(worker)
            cancelled = await link.fetch(self._statements["asked_to_end"], worker)
            return Heartbeat(worker, asked + rows[0][0], tuple(row[0].int for row in cancelled))

        return await self._links.run(extend)

    async def retire(self, worker: int) -> None:
        async def retire(link: Any) -> int:
            await link.execute(self._statements["lock_worker"], worker)
            back = await self._let_go(link, worker, ())
            await link.execute(self._statements["dismiss"], [worker])
            self._begun.pop(worker, None)
            return back

        if await self._change(retire):
            self._ring(Wake.JOBS, Wake.FINISHED)

    async def start(self, worker: int, keys: Sequence[int]) -> None:
        begun = self._of(worker)
        unknown = [to_id(key) for key in keys if key not in begun.claimed]
        if unknown:
            for id_, token in await self._fetch("tokens_of", worker, unknown):
                begun.claimed[id_.int] = token
        begun.mark(keys)
        if not await self._write_begun(worker, begun):
            raise _dead(worker)

    def _of(self, worker: int) -> Begun:
        return self._begun.setdefault(worker, Begun())

    async def _write_begun(self, worker: int, begun: Begun) -> bool:
        """Durable with what was marked before; False where the worker was declared dead. One
        after the other: each writes all."""
        async with begun.writing:
            ids = [to_id(key) for key in begun.marks]
            return bool(await self._fetch("start", worker, ids, list(begun.marks.values())))

    def note_start(self, worker: int, claim: Claim) -> None:
        """Nothing to note it in: what counts as started is charged."""

    async def give_back(self, worker: int, keep: Sequence[tuple[int, int]]) -> int:
        group = self._inserts.get(asyncio.get_running_loop())
        if group is not None:  # What nobody waits for any more may claim a job.
            await group.settled()
        back = await self._change(lambda link: self._let_go(link, worker, keep))
        if back:
            self._ring(Wake.JOBS, Wake.FINISHED)
        return back

    async def _let_go(self, link: Any, worker: int, keep: Collection[tuple[int, int]]) -> int:
        kept = {(to_id(key), token) for key, token in keep}
        tokens, back = [], []
        for token, ids in await link.fetch(self._statements["holds"], worker):
            gone = [one for one in ids if (one, token) not in kept]
            if gone:
                tokens.append(token)
                back += gone
        if back:
            await link.execute(self._statements["keep"], tokens, back)
            await link.execute(self._statements["drop_empty"], worker)
            await link.execute(self._statements["release"], back, self.clock.now())
            self._of(worker).forget(id_.int for id_ in back)
        return len(back)

    async def disown(self, worker: int, keys: Sequence[int]) -> None:
        begun = self._of(worker)
        begun.unmark(keys)
        await self._write_begun(worker, begun)
        await self._fetch("disown", worker, [to_id(key) for key in keys], self.clock.now())

    async def report(self, worker: int, reports: Sequence[Report]) -> None:
        try:
            await self._change(lambda link: self._ending.report(link, reports))
        except StorageError as error:
            if not is_of_values(error):
                raise
            for one in reports if len(reports) > 1 else ():
                await self.report(worker, [one])

    async def reclaim(self, now: int) -> Reclaimed:
        async def reclaim(link: Any) -> Reclaimed:
            text = self._statements
            dead = {row[0]: row[1] for row in await link.fetch(text["dead"], self._lease_now())}
            if not dead:
                return Reclaimed()
            back: list[Any] = []
            crashed = 0
            for worker, ids, started in await link.fetch(text["seize"], list(dead)):
                back += ids
                if started:
                    reason = f"the worker {dead[worker]} died while it ran this job"
                    await link.execute(text["charge"], started, now, reason)
                    await link.execute(text["trim_errors"], started, Outcomes.ERRORS)
                    crashed += len(started)
            if back:
                await link.execute(text["release"], back, now)
            await link.execute(text["dismiss"], list(dead))
            return Reclaimed(tuple(dead.values()), crashed, len(back) - crashed)

        reclaimed = await self._change(reclaim)
        if reclaimed.workers:
            self._ring(Wake.JOBS, Wake.FINISHED)
        return reclaimed

    async def prune(self, now: int, limit: int) -> Pruned:
        text = self._statements

        async def expire(link: Any) -> int:
            [(expired,)] = await link.fetch(text["expire"], now, limit)
            return int(expired)

        touched, more = 0, False
        if self.retention is not None:
            cutoff = now - round(self.retention * SECOND)
            touched, more = await self._links.run(lambda link: self._prune(link, cutoff, limit))
        if touched >= limit:
            return Pruned(touched, True)
        expired = await self._change(expire)
        if expired:
            self._ring(Wake.FINISHED)
        return Pruned(touched + expired, more or expired >= limit)

    async def _prune(self, link: Any, cutoff: int, limit: int) -> tuple[int, bool]:
        """Walks what ended in the order in which it was made, from where it last stopped."""
        text, removed = self._statements, 0
        for _ in range(LOOKS):
            rows = await link.fetch(text["old"], self._pruned_to, limit)
            old = [row["id"] for row in rows if row["finished_at"] < cutoff]
            done = len(rows) < limit or rows[-1]["created_at"] >= cutoff
            last = UUID(int=0) if done else rows[-1]["id"]
            if len(old) > limit - removed:
                del old[limit - removed :]
                done, last = False, old[-1]
            if old:
                removed += len(await link.fetch(text["forget_ended"], old, cutoff))
            self._pruned_to = last
            if done or removed >= limit:
                return removed, not done
        return removed, True

    def subscribe(self, callback: Callable[[Wake], None]) -> Callable[[], None]:
        return self._bells.subscribe(callback)

    # -- Inspection ----------------------------------------------------------------------------

    async def _ask(self, look: Callable[[Inspector], Awaitable[T]]) -> T:
        async def ask(link: Any) -> T:
            async with link.transaction(isolation="repeatable_read", readonly=True):
                return await look(Inspector(self._statements, link))

        return await self._links.run(ask)

    async def _steer(self, change: Callable[[Inspector], Awaitable[T]], *wakes: Wake) -> T:
        answer = await self._change(lambda link: change(Inspector(self._statements, link)))
        if wakes:
            self._ring(*wakes)
        return answer

    async def find(self, job_id: str, now: int) -> JobInfo | None:
        return await self._ask(lambda jobs: jobs.find(job_id, now))

    async def outlook(self, ids: Sequence[str], now: int) -> dict[str, Outlook]:
        return await self._ask(lambda jobs: jobs.outlook(ids, now))

    async def page(
        self, which: Filter, now: int, limit: int, cursor: str | None
    ) -> tuple[list[JobInfo], str | None]:
        return await self._ask(lambda jobs: jobs.page(which, now, limit, cursor))

    async def stats(self, now: int) -> JobStats:
        return await self._ask(lambda jobs: jobs.stats(now))

    async def queues(self) -> dict[str, bool]:
        return {from_text(name): paused for name, paused in await self._fetch("queues")}

    async def retry(self, which: str | Filter, now: int) -> int:
        if isinstance(which, str):
            await self._steer(lambda jobs: jobs.retry(which, now), Wake.JOBS)
            return 1
        return await self._bulk(
            which, now, True, lambda jobs, keys: jobs.retry_some(which, keys, now), Wake.JOBS
        )

    async def cancel(self, which: str | Filter, now: int) -> int:
        wakes = (Wake.CONTROL, Wake.FINISHED)
        if isinstance(which, str):
            return await self._steer(lambda jobs: jobs.cancel(which, now), *wakes)
        return await self._bulk(
            which, now, False, lambda jobs, keys: jobs.cancel_some(which, keys, now), *wakes
        )

    async def delete(self, which: str | Filter) -> int:
        if isinstance(which, str):
            await self._steer(lambda jobs: jobs.delete(which))
            return 1
        now = self.clock.now()
        return await self._bulk(which, now, True, lambda jobs, keys: jobs.delete_some(which, keys))

    async def _bulk(
        self,
        which: Filter,
        now: int,
        ended: bool,
        change: Callable[[Inspector, Sequence[Any]], Awaitable[int]],
        *wakes: Wake,
    ) -> int:
        """One look and one transaction a page: jobs that have become something else since the
        look are left alone."""
        total, after = 0, UUID(int=0)
        while True:
            choose = partial(
                Inspector.chosen, which=which, now=now, ended=ended, after=after, limit=BULK
            )
            keys = await self._ask(choose)
            if keys:
                total += await self._steer(partial(_apply, change, keys), *wakes)
            if len(keys) < BULK:
                return total
            after = keys[-1]

    async def pause(self, queue: str, paused: bool) -> None:
        await self._fetch("pause", to_text(queue), paused)
        self._ring(*((Wake.CONTROL,) if paused else (Wake.CONTROL, Wake.JOBS)))


def _apply(
    change: Callable[[Inspector, Sequence[Any]], Awaitable[int]],
    keys: Sequence[Any],
    jobs: Inspector,
) -> Awaitable[int]:
    return change(jobs, keys)


def _dead(worker: int) -> LeaseLostError:
    return LeaseLostError(
        f"worker {worker} was declared dead: it did not extend its lease in time, and its jobs"
        " went to others"
    )


def _claim(row: Any) -> Claim:
    id_ = row["id"]
    return Claim(
        id_.int, row["token"], str(id_), from_text(row["type"]), from_text(row["queue"]),
        row["priority"], row["run_at"], row["created_at"], row["data"], row["options"],
        row["expires_at"], row["attempt"], row["crashes"], row["budget"],
    )  # fmt: skip
