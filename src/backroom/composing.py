"""The part of a service that composes jobs: workflows and batches, made, looked up and steered."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final, cast, get_args
from uuid import UUID

from backroom.errors import (
    ConfigurationError,
    OptionError,
    ServiceError,
    WorkflowNotFoundError,
    no_cursor,
)
from backroom.flow import (
    FlowKind,
    FlowRecord,
    OnFailure,
    Piece,
    WorkflowInfo,
    WorkflowPage,
    told,
)
from backroom.flowing import Flowing, no_flow
from backroom.handle import Job
from backroom.identity import JobIds
from backroom.job import JobRecord, duration
from backroom.ports import Clock, Store, Wake
from backroom.scheduling import JobRequest, RecordMaker
from backroom.settings import Settings
from backroom.transactions import PreparedFlow, transactional
from backroom.workflow import Workflow, check_flow_name, made_again

__all__ = ["Composing"]

SHOWN: Final = 10_000
"""Jobs of a workflow that a look tells."""


class Composing:
    """Workflows over a storage that keeps them, and that `_ready` opens.

    Raises, from every verb: `ConfigurationError` where the storage keeps none.
    """

    storage: Store
    _clock: Clock
    _records: RecordMaker
    _settings: Settings

    async def _ready(self) -> None:
        raise NotImplementedError

    def _count_made(self, records: Sequence[JobRecord]) -> None:
        raise NotImplementedError

    # -- make ------------------------------------------------------------------------------------

    def workflow(
        self,
        name: str,
        *,
        on_failure: OnFailure = "stop",
        on_success: JobRequest[Any] | None = None,
        on_complete: JobRequest[Any] | None = None,
        connection: object = None,
    ) -> Workflow:
        """Jobs that wait for jobs: `async with service.workflow("import") as flow:`, within which
        `flow.add` adds them. They are kept together at the end of the block, or not at all.

        With a `connection` of the application's, as `JobService.schedule` takes it, they are
        written at the end of the block as part of its transaction, and are there, and workers
        woken, when that commits. Outside a transaction they have one of their own.

        Args:
            name: for people; several workflows may have the same.
            on_failure: what becomes of the jobs that wait for one that failed or was cancelled:
                "stop", they are cancelled, and say why; "continue", they run all the same;
                "compensate", as "stop", and once nothing of the workflow runs any more, the jobs
                that had completed are undone, the last one first.
            on_success: a job that runs once, when all have completed.
            on_complete: a job that runs once, when all have ended, whichever way.

        Raises:
            OptionError: a name or a policy that makes no sense, or no connection.
            ConfigurationError: with a connection: the storage has no transactions; or, at the end
                of the block, it leads to another database.
        """
        if on_failure not in get_args(OnFailure):
            known = ", ".join(get_args(OnFailure))
            raise OptionError(f"on_failure must be one of {known}, got {on_failure!r}")
        return self._flow("workflow", name, on_failure, on_success, on_complete, connection)

    def batch(
        self,
        name: str,
        *,
        on_success: JobRequest[Any] | None = None,
        on_complete: JobRequest[Any] | None = None,
        connection: object = None,
    ) -> Workflow:
        """Jobs that run side by side and are counted together: as a workflow whose jobs wait for
        nothing, also along a `connection`. A batch without jobs is complete at once.

        Raises:
            like `workflow`.
        """
        return self._flow("batch", name, "stop", on_success, on_complete, connection)

    def _flow(
        self,
        kind: FlowKind,
        name: str,
        on_failure: OnFailure,
        on_success: JobRequest[Any] | None,
        on_complete: JobRequest[Any] | None,
        connection: object,
    ) -> Workflow:
        said = check_flow_name(kind, name)
        # In the thread that uses it.
        along = None if connection is None else transactional(self.storage).along(connection)

        async def put(flow: Workflow, piece: Piece) -> PreparedFlow | None:
            now = self._clock.now()
            record = FlowRecord(flow.id, said, kind, on_failure, now)
            if along is None:
                await self._flowing().insert_flow(record, piece, now)
                self._count_made([member.record for member in piece.members])
                return None
            await along.prepare({member.record.queue for member in piece.members})
            self._count_made([member.record for member in piece.members])
            return PreparedFlow(along, record, piece, now)

        async def begin() -> None:
            await self._ready()
            self._flowing()
            flow.callback("on_success", on_success, anyway=False)
            flow.callback("on_complete", on_complete, anyway=True)

        ids = JobIds()
        flow = Workflow(
            ids(self._clock.now()), kind, on_failure, self._records.apart(ids), self._clock.now,
            put, begin=begin,
        )  # fmt: skip
        return flow

    def extend_workflow(self, job: Job[Any], *, connection: object = None) -> Workflow:
        """Within the handler of a job of a workflow: `async with service.extend_workflow(job) as
        flow:` adds jobs to it. They are kept together at the end of the block, if the job is still
        this worker's. What waits for this job waits for them, too: for those that no other one of
        the block waits for. Where one of them waits for such a job, that does not wait for them.

        An attempt that adds what an earlier attempt of the same job has added adds nothing. So what
        is added has to follow from the job's data, or from what it keeps by `job.step`.

        Within `async with job.transaction() as connection:`, with that `connection`, they are
        added by the commit that completes the job.

        Raises:
            OptionError: it is no job. ServiceError: it belongs to no workflow; or the connection
                is not that of its transaction.
            ConfigurationError: with a connection: the storage has no transactions.
        Raises, at the end of the block, or with a connection at that of `job.transaction()`:
            LeaseLostError: the job belongs to another worker; nothing was added.
            DuplicateJobError: another job holds the unique key of one; nothing was added.
            JobStateError: an earlier attempt has added other jobs; or `after=` names a job of
                another workflow, or one that did not complete; or people have cancelled the job.
        """
        if not isinstance(job, Job):
            raise OptionError(f"extend_workflow takes the job that a handler got, got {job!r}")
        if job.workflow is None:
            raise ServiceError(
                f"{job!r} belongs to no workflow: begin one with service.workflow(...)"
            )
        transaction = None
        if connection is not None:
            transactional(self.storage)
            transaction = job.transaction_with(connection)
        claim = job.claim
        block = job.next_block()

        async def put(flow: Workflow, piece: Piece) -> None:
            if not piece.members:
                return
            if transaction is not None:
                transaction.extend(piece)
                return
            storage = self._flowing()
            await storage.extend_flow(piece, claim.key, claim.token, self._clock.now())
            self._count_made([member.record for member in piece.members])

        async def begin() -> None:
            await self._ready()
            info = await self._flowing().flow(flow.id, self._clock.now(), 0)
            if info is None:
                raise no_flow(flow.id)
            flow.kind, flow.on_failure = info.kept.record.kind, info.kept.record.on_failure

        flow = Workflow(
            job.workflow, "workflow", "stop", self._records.apart(JobIds()), self._clock.now, put,
            begin=begin, make_id=made_again(job.id, block),
        )  # fmt: skip
        return flow

    # -- look up ---------------------------------------------------------------------------------

    async def get_workflow(self, workflow_id: str | UUID) -> WorkflowInfo:
        """A workflow, or a batch, with its jobs and what each waits for.

        Raises:
            WorkflowNotFoundError
        """
        return await self._look(workflow_id, SHOWN)

    async def get_workflows(self, *, limit: int = 100, cursor: str | None = None) -> WorkflowPage:
        """Workflows and batches, newest first, without their jobs. `limit` is 1 to 1000; the page's
        `.cursor` asks for the next one.

        Raises:
            OptionError: a limit out of its range, or a cursor not of ours.
        """
        _check_limit(limit)
        before = None if cursor is None else _uuid(cursor)
        if cursor is not None and before is None:
            raise no_cursor(cursor)
        await self._ready()
        found = await self._flowing().flows(limit + 1, before)
        following = found[limit - 1].record.id if len(found) > limit else None
        return WorkflowPage([told(kept) for kept in found[:limit]], following)

    async def wait_for_workflow(
        self, workflow_id: str | UUID, *, timeout: float | timedelta | None = None
    ) -> WorkflowInfo:
        """Waits until a workflow has ended, with its callbacks and what is undone, and returns how
        it stands then, without its jobs.

        Raises:
            WorkflowNotFoundError. TimeoutError: it had not ended after `timeout`; it goes on.
        """
        seconds = None if timeout is None else duration("timeout", timeout)
        await self._ready()
        ended, limit = asyncio.Event(), asyncio.timeout(seconds)
        unsubscribe = self.storage.subscribe(
            lambda wake: ended.set() if wake is Wake.FINISHED else None
        )
        try:
            async with limit:
                while True:
                    ended.clear()
                    info = await self._look(workflow_id, 0)
                    if info.status.ended:
                        return info
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(ended.wait(), self._settings.poll_interval)
        except TimeoutError:
            if not limit.expired():
                raise  # The storage's own.
            raise TimeoutError(
                f"workflow {workflow_id} had not ended after {seconds:g} s; it goes on"
            ) from None
        finally:
            unsubscribe()

    async def _look(self, workflow_id: str | UUID, limit: int) -> WorkflowInfo:
        flow_id = self._flow_id(workflow_id)
        await self._ready()
        view = await self._flowing().flow(flow_id, self._clock.now(), limit)
        if view is None:
            raise no_flow(flow_id)
        return told(view.kept, view)

    # -- steer -----------------------------------------------------------------------------------

    async def cancel_workflow(self, workflow_id: str | UUID) -> int:
        """Cancels the jobs of a workflow that wait at once, and asks for it where they run; how
        many. What has ended stays; its callback on completion runs; with
        `on_failure="compensate"`, what had completed is undone.

        Raises:
            WorkflowNotFoundError
        """
        flow_id = self._flow_id(workflow_id)
        await self._ready()
        return await self._flowing().cancel_flow(flow_id, self._clock.now())

    async def retry_workflow(self, workflow_id: str | UUID) -> int:
        """The jobs of a workflow that did not complete run again, with a fresh budget of attempts,
        each when all that it waits for has completed; how many run at once. What has completed
        stays.

        Raises:
            WorkflowNotFoundError. JobStateError: it was undone; or another job holds the unique
                key of one that would run or wait again. Nothing was changed then.
        """
        flow_id = self._flow_id(workflow_id)
        await self._ready()
        return await self._flowing().retry_flow(flow_id, self._clock.now())

    def _flow_id(self, value: object) -> str:
        if not isinstance(value, (str, UUID)):
            raise OptionError(f"the id of a workflow must be a text or a UUID, got {value!r}")
        text = _uuid(str(value))
        if text is None:
            raise WorkflowNotFoundError(f"no workflow has the id {value!r}")
        return text

    def _flowing(self) -> Flowing:
        if not self.storage.capabilities.flowing:
            raise ConfigurationError(f"{self.storage.url} keeps no workflows")
        return cast(Flowing, self.storage)


def _check_limit(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1000:
        raise OptionError(f"limit must be a whole number from 1 to 1000, got {value!r}")


def _uuid(text: object) -> str | None:
    """As ids of flows are written; None: it is none."""
    try:
        return str(UUID(str(text)))
    except ValueError:
        return None
