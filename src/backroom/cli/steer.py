"""`backroom jobs retry|cancel|delete`: one by one, or all that match; each is written down."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from backroom.cli.commands import Command, job_filters, on_storage, option
from backroom.cli.plain import count_of, plain
from backroom.cli.recording import recorded
from backroom.cli.statuses import ENDED, LIVE
from backroom.errors import BackroomError

if TYPE_CHECKING:
    from backroom.job import JobInfo, JobStatus
    from backroom.service import JobService

__all__ = ["Verb", "cancel", "delete", "retry", "steer", "without_asking"]

SHOWN: Final = 5
"""Jobs that a question shows."""
COUNTED: Final = 10_000
"""Jobs that are counted for a question; more are "or more"."""


class Verb(NamedTuple):
    """What is done to jobs."""

    name: str
    done: str
    one: Callable[[JobService, str], Awaitable[JobStatus | None]]
    many: Callable[..., Awaitable[int]]
    statuses: tuple[str, ...]
    """Of which jobs, where a filter does not say."""
    detail: Mapping[str, Any] = {}
    """What else is said of it."""


RETRY: Final = Verb(
    "retry", "retried",
    lambda service, job_id: service.retry_job(job_id),
    lambda service, **which: service.retry_jobs(**which),
    ("failed",),
)  # fmt: skip
CANCEL: Final = Verb(
    "cancel", "cancelled",
    lambda service, job_id: service.cancel_job(job_id),
    lambda service, **which: service.cancel_jobs(**which),
    LIVE,
)  # fmt: skip
DELETE: Final = Verb(
    "delete", "deleted",
    lambda service, job_id: service.delete_job(job_id),
    lambda service, **which: service.delete_jobs(**which),
    ENDED,
)  # fmt: skip


def without_asking(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the option that takes a yes for granted."""
    return option("--yes", "-y", is_flag=True, help="Do not ask, where a filter was given.")(
        command
    )


@click.command("retry", cls=Command)
@click.argument("job_ids", nargs=-1)
@job_filters(*ENDED, default="failed")
@option("--from-step", type=click.IntRange(1), metavar="NUMBER",
        help="Forget what is kept of their steps from this one on; with ids.")  # fmt: skip
@without_asking
@on_storage
def retry(from_step: int | None, **said: Any) -> None:
    """Run ended jobs again, with a fresh budget of attempts: by id, or all that match."""
    if from_step is None:
        steer(RETRY, **said)
        return
    if not said["job_ids"]:
        raise click.UsageError("--from-step goes with ids: each job has steps of its own")

    def again(service: JobService, job_id: str) -> Awaitable[None]:
        return service.retry_job(job_id, from_step=from_step)

    steer(RETRY._replace(one=again), **said)


@click.command("cancel", cls=Command)
@click.argument("job_ids", nargs=-1)
@job_filters(*LIVE)
@without_asking
@on_storage
def cancel(**said: Any) -> None:
    """Cancel jobs that wait, and ask for it where they run: by id, or all that match."""
    steer(CANCEL, **said)


@click.command("delete", cls=Command)
@click.argument("job_ids", nargs=-1)
@job_filters(*ENDED)
@without_asking
@on_storage
def delete(**said: Any) -> None:
    """Forget jobs that are not active, by id, or all ended ones that match."""
    steer(DELETE, **said)


def steer(
    verb: Verb,
    job_ids: tuple[str, ...],
    target: str | None,
    storage: str | None,
    as_json: bool,
    yes: bool,
    **filters: Any,
) -> None:
    """Does it to the jobs of these ids, or to all that match."""
    from backroom.cli.asking import is_conversation, look_up

    which = {name: value for name, value in filters.items() if value is not None}
    if bool(job_ids) == bool(which):
        raise click.UsageError(
            f"name the jobs to {verb.name} by id, or by a filter"
            f" (--status, --type, --queue, --text ...){', not both' if job_ids else ''}"
        )
    if job_ids:
        outcomes = look_up(target, storage, lambda service: _each(verb, service, job_ids))
        _report_each(verb, outcomes, as_json)
        return
    if not yes and not is_conversation():
        raise click.UsageError(
            f"there is nobody to ask whether to {verb.name} all that match; add --yes"
        )
    count = look_up(target, storage, lambda service: _all(verb, service, which, ask=not yes))
    _report_count(verb, count, as_json)


async def _each(verb: Verb, service: JobService, job_ids: tuple[str, ...]) -> dict[str, str]:
    """One outcome a job: one that is refused does not stop the others."""
    outcomes: dict[str, str] = {}
    for job_id in job_ids:
        try:
            status = await recorded(
                service, verb.name, job_id, partial(verb.one, service, job_id), verb.detail
            )
            outcomes[job_id] = "ok" if status is None else str(status)
        except BackroomError as error:
            outcomes[job_id] = f"error: {error}"
    return outcomes


async def _all(verb: Verb, service: JobService, which: dict[str, Any], *, ask: bool) -> int:
    if ask:
        count, first = await _matching(verb, service, which)
        if not count or not _agreed(verb, count, first):
            return 0
    return await recorded(
        service, verb.name, "jobs", partial(verb.many, service, **which),
        {**verb.detail, "filter": which}, lambda changed: changed,
    )  # fmt: skip


async def _matching(
    verb: Verb, service: JobService, which: dict[str, Any]
) -> tuple[int, list[JobInfo]]:
    """How many there are, and the newest few of each status."""
    count, first = 0, list[Any]()
    for status in (which["status"],) if "status" in which else verb.statuses:
        cursor = None
        while count < COUNTED:
            page = await service.get_jobs(
                **{**which, "status": status},
                limit=1000,
                cursor=cursor,
            )
            count += len(page)
            first += page[: max(0, SHOWN - len(first))]
            cursor = page.cursor
            if cursor is None:
                break
    return count, first


def _agreed(verb: Verb, count: int, first: list[JobInfo]) -> bool:
    """Asks on standard error, so that standard output holds the answer alone.

    Raises:
        click.Abort: no.
    """
    for info in first:
        click.echo(plain(f"  {info.id}  {info.type}  {info.queue}  {info.status}"), err=True)
    if count > len(first):
        click.echo(f"  and {count - len(first):,} more", err=True)
    how_many = f"{count:,} or more jobs" if count >= COUNTED else count_of(count, "job")
    return click.confirm(f"{verb.name.capitalize()} {how_many}?", err=True, abort=True)


def _report_each(verb: Verb, outcomes: dict[str, str], as_json: bool) -> None:
    from backroom.cli.output import printing, say, to_json

    with printing():
        if as_json:
            to_json(outcomes)
        else:
            for job_id, outcome in outcomes.items():
                say(plain(f"{job_id}  {verb.done if outcome == 'ok' else outcome}"))
    if any(outcome.startswith("error") for outcome in outcomes.values()):
        raise SystemExit(1)


def _report_count(verb: Verb, count: int, as_json: bool) -> None:
    from backroom.cli.output import printing, say, to_json

    with printing():
        if as_json:
            to_json({verb.done: count})
        elif count:
            say(f"{count_of(count, 'job')} {verb.done}")
        else:
            say("no jobs match")
