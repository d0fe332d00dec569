"""`backroom move`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import click

from backroom.cli.bar import bar
from backroom.cli.commands import PREFIX, Command, option
from backroom.cli.plain import count_of, plain
from backroom.errors import ConfigurationError

if TYPE_CHECKING:
    from backroom.moving import Move, Moved, Twins
    from backroom.ports import House

__all__ = ["move"]

SCHEMES: Final = ("file", "memory", "postgres", "postgresql", "redis", "rediss")
"""Of storages: what else has a colon may be the service of a module."""


@click.command(cls=Command, short_help="Move all jobs to another storage.")
@click.argument("source")
@click.argument("target")
@option("--history", is_flag=True, help="Also jobs that have ended, with their results.")
@option("--wait", is_flag=True, help="Wait for jobs that run in SOURCE, and move what waits again.")
@option("--same-keys", "twins", type=click.Choice(["refuse", "stay", "cancel"]), default="refuse",
        show_default=True,
        help="Jobs whose unique key a job of TARGET holds: move nothing, leave them in SOURCE,"
        " or have them arrive as cancelled.")  # fmt: skip
@option("--dry-run", is_flag=True, help="Say what would be moved, or refused; move nothing.")
@option("--json", "as_json", is_flag=True, envvar=f"{PREFIX}_JSON", help="Print JSON.")
def move(
    source: str, target: str, history: bool, wait: bool, twins: Twins, dry_run: bool, as_json: bool
) -> None:
    """Move all jobs that wait from SOURCE to TARGET, as they are, workflows and schedules with
    them: file:./storage/jobs, postgresql://..., or MODULE:ATTR for the storage of a service.

    First let what schedules use TARGET, and stop the workers of SOURCE. No job can run at both
    places, whatever ends this command and when: run it again, and it goes on.

    Exit codes: 0 all is in TARGET; 1 refused, or something stayed; 2 wrong usage.
    """
    import asyncio

    from backroom.moving import Move

    houses = [_house(source, there=True), _house(target, there=False)]
    with bar("moving") as progress:
        one = Move(*houses, history=history, wait=wait, twins=twins, progress=progress)
        try:
            answer = asyncio.run(_at(houses, one, dry_run))
        except ConfigurationError as error:
            raise click.UsageError(plain(error)) from None
    _report(answer, houses, as_json)
    if not isinstance(answer, dict) and not answer.whole:
        raise SystemExit(1)


def _house(name: str, *, there: bool) -> House:
    """The storage that a URL names, or the one of a service; `there`: it is not to be made."""
    from backroom.cli.asking import refuse_missing
    from backroom.cli.target import service_of

    scheme, _, rest = name.partition(":")
    is_service = scheme not in SCHEMES and all(part.isidentifier() for part in rest.split("."))
    service = service_of(name, None) if is_service else service_of(None, name)
    if there:
        refuse_missing(service)
    return cast("House", service.storage)


async def _at(houses: list[House], one: Move, dry_run: bool) -> Moved | dict[str, int]:
    from backroom.cli.asking import said_once

    opened: list[House] = []
    try:
        with said_once():
            for house in houses:  # Both answer before anything is packed.
                await house.open()
                opened.append(house)
        return await (one.look() if dry_run else one.run())
    finally:
        for house in opened:
            await house.close()


def _report(answer: Moved | dict[str, int], houses: list[House], as_json: bool) -> None:
    from backroom.cli.output import printing, say, to_json

    with printing():
        if as_json:
            to_json({"would_move": answer} if isinstance(answer, dict) else answer)
        elif isinstance(answer, dict):
            total = count_of(sum(answer.values()), "job")
            say(plain(f"{total} would be moved from {houses[0].url} to {houses[1].url}"))
            for status, count in answer.items():
                say(f"  {status:<10} {count:,}")
        else:
            _show(answer)


def _show(moved: Moved) -> None:
    from backroom.cli.output import say
    from backroom.cli.show import facts

    count = sum(moved.moved.values())
    rows: list[tuple[str, object]] = [("from", moved.source), ("to", moved.target)]
    rows += [(status, f"{jobs:,}") for status, jobs in sorted(moved.moved.items())]
    rows += [("moved", f"{count:,} in {moved.seconds:.1f} s")]
    if moved.flows:
        rows.append(("workflows", f"{moved.flows:,}"))
    if moved.going_on:
        rows.append(("going on", f"{count_of(moved.going_on, 'workflow')}; run this again"))
    if moved.schedules:
        rows.append(("schedules", f"{moved.schedules:,}"))
    if moved.known:
        rows.append(("there already", f"{moved.known:,}, by their ids"))
    if moved.cancelled:
        rows.append(("cancelled", f"{moved.cancelled:,} of these, whose unique keys were held"))
    if moved.paused:
        rows.append(("paused queues", ", ".join(moved.paused)))
    if moved.limited:
        rows.append(("limited queues", ", ".join(moved.limited)))
    if moved.active:
        rows.append(("still active", f"{moved.active:,} in the source; run this again"))
    if moved.stayed:
        rows.append(("stayed", f"{len(moved.stayed):,} in the source"))
    rows.append(("checksum", f"{moved.checksum}, as packed and as read again"))
    facts(rows)
    for job, why in list(moved.stayed.items())[:20]:
        say(plain(f"{job}  {why}"))
