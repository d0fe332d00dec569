"""`backroom doctor`."""

from __future__ import annotations

import click

from backroom.cli.commands import Command, on_storage
from backroom.cli.plain import plain

__all__ = ["doctor"]


@click.command(cls=Command, short_help="Look for what is wrong with a store.")
@on_storage
@click.option("--recount", is_flag=True, help="First count all jobs anew; who writes waits for it.")
@click.option("--requeue", is_flag=True, help="First put jobs that nobody would ever run back into"
              " their queues; workers may run.")  # fmt: skip
def doctor(
    target: str | None, storage: str | None, as_json: bool, recount: bool, requeue: bool
) -> None:
    """Look for what is wrong with a store, and say how to mend it.

    Exit codes: 0 nothing, or only warnings; 1 errors; 2 wrong usage.
    """
    import os
    import sys

    from backroom.cli.asking import said_once
    from backroom.cli.diagnosis import diagnose
    from backroom.cli.output import printing, say, to_json
    from backroom.cli.target import service_of

    with said_once():
        findings = diagnose(service_of(target, storage), recount, requeue)
    with printing():
        if as_json:
            to_json(findings)
        else:
            colours = {"ok": "green", "warning": "yellow", "error": "red"}
            for finding in findings:
                level = click.style(f"{finding.level:<8}", fg=colours[finding.level])
                text = plain(f"{finding.check:<12} {finding.says}")
                click.echo(f"{level} {text}", file=sys.stdout)
                if finding.mend:
                    say(plain(f"{'':<21} -> {finding.mend}"))
    if any(finding.level == "error" for finding in findings):
        # A thread may still wait for its turn at a store that hangs.
        sys.stderr.flush()
        os._exit(1)
