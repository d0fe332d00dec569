"""`backroom jobs schedule`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from backroom.cli.commands import Command, on_storage, option
from backroom.cli.complete import complete_queues, complete_types
from backroom.cli.recording import recorded
from backroom.cli.statuses import PRIORITIES
from backroom.cli.values import duration, json_value, moment

if TYPE_CHECKING:
    from backroom.service import JobService

__all__ = ["schedule"]


@click.command(cls=Command)
@click.argument("type_", metavar="TYPE", shell_complete=complete_types)
@click.argument("data", metavar="[JSON|-]", type=json_value, default="{}")
@option("--priority", type=click.Choice(PRIORITIES), help="Which lane it waits in.")
@option(
    "--delay",
    type=duration,
    metavar="DURATION",
    help="Not before this long from now: 90, 5m, 2h, 1d.",
)
@option(
    "--run-at",
    type=moment,
    metavar="MOMENT",
    help="Not before this moment: 2030-01-31T08:00:00+01:00.",
)
@option("--queue", shell_complete=complete_queues, help="The queue it waits in.")
@option("--retries", type=click.IntRange(0), help="Attempts after the first.")
@option("--retry-delay", type=duration, metavar="DURATION", help="The base of the backoff.")
@option("--backoff", type=click.Choice(("fixed", "linear", "exponential")),
        help="How the wait grows from one retry to the next.")  # fmt: skip
@option("--timeout", type=duration, metavar="DURATION", help="How long one attempt may take.")
@option(
    "--expires-in",
    type=duration,
    metavar="DURATION",
    help="Cancelled if it has not started by then.",
)
@option("--unique-key", help="While a job of this type with this key is live, that one is it.")
@option("--tag", "tags", multiple=True, help="A word to find it by; repeatable.")
@option("--metadata", type=json_value, metavar="JSON", help="A JSON object that travels with it.")
@on_storage
def schedule(
    type_: str,
    data: Any,
    target: str | None,
    storage: str | None,
    as_json: bool,
    tags: tuple[str, ...],
    **options: Any,
) -> None:
    """Schedule a job, and print its id.

    The data is a JSON object, or - to read it from standard input. With --app it is checked by
    the types of the application, which must know TYPE; with --storage any type and any object
    will do.
    """
    from backroom.cli.asking import ask, refuse_missing
    from backroom.cli.output import printing, say, to_json
    from backroom.cli.target import chosen, given_service, service_of

    if not isinstance(data, dict):
        raise click.UsageError(f"the data must be a JSON object, got {type(data).__name__}")
    target, storage = chosen(target, storage)
    service = service_of(target, storage)
    if target is None and given_service() is None:
        refuse_missing(service)
        service.declare(type_)
    options["tags"] = tags
    said = {name: value for name, value in options.items() if value not in (None, ())}

    async def make(service: JobService) -> str:
        # The data is kept with the job alone: the record is read by more people.
        change = partial(service.schedule, type_, data, **said)
        return await recorded(service, "schedule", type_, change, changed=lambda job_id: 1)

    job_id = ask(service, make)
    with printing():
        if as_json:
            to_json({"id": job_id})
        else:
            say(job_id)
