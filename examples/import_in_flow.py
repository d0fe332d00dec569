"""An import of a thousand files: one job lists them, a job for each reads it, one job sums up what
they read, and another one runs when all is over, whatever came of it.

backroom worker examples.import_in_flow:service
python -m examples.import_in_flow
backroom workflows list
backroom workflows show ID
backroom workflows retry ID
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from backroom import Job, JobRequest, JobService, JobType

FILES = 1000


@dataclass
class Folder:
    name: str
    files: int = FILES


@dataclass
class File:
    folder: str
    number: int


@dataclass
class Rows:
    file: int
    rows: int


@dataclass
class Summary:
    files: int
    rows: int


LIST = JobType("LIST", Folder, result=int)
READ = JobType("READ", File, result=Rows)
SUM_UP = JobType("SUM_UP", Folder, result=Summary)
TELL = JobType("TELL", Folder, result=str)
service = JobService(concurrency=50)

unreadable: set[int] = set()
"""Numbers of files that cannot be read, until somebody mends them."""


@service.handler(LIST)
async def list_files(job: Job[Folder]) -> int:
    """What waits for this job waits for those that it adds, too. Should it be run again, it adds
    the same ones, which are there already."""
    folder = job.data
    async with service.extend_workflow(job) as flow:
        flow.group(JobRequest(READ, File(folder.name, n)) for n in range(folder.files))
    return folder.files


@service.handler(READ, retries=0)
async def read_file(job: Job[File]) -> Rows:
    if job.data.number in unreadable:
        raise ValueError(f"file {job.data.number} of {job.data.folder} cannot be read")
    return Rows(job.data.number, rows=10 + job.data.number % 5)


@service.handler(SUM_UP)
async def sum_up(job: Job[Folder]) -> Summary:
    read = await job.results_of(READ)
    return Summary(len(read), sum(one.rows for one in read))


@service.handler(TELL)
async def tell(job: Job[Folder]) -> str:
    """Runs once, when all has ended. Which is how it came out."""
    info = await service.get_workflow(job.workflow or "")
    return f"{job.data.name}: {info.completed:,} jobs completed, {info.failed:,} failed"


async def start_import(folder: Folder) -> str:
    """Returns the id of the workflow."""
    async with service.workflow("import", on_complete=JobRequest(TELL, folder)) as flow:
        listing = flow.add(LIST, folder)
        flow.add(SUM_UP, folder, after=listing)
    return flow.id


if __name__ == "__main__":
    print(asyncio.run(start_import(Folder("measurements"))))
