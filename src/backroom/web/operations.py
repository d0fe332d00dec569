"""What an operator does, written down: the API and the pages change things through this alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

from backroom.audit import Recorded
from backroom.inspecting import BulkProgress
from backroom.job import JobId, JobStatus
from backroom.schedule import ScheduleInfo
from backroom.service import JobService
from backroom.web.access import Identity
from backroom.web.redaction import Redaction

__all__ = ["BulkVerb", "Operations"]

BulkVerb: TypeAlias = Literal["retry", "cancel", "delete", "reschedule", "reprioritize"]
"""What is done to many jobs."""
MOST_NAME: Final = 200
MOST_TARGET: Final = 500
"""Characters that are written down."""


class Operations:
    """Changes in the name of `who`. Each is written down before it begins, and what came of it
    after that. Each raises what the verb of the service does; nothing was changed then."""

    def __init__(self, service: JobService, redaction: Redaction, who: Identity) -> None:
        self._service = service
        self._redaction = redaction
        self._who = who
        self.done = 0
        """How many of them were carried out."""

    @asynccontextmanager
    async def _recorded(
        self, verb: str, target: str, detail: Mapping[str, Any] | None = None
    ) -> AsyncIterator[Recorded]:
        async with self._service.recorded(
            self._who.name[:MOST_NAME], verb, _writable(target)[:MOST_TARGET],
            role=self._who.role.name.lower(), detail=detail,
        ) as record:  # fmt: skip
            yield record
        self.done += 1

    # -- jobs ------------------------------------------------------------------------------------

    async def schedule_job(
        self, type_: str, data: Mapping[str, Any], options: Mapping[str, Any], key: str | None
    ) -> tuple[JobId[Any], bool]:
        """The id of the job, and whether it was made by this call."""
        async with self._recorded("schedule", type_) as record:
            if key is None:
                job_id = await self._service.schedule(type_, data, **options)
                created = True
            else:
                # Nobody meets the key of somebody else, and names take nothing of its length.
                own = hashlib.sha256(json.dumps([self._who.name, key]).encode()).hexdigest()
                job_id, created = await self._service.schedule_once(own, type_, data, **options)
            record.changed = int(created)
            if created:
                record.made = f"job {job_id}"
            return job_id, created

    async def copy_job(self, job_id: str) -> JobId[Any]:
        """Schedules a new job with the data and the options of this one, which runs at once."""
        async with self._recorded("copy", job_id) as record:
            made = await self._service.copy_job(job_id)
            record.made = f"job {made}"
            return made

    async def retry_job(self, job_id: str, *, from_step: int | None = None) -> None:
        detail = None if from_step is None else {"from_step": from_step}
        async with self._recorded("retry", job_id, detail):
            await self._service.retry_job(job_id, from_step=from_step)

    async def cancel_job(self, job_id: str) -> JobStatus:
        async with self._recorded("cancel", job_id):
            return await self._service.cancel_job(job_id)

    async def delete_job(self, job_id: str) -> None:
        async with self._recorded("delete", job_id):
            await self._service.delete_job(job_id)

    async def signal_job(self, job_id: str, name: str, value: Any) -> None:
        async with self._recorded("signal", job_id, {"name": name}):
            await self._service.signal(job_id, name, value)

    async def reschedule_job(
        self, job_id: str, *, run_at: datetime | None = None, delay: float | None = None
    ) -> None:
        detail = {"run_at": run_at} if delay is None else {"delay": delay}
        async with self._recorded("reschedule", job_id, detail):
            await self._service.reschedule_job(job_id, run_at=run_at, delay=delay)

    async def reprioritize_job(self, job_id: str, priority: str) -> None:
        async with self._recorded("reprioritize", job_id, {"priority": priority}):
            await self._service.reprioritize_job(job_id, priority)

    # -- many jobs -------------------------------------------------------------------------------

    async def change_jobs(
        self,
        verb: BulkVerb,
        which: Mapping[str, Any],
        progress: Callable[[BulkProgress], None],
        **said: Any,
    ) -> int:
        """All jobs that match, or those of the `ids` in `which`; how many it has changed. `said`:
        `run_at` or `delay` to reschedule, `priority` to reprioritize."""
        meant = dict(which) if "ids" in which else {"filter": dict(which)}
        async with self._recorded(f"{verb} all", "jobs", {**meant, **said}) as record:

            def note(state: BulkProgress) -> None:
                record.changed = state.changed
                progress(state)

            verbs: dict[BulkVerb, Callable[..., Awaitable[int]]] = {
                "retry": self._service.retry_jobs,
                "cancel": self._service.cancel_jobs,
                "delete": self._service.delete_jobs,
                "reschedule": self._service.reschedule_jobs,
                "reprioritize": self._service.reprioritize_jobs,
            }
            first = (said.pop("priority"),) if verb == "reprioritize" else ()
            seen = self._redaction.narrowed(which, self._service.known_types)
            changed = await verbs[verb](*first, progress=note, **said, **seen)
            record.changed = changed
            return changed

    # -- queues ----------------------------------------------------------------------------------

    async def pause_queue(self, queue: str) -> None:
        async with self._recorded("pause", f"queue {queue}"):
            await self._service.pause_queue(queue)

    async def resume_queue(self, queue: str) -> None:
        async with self._recorded("resume", f"queue {queue}"):
            await self._service.resume_queue(queue)

    async def limit_queue(self, queue: str, most: int | None) -> None:
        async with self._recorded("limit", f"queue {queue}", {"most": most}):
            await self._service.limit_queue(queue, most)

    # -- workers ---------------------------------------------------------------------------------

    async def drain_worker(self, worker: int, on: bool = True) -> None:
        known = {one.id: one.name for one in await self._service.get_workers()}
        target = f"worker {known.get(worker, worker)}"
        async with self._recorded("drain" if on else "resume", target, {"id": worker}):
            await self._service.drain_worker(worker, on)

    # -- schedules -------------------------------------------------------------------------------

    async def pause_schedule(self, name: str) -> ScheduleInfo:
        async with self._recorded("pause", f"schedule {name}"):
            return await self._service.pause_schedule(name)

    async def resume_schedule(self, name: str) -> ScheduleInfo:
        async with self._recorded("resume", f"schedule {name}"):
            return await self._service.resume_schedule(name)

    async def run_schedule(self, name: str) -> JobId[Any]:
        async with self._recorded("run", f"schedule {name}") as record:
            made = await self._service.run_schedule(name)
            record.made = f"job {made}"
            return made

    async def change_schedule(self, name: str, **changes: Any) -> ScheduleInfo:
        async with self._recorded("change", f"schedule {name}", changes):
            return await self._service.change_schedule(name, **changes)

    async def delete_schedule(self, name: str) -> None:
        async with self._recorded("delete", f"schedule {name}"):
            await self._service.delete_schedule(name)

    # -- workflows -------------------------------------------------------------------------------

    async def cancel_workflow(self, workflow_id: str) -> int:
        """How many jobs it has cancelled, or asked to end."""
        async with self._recorded("cancel", f"workflow {workflow_id}") as record:
            record.changed = await self._service.cancel_workflow(workflow_id)
            return record.changed

    async def retry_workflow(self, workflow_id: str) -> int:
        """How many jobs run at once."""
        async with self._recorded("retry", f"workflow {workflow_id}") as record:
            record.changed = await self._service.retry_workflow(workflow_id)
            return record.changed


def _writable(target: str) -> str:
    """As a record can hold it, whatever a path names: whether there is such a thing is for the
    verb to say."""
    return target.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
