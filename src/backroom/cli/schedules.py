"""`backroom schedules`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import click

from backroom.cli.commands import Commands, on_storage, option
from backroom.cli.plain import plain
from backroom.cli.recording import recorded

if TYPE_CHECKING:
    from backroom.service import JobService

__all__ = ["schedules"]


@click.group(cls=Commands)
def schedules() -> None:
    """Look at schedules and their ticks; change, pause, resume, delete them, run one now."""


@schedules.command("list")
@on_storage
def list_schedules(target: str | None, storage: str | None, as_json: bool) -> None:
    """Every schedule, with what it says in plain English and its next run.

    With --app, one that once stood beside a handler, and does no more, is marked as orphaned.
    """
    from backroom.cli.asking import look_up
    from backroom.cli.output import printing, to_json

    found = look_up(target, storage, lambda service: service.get_schedules())
    with printing():
        if as_json:
            to_json(found)
        else:
            from backroom.cli import show_schedules

            show_schedules.schedules(found)


@schedules.command("show")
@click.argument("name")
@option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True,
        help="How many ticks at most.")  # fmt: skip
@option("--cursor", help="Where the last page of ticks ended.")
@on_storage
def show_schedule(
    name: str, target: str | None, storage: str | None, as_json: bool, **page: Any
) -> None:
    """Everything about one schedule: its next runs, and what became of its ticks, newest first."""
    from backroom.cli.asking import look_up
    from backroom.cli.output import printing, to_json

    async def ask(service: JobService) -> tuple[Any, Any]:
        return await service.get_schedule(name), await service.get_ticks(name, **page)

    info, ticks = look_up(target, storage, ask)
    with printing():
        if as_json:
            to_json({"schedule": info, "ticks": list(ticks), "cursor": ticks.cursor})
        else:
            from backroom.cli import show_schedules

            show_schedules.schedule(info, ticks)


@schedules.command("change")
@click.argument("name")
@option("--cron", help='A cron expression, as "0 9 * * MON-FRI".')
@option("--tz", help="The zone in which it is read, as Europe/Paris.")
@option("--every", type=float, help="Seconds between ticks, in place of a cron expression.")
@option("--missed", type=click.Choice(["skip", "run_once", "run_all"]),
        help="What becomes of ticks for which nobody was there.")  # fmt: skip
@option("--overlap", type=click.Choice(["allow", "skip", "queue"]),
        help="What becomes of a tick while the job of an earlier one goes on.")  # fmt: skip
@option("--jitter", type=float, help="Seconds up to which a job comes later, by chance.")
@on_storage
def change(name: str, target: str | None, storage: str | None, as_json: bool, **said: Any) -> None:
    """Changes when a schedule ticks; what is not said stays as it is.

    One that stands in the code is again as the code says it with the next start of a worker.
    """
    from backroom.cli.asking import look_up
    from backroom.cli.output import printing, to_json

    info = look_up(
        target,
        storage,
        lambda service: recorded(
            service, "change", f"schedule {name}",
            lambda: service.change_schedule(name, **said),
            {word: value for word, value in said.items() if value is not None},
        ),
    )  # fmt: skip
    with printing():
        if as_json:
            to_json(info)
        else:
            from backroom.cli import show_schedules

            show_schedules.schedules([info])


@schedules.command("pause")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@on_storage
def pause(**said: Any) -> None:
    """None of their ticks fires until they are resumed."""
    _each("paused", lambda service, name: service.pause_schedule(name), **said)


@schedules.command("resume")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@on_storage
def resume(**said: Any) -> None:
    """Ends a pause. The ticks that came meanwhile are written down, and do not fire."""
    _each("resumed", lambda service, name: service.resume_schedule(name), **said)


@schedules.command("delete")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@on_storage
def delete(**said: Any) -> None:
    """Forgets schedules and their ticks; their jobs stay.

    One that stands in the code comes back with the next start of a worker with that code.
    """
    _each("deleted", lambda service, name: service.delete_schedule(name), **said)


@schedules.command("run")
@click.argument("name")
@on_storage
def run(name: str, target: str | None, storage: str | None, as_json: bool) -> None:
    """Makes a job of a schedule now, beside its ticks, and prints its id."""
    from backroom.cli.asking import look_up
    from backroom.cli.output import printing, say, to_json

    job_id = look_up(
        target,
        storage,
        lambda service: recorded(
            service, "run", f"schedule {name}", lambda: service.run_schedule(name)
        ),
    )
    with printing():
        if as_json:
            to_json({"id": job_id})
        else:
            say(job_id)


_VERBS: Final = {"paused": "pause", "resumed": "resume", "deleted": "delete"}


def _each(
    done: str,
    change: Callable[[JobService, str], Awaitable[object]],
    names: tuple[str, ...],
    target: str | None,
    storage: str | None,
    as_json: bool,
) -> None:
    """One after the other; of one that cannot be, the others are done all the same."""
    from backroom.cli.asking import look_up
    from backroom.cli.output import printing, say, to_json
    from backroom.errors import ConfigurationError, OptionError, ScheduleNotFoundError

    async def change_all(service: JobService) -> dict[str, str]:
        outcomes = {}
        for name in names:
            try:
                await recorded(
                    service, _VERBS[done], f"schedule {name}", partial(change, service, name)
                )
            except (ScheduleNotFoundError, OptionError, ConfigurationError) as error:
                outcomes[name] = f"error: {error}"
            else:
                outcomes[name] = done
        return outcomes

    outcomes = look_up(target, storage, change_all)
    with printing():
        if as_json:
            to_json(outcomes)
        else:
            for name, outcome in outcomes.items():
                say(plain(f"{name}  {outcome}"))
    if any(outcome != done for outcome in outcomes.values()):
        raise SystemExit(1)
