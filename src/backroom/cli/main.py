"""The commands."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import click

from backroom import __version__
from backroom.cli.plain import PlainFormatter, plain
from backroom.errors import BackroomError
from backroom.job import JobStatus
from backroom.service import JobService
from backroom.supervisor import SUPERVISED

__all__ = ["main"]

T = TypeVar("T")


class Commands(click.Group):
    """Users' mistakes end with one line and code 1, never with a traceback."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except BackroomError as error:
            raise click.ClickException(plain(error)) from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="backroom")
def main() -> None:
    """Background jobs: run workers, look at jobs, steer them."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Text of a job that this encoding cannot write is shown escaped, as on standard error.
        sys.stdout.reconfigure(errors="backslashreplace")


def _on_storage(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say where to look."""
    command = click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)
    command = click.option(
        "--storage",
        metavar="URL",
        envvar="BACKROOM_STORAGE",
        show_envvar=True,
        help="Where the jobs are; default file:./storage/jobs.",
    )(command)
    return click.option(
        "--app", "target", metavar="MODULE:ATTR", help="Or: the service that knows."
    )(command)


def _ask(
    target: str | None, storage: str | None, question: Callable[[JobService], Awaitable[T]]
) -> T:
    from backroom.cli.target import service_of

    service = service_of(target, storage)
    _refuse_missing(service)

    async def ask() -> T:
        try:
            await service.open()  # Another command, or the program, may have stopped it.
            return await question(service)
        finally:
            await service.stop(0)

    return asyncio.run(ask())


def _refuse_missing(service: JobService) -> None:
    """A look at a folder that is not there would make an empty store of a typing error."""
    directory = getattr(service.storage, "directory", None)
    if directory is None:
        return
    try:
        (directory / "jobs.db").stat()
    except (FileNotFoundError, NotADirectoryError):
        raise click.UsageError(
            plain(f"there is no job store in {directory}; name it with --storage file:PATH")
        ) from None
    except OSError as error:  # The folder of another user, above all.
        raise click.ClickException(
            plain(f"cannot look for a job store in {directory}: {error.strerror}")
        ) from None


