"""Programs around a blocking service: `python -m tests.process.blocking_programs NAME`."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from backroom import FileJobStorage, Job, JobId, StorageClosedError
from backroom.blocking import JobService
from tests.process.parts import Journal, die_with_parent, eventually

FOLDER = Path(os.environ["PROCESS_TEST_FOLDER"])
journal = Journal(FOLDER)
service = JobService(FileJobStorage(FOLDER / "jobs"))


@service.handler("QUICK")
def quick(job: Job[Any]) -> int:
    journal.write("started", job.id, job.attempt)
    return os.getpid()


@service.handler("CHAIN")
def chain(job: Job[Any]) -> int:
    """A plain handler may use the service."""
    return service.result(service.schedule("QUICK"), timeout=10)  # type: ignore[no-any-return]


@service.handler("STUBBORN")
def stubborn(job: Job[Any]) -> None:
    journal.write("started", job.id, job.attempt)
    while True:
        time.sleep(60)


@service.handler("NAP")
async def nap(job: Job[Any]) -> None:
    journal.write("started", job.id, job.attempt)
    await service.service.result(JobId(job.data["after"]))


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def interrupt() -> None:
    """Is interrupted while it waits for a result, and goes on."""
    with service:
        never = service.schedule("QUICK", delay=3600)
        say("waiting")
        try:
            service.result(never)
        except KeyboardInterrupt:
            say("interrupted")
        say("ran", service.result(service.schedule("QUICK"), timeout=10))
        say("status", service.get_job_status(never))
    say("threads", *sorted(thread.name for thread in threading.enumerate()))


def leave_started() -> None:
    """Ends without a stop."""
    service.start()
    service.result(service.schedule("QUICK"), timeout=10)
    say("leaving")


def leave_stubborn() -> None:
    """Ends without a stop, while a thread hangs and a coroutine waits for it."""
    service.start()
    job_id = service.schedule("STUBBORN", retries=0)
    service.schedule("NAP", {"after": job_id}, retries=0)
    eventually(lambda: service.get_stats().by_status["active"] == 2, "both run")
    say("leaving")


def leave_open() -> None:
    """Only schedules, and ends without a stop."""
    say("scheduled", service.schedule("QUICK"))


def fork_unused() -> None:
    """As a server that loads the application before it forks: parent and children all work."""
    children = [_forked(_work) for _ in range(2)]
    _work()
    say("codes", *(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))


def _work() -> None:
    with service:
        say("chained", service.result(service.schedule("CHAIN"), timeout=10))


def fork_used() -> None:
    """The child of a process that had used its service."""
    with service:
        service.result(service.schedule("QUICK"), timeout=10)
        child = _forked(_use_what_the_parent_had)
        os.waitpid(child, 0)
        say("parent ran", service.result(service.schedule("CHAIN"), timeout=10))
    # Stopped, it may cross a fork again.
    child = _forked(_work)
    say("code", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    _work()


def _use_what_the_parent_had() -> None:
    for call in (lambda: service.schedule("QUICK"), service.get_stats, service.start, service.open):
        try:
            call()
        except StorageClosedError as error:
            say("child refused:", error)
    say("child stopped:", service.stop())
    own = JobService(FileJobStorage(FOLDER / "jobs"))
    own.declare("QUICK")
    say("child scheduled", own.schedule("QUICK"))
    own.stop()


def _forked(work: Callable[[], object]) -> int:
    child = os.fork()
    if not child:
        code = 1
        try:
            work()
            code = 0
        except BaseException as error:
            say(f"child failed: {error!r}")
        os._exit(code)
    return child


PROGRAMS = {
    program.__name__: program
    for program in (
        interrupt, leave_started, leave_stubborn, leave_open, fork_unused, fork_used,
    )
}  # fmt: skip

if __name__ == "__main__":
    die_with_parent()
    PROGRAMS[sys.argv[1]]()
