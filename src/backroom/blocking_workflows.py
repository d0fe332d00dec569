"""The verbs of workflows for code without asyncio: a part of `backroom.blocking`."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

from backroom.flow import OnFailure, WorkflowInfo, WorkflowPage
from backroom.handle import Job
from backroom.scheduling import JobRequest
from backroom.service import JobService
from backroom.workflow import Workflow

__all__ = ["BlockingWorkflows"]

T = TypeVar("T")


class BlockingWorkflows:
    """Each verb is handed to the service, and waited for."""

    _service: JobService

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        raise NotImplementedError

    def workflow(
        self,
        name: str,
        *,
        on_failure: OnFailure = "stop",
        on_success: JobRequest[Any] | None = None,
        on_complete: JobRequest[Any] | None = None,
        connection: object = None,
    ) -> AbstractContextManager[Workflow]:
        """Jobs that wait for jobs: `with service.workflow("import") as flow:`.

        With a `connection`, in its transaction, as `backroom.JobService.workflow`. It must be one
        without asyncio, and is used in the thread that calls, never in another."""
        return self._within(
            self._service.workflow(
                name, on_failure=on_failure, on_success=on_success, on_complete=on_complete,
                connection=connection,
            )
        )  # fmt: skip

    def batch(
        self,
        name: str,
        *,
        on_success: JobRequest[Any] | None = None,
        on_complete: JobRequest[Any] | None = None,
        connection: object = None,
    ) -> AbstractContextManager[Workflow]:
        """Jobs that run side by side and are counted together. With a `connection`, as
        `workflow`."""
        return self._within(
            self._service.batch(
                name, on_success=on_success, on_complete=on_complete, connection=connection
            )
        )

    def extend_workflow(
        self, job: Job[Any], *, connection: object = None
    ) -> AbstractContextManager[Workflow]:
        """Within a `def` handler of a job of a workflow: adds jobs to it. With the `connection` of
        `with job.transaction(connection):`, by the commit that completes the job."""
        return self._within(self._service.extend_workflow(job, connection=connection))

    @contextmanager
    def _within(self, flow: Workflow) -> Iterator[Workflow]:
        self._call(flow.__aenter__())
        try:
            yield flow
        except BaseException as error:
            self._call(flow.__aexit__(type(error), error, error.__traceback__))
            raise
        prepared = self._call(flow.end())
        if prepared is not None:
            prepared.insert_here()

    def get_workflow(self, workflow_id: str | UUID) -> WorkflowInfo:
        """A workflow, or a batch, with its jobs and what each waits for."""
        return self._call(self._service.get_workflow(workflow_id))

    def get_workflows(self, *, limit: int = 100, cursor: str | None = None) -> WorkflowPage:
        """Workflows and batches, newest first, without their jobs."""
        return self._call(self._service.get_workflows(limit=limit, cursor=cursor))

    def wait_for_workflow(
        self, workflow_id: str | UUID, *, timeout: float | timedelta | None = None
    ) -> WorkflowInfo:
        """Waits until a workflow has ended."""
        return self._call(self._service.wait_for_workflow(workflow_id, timeout=timeout))

    def cancel_workflow(self, workflow_id: str | UUID) -> int:
        """Cancels the jobs of a workflow that have not ended; how many."""
        return self._call(self._service.cancel_workflow(workflow_id))

    def retry_workflow(self, workflow_id: str | UUID) -> int:
        """The jobs of a workflow that did not complete run again; how many at once."""
        return self._call(self._service.retry_workflow(workflow_id))