@contextlib.contextmanager
def _printing() -> Iterator[None]:
    """Output that cannot be written, as to a full disk, is one line and code 1 too."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        raise  # Who reads has seen enough: click leaves without a word.
    except OSError as error:
        # What is left in the buffer would fail once more when Python ends.
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        raise click.ClickException(f"the output cannot be written: {error.strerror}") from None


@main.command()
@click.argument("target", metavar="MODULE:ATTR")
@click.option("--queue", "queues", multiple=True, help="Work on this queue only; repeatable.")
@click.option("--concurrency", type=click.IntRange(1, 10_000), help="Jobs at once.")
@click.option("--burst", is_flag=True, help="Leave when nothing is due.")
@click.option("--grace", type=click.FloatRange(0, 86_400), default=30, show_default=True,
              help="Seconds that running jobs have after the first signal.")  # fmt: skip
@click.option("--processes", type=click.IntRange(1, 256), default=1, show_default=True,
              help="Workers, each with that concurrency; SIGHUP replaces them.")  # fmt: skip
@click.option("--max-jobs", type=click.IntRange(1), help="Replace a worker after so many jobs.")
@click.option("--max-memory", type=click.IntRange(32), metavar="MIB",
              help="Replace a worker that uses more memory than this.")  # fmt: skip
@click.option("--verbose", "-v", is_flag=True, help="Log more.")
def worker(
    target: str | None,
    queues: tuple[str, ...],
    concurrency: int | None,
    burst: bool,
    grace: float,
    processes: int,
    max_jobs: int | None,
    max_memory: int | None,
    verbose: bool,
) -> None:
    """Run the jobs of a service, for example: backroom worker app.jobs:service

    The first SIGTERM or Ctrl-C drains: no new job is started, running ones end. The second
    gives back what runs and leaves. With several processes, one that ends by itself is started
    again. Exit codes: 0 stopped; 1 an error, or code that had to be left running; 2 wrong
    usage.
    """
    from backroom.cli.target import Given, load_service
    from backroom.cli.work import Wear, supervise, work

    handler = logging.StreamHandler()
    handler.setFormatter(PlainFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[handler])
    given = click.get_current_context().find_object(Given)
    supervised = SUPERVISED in os.environ
    if not supervised and (processes > 1 or max_jobs or max_memory):
        command = [sys.executable, *sys.orig_argv[1:]]
        code = asyncio.run(supervise(command, processes, burst))
    else:
        if given is not None:
            target, service = given.name, given.service()
        else:
            assert target is not None
            service = load_service(target)
        service.configure(concurrency=concurrency, only=queues or None)
        wear = Wear(max_jobs, None if max_memory is None else max_memory << 20)
        code = asyncio.run(work(service, target, burst, grace, wear))
    sys.stdout.flush()
    sys.stderr.flush()
    if code:
        # Threads that hang must not hold the process; what they ran has been disowned.
        os._exit(code)


@main.group()
def jobs() -> None:
    """Look at jobs, and steer them."""


_STATUS = click.Choice([str(status) for status in JobStatus])


@jobs.command("list")
@click.option("--status", type=_STATUS)
@click.option("--type", "type_", metavar="TYPE")
@click.option("--queue")
@click.option("--tag")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--cursor", help="Where the last page ended.")
@_on_storage
def list_jobs(
    target: str | None, storage: str | None, as_json: bool, type_: str | None, **filters: Any
) -> None:
    """Jobs, newest first."""
    from backroom.cli import show

    page = _ask(target, storage, lambda service: service.get_jobs(type=type_, **filters))
    with _printing():
        if as_json:
            show.to_json({"jobs": list(page), "cursor": page.cursor})
        else:
            show.jobs(page)


@jobs.command("show")
@click.argument("job_id")
@_on_storage
def show_job(job_id: str, target: str | None, storage: str | None, as_json: bool) -> None:
    """Everything about one job: data, result, errors, log."""
    from backroom.cli import show

    info = _ask(target, storage, lambda service: service.get_job(job_id))
    with _printing():
        if as_json:
            show.to_json(info)
        else:
            show.job(info)


@jobs.command("retry")
@click.argument("job_ids", nargs=-1, required=True)
@_on_storage
def retry_jobs(
    job_ids: tuple[str, ...], target: str | None, storage: str | None, as_json: bool
) -> None:
    """Run ended jobs again, with a fresh budget of attempts."""

    async def retry(service: JobService) -> dict[str, str]:
        return await _each(job_ids, service.retry_job)

    _report(_ask(target, storage, retry), as_json, "retried")


@jobs.command("cancel")
@click.argument("job_ids", nargs=-1, required=True)
@_on_storage
def cancel_jobs(
    job_ids: tuple[str, ...], target: str | None, storage: str | None, as_json: bool
) -> None:
    """Cancel jobs that wait, and ask for it where they run."""

    async def cancel(service: JobService) -> dict[str, str]:
        return await _each(job_ids, service.cancel_job)

    _report(_ask(target, storage, cancel), as_json, "cancelled")


async def _each(
    job_ids: tuple[str, ...], change: Callable[[str], Awaitable[JobStatus | None]]
) -> dict[str, str]:
    """One outcome a job: one that is refused does not stop the others."""
    outcomes: dict[str, str] = {}
    for job_id in job_ids:
        try:
            status = await change(job_id)
            outcomes[job_id] = "ok" if status is None else str(status)
        except BackroomError as error:
            outcomes[job_id] = f"error: {error}"
    return outcomes


def _report(outcomes: dict[str, str], as_json: bool, done: str) -> None:
    from backroom.cli import show

    with _printing():
        if as_json:
            show.to_json(outcomes)
        else:
            for job_id, outcome in outcomes.items():
                show.say(plain(f"{job_id}  {done if outcome == 'ok' else outcome}"))
    if any(outcome.startswith("error") for outcome in outcomes.values()):
        raise SystemExit(1)


@main.command()
@_on_storage
def stats(target: str | None, storage: str | None, as_json: bool) -> None:
    """How many jobs there are, by status and by queue, and which workers run."""
    from backroom.cli import show

    now = _ask(target, storage, lambda service: service.get_stats())
    with _printing():
        if as_json:
            show.to_json(now)
        else:
            show.stats(now)
