"""`backroom jobs signal`."""

from __future__ import annotations

from typing import Any

import click

from backroom.cli.commands import Command, on_storage
from backroom.cli.recording import recorded
from backroom.cli.values import json_value

__all__ = ["signal"]


@click.command("signal", cls=Command)
@click.argument("job_id")
@click.argument("name")
@click.argument("value", metavar="[JSON|-]", type=json_value, default="null")
@on_storage
def signal(
    job_id: str, name: str, value: Any, target: str | None, storage: str | None, as_json: bool
) -> None:
    """Send a job a signal, which its handler takes with job.wait_for(NAME).

    It is kept until it is taken. The value is JSON, or - to read it from standard input.
    """
    from backroom.cli.asking import look_up
    from backroom.cli.output import printing, say, to_json

    look_up(
        target,
        storage,
        lambda service: recorded(
            service, "signal", job_id, lambda: service.signal(job_id, name, value), {"name": name}
        ),
    )
    with printing():
        if as_json:
            to_json({"sent": name})
        else:
            say(f"signal {name} sent")
