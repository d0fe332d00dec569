"""`backroom health`."""

from __future__ import annotations

import click

from backroom.cli.commands import Command, on_storage, option

__all__ = ["health"]


@click.command(cls=Command, short_help="Whether a worker of this host is well; for containers.")
@option("--host", metavar="NAME", help="The host whose workers are meant; default: this one.")
@on_storage
def health(target: str | None, storage: str | None, as_json: bool, host: str | None) -> None:
    """Whether the storage answers, and a worker of this host lives and holds its lease.

    For the HEALTHCHECK of a container that runs `backroom worker`. Exit codes: 0 it does; 1 it
    does not, or the storage does not answer; 2 wrong usage.
    """
    import socket

    from backroom.cli.asking import look_up
    from backroom.cli.output import printing, say, to_json
    from backroom.cli.plain import plain
    from backroom.health import workers_of

    host = host or socket.gethostname()
    found = workers_of(look_up(target, storage, lambda service: service.get_workers()), host)
    with printing():
        if as_json:
            to_json({"healthy": bool(found), "host": host, "workers": found})
        elif found:
            say(plain(f"well: {', '.join(found)}"))
        else:
            say(plain(f"no worker of {host} lives"))
    if not found:
        raise SystemExit(1)
