"""The part of a service that takes jobs: each is kept when it says so."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar, Unpack, overload
from uuid import UUID

from backroom.counting import Counts
from backroom.errors import (
    DuplicateJobError,
    OptionError,
)
from backroom.event import (
    JobScheduled,
)
from backroom.events import Events
from backroom.finding import Finding
from backroom.job import (
    JobId,
    JobOptions,
    JobRecord,
    to_datetime,
)
from backroom.once import check_once_key, insert_once
from backroom.registry import JobType
from backroom.reporter import Teller
from backroom.scheduling import JobRequest, RecordMaker
from backroom.tracing import Tracing
from backroom.transacting import Along
from backroom.transactions import Prepared, transactional
from backroom.worker import Worker

__all__ = ["Accepting"]

T = TypeVar("T")
R = TypeVar("R")

MAX_BATCH: Final = 100_000
"""Jobs in one `schedule_many`."""
CHUNK: Final = 500
"""Records made before the loop gets a turn."""


class Accepting(Finding):
    """Jobs go into a storage that `_ready` opens, or that is open already; of this process, its
    worker may take them at once."""

    _opened: bool
    _worker: Worker | None
    _tracing: Tracing | None
    _records: RecordMaker
    _events: Events
    _counts: Counts
    _teller: Teller

    @overload
    async def schedule(
        self, type: JobType[T, R], data: T, /, *, connection: object = None,
        **options: Unpack[JobOptions],
    ) -> JobId[R]: ...  # fmt: skip
    @overload
    async def schedule(
        self, type: str, data: Mapping[str, Any] | None = None, /, *, connection: object = None,
        **options: Unpack[JobOptions],
    ) -> JobId[Any]: ...  # fmt: skip
    async def schedule(
        self, type: Any, data: Any = None, /, *, connection: object = None, **options: Any
    ) -> JobId[Any]:
        """Keeps a job; when this returns, it will run.

        With a `connection` of the application's to the same PostgreSQL, the job is part of its
        transaction: it is there, and a worker is woken, when that commits, and never was when it
        is rolled back. It may be a connection of asyncpg, psycopg 3 or psycopg2, a session or
        connection of SQLAlchemy, or `django.db.connection`; along one without asyncio, the
        statements run in the thread that calls. Outside a transaction the job has one of its own.

        Returns its id; where it is `unique` and another job holds its key, that job's id.

        Raises:
            DuplicateJobError: another job holds its key, and it was to be told so
                (`Unique(on_conflict="raise")`); nothing was stored.
            UnknownJobTypeError, JobTypeError, OptionError, PayloadTooLargeError: nothing was
                stored; the message says what to mend.
            ConfigurationError: the storage has no transactions, or the connection leads to
                another database.
            ServiceStoppedError: after `stop`.
            StorageError: the storage did not answer; see its message. What is at fault with the
                application's connection is raised as its driver raises it.
        """
        if connection is not None:
            prepared = await self._prepare(self._along(connection), type, data, options)
            [job_id] = await prepared.insert()
            return job_id
        if not self._opened:
            await self._ready()
        if self._tracing is not None:
            with self._tracing.sending() as sending:
                record = self._records.make(type, data, options, self._clock.now())
                sending.made([record])
                return await self._keep(record)
        return await self._keep(self._records.make(type, data, options, self._clock.now()))

    async def _keep(self, record: JobRecord) -> JobId[Any]:
        worker = self._worker
        if worker is not None:
            inserted = await worker.insert(record)
        else:
            [inserted] = await self.storage.insert([record], record.created_at)
        if inserted.created:
            self._count_made((record,))
            if self._events.schedules:
                self._tell_scheduled([record])
        return JobId(inserted.id)

    async def schedule_many(
        self, requests: Sequence[JobRequest[R]], *, connection: object = None
    ) -> list[JobId[R]]:
        """Keeps all these jobs or none. At most 100,000. With a `connection`, as `schedule`.

        Raises:
            like `schedule`; the error's `index` and text say which request was refused.
        """
        if connection is not None:
            prepared = await self._prepare_many(self._along(connection), requests)
            return await prepared.insert()
        await self._ready()
        if self._tracing is None:
            now = self._clock.now()
            return await self._keep_all(await self._make_all(requests, now), now)
        with self._tracing.sending() as sending:
            now = self._clock.now()
            records = await self._make_all(requests, now)
            sending.made(records)
            return await self._keep_all(records, now)

    async def _keep_all(self, records: list[JobRecord], now: int) -> list[JobId[Any]]:
        if not records:
            return []
        try:
            inserted = await self.storage.insert(records, now)
        except DuplicateJobError as error:
            raise error.numbered() from None
        made = [record for record, one in zip(records, inserted, strict=True) if one.created]
        self._count_made(made)
        if self._events.schedules:
            self._tell_scheduled(made)
        return [JobId(one.id) for one in inserted]

    def _count_made(self, records: Sequence[JobRecord]) -> None:
        """These jobs were made here, or are about to be along a connection."""
        self._counts.made(records)
        if self._worker is None:
            self._teller.soon()

    def _tell_scheduled(self, records: Sequence[JobRecord]) -> None:
        self._events.tell(
            [
                JobScheduled(
                    at=to_datetime(record.created_at),
                    job_id=JobId(record.id),
                    type=record.type,
                    queue=record.queue,
                    run_at=to_datetime(record.run_at),
                )
                for record in records
            ]
        )

    async def schedule_once(
        self, key: str, type: str, data: Mapping[str, Any] | None = None, /,
        **options: Unpack[JobOptions],
    ) -> tuple[JobId[Any], bool]:  # fmt: skip
        """As `schedule`, for who may have to ask again because no answer came: whoever says the
        same key within a day gets the job that the first call made, as long as that is kept.

        Returns its id, and whether this call has made it.

        Raises:
            like `schedule`. OptionError: the key is no text of 1 to 255 printable characters, or
                was used for another type or other data.
        """
        key = check_once_key(key)
        await self._ready()
        now = self._clock.now()
        record = self._records.make(type, data, options, now)
        job_id, created = await insert_once(self.storage, key, record, now)
        if created:
            self._count_made((record,))
        return JobId(job_id), created

    async def copy_job(self, job_id: str | UUID) -> JobId[Any]:
        """Schedules a new job with the data, as it was written, and the options of this one, which
        runs at once; without its unique key, which this one may hold. Its type need not be known
        here: the copy is of the version of this one, and is brought forward by who runs it.

        Raises:
            JobNotFoundError. JobTypeError, OptionError: it cannot be made again; nothing was
            stored.
        """
        info = await self.get_job(job_id)
        return await self._keep(self._records.copied(info, self._clock.now()))

    async def _make_all(self, requests: Sequence[JobRequest[Any]], now: int) -> list[JobRecord]:
        try:
            requests = list(requests)
        except TypeError:
            raise OptionError(
                f"schedule_many takes a list of JobRequests, got {requests!r}"
            ) from None
        if len(requests) > MAX_BATCH:
            raise OptionError(f"schedule_many takes {MAX_BATCH:,} jobs, got {len(requests):,}")
        records = []
        for start in range(0, len(requests), CHUNK):
            records += self._records.make_all(requests[start : start + CHUNK], now, start)
            await asyncio.sleep(0)
        return records

    def _along(self, connection: object) -> Along:
        """In the thread that uses the connection."""
        return transactional(self.storage).along(connection)

    async def _prepare(
        self, along: Along, type: Any, data: Any, options: Mapping[str, Any]
    ) -> Prepared:
        """All of a `schedule` along a connection but the writing itself, which may be done in
        another thread."""
        await self._ready()
        now = self._clock.now()
        records = [self._records.make(type, data, options, now)]
        return await self._prepared(along, records, now, many=False)

    async def _prepare_many(self, along: Along, requests: Sequence[JobRequest[Any]]) -> Prepared:
        """The same of a `schedule_many`."""
        await self._ready()
        now = self._clock.now()
        return await self._prepared(along, await self._make_all(requests, now), now, many=True)

    async def _prepared(
        self, along: Along, records: list[JobRecord], now: int, *, many: bool
    ) -> Prepared:
        await along.prepare({record.queue for record in records})
        self._count_made(records)
        return Prepared(along, records, now, many)
