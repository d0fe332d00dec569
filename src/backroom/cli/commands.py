"""How commands behave, whichever they are: users' mistakes, help, options and their sources."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from backroom.cli.complete import complete_queues, complete_types
from backroom.cli.plain import plain
from backroom.cli.statuses import PRIORITIES
from backroom.cli.values import since
from backroom.errors import BackroomError

__all__ = [
    "COMPLETE",
    "PREFIX",
    "STORAGE",
    "Command",
    "Commands",
    "job_filters",
    "on_storage",
    "option",
]

_SERVICE: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
"""What looks like MODULE:ATTR."""
STORAGE: Final = re.compile(r"(file|memory|redis|postgres|postgresql):\S*")
"""What looks like the URL of a storage."""

F = TypeVar("F", bound=Callable[..., Any])

PREFIX: Final = "BACKROOM"
"""What the environment calls our options: BACKROOM_WORKER_PROCESSES."""
COMPLETE: Final = "_BACKROOM_COMPLETE"
"""What a shell asks for completions by."""


class Command(click.Command):
    """Its help says where else its options may be set; where a service or a storage is said in
    the wrong place, the error says the right one."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        said = list(args)
        try:
            return super().parse_args(context, args)
        except click.UsageError as error:
            for name, looks in (("--storage", STORAGE), ("--app", _SERVICE)):
                word = next((word for word in said if looks.fullmatch(word)), None)
                takes = any(name in parameter.opts for parameter in self.params)
                if takes and word is not None and name not in said:
                    hint = f"{error.format_message()} (did you mean {name} {word}?)"
                    raise click.UsageError(hint, context) from None
            raise

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(context, formatter)
        if context.auto_envvar_prefix and context.find_root().command.name == "main":
            table = _table(context)
            formatter.write_paragraph()
            with formatter.indentation():
                formatter.write_text(
                    "What is not given is taken from the environment, as shown, and then from"
                    f" [{table}] in backroom.toml, or [tool.backroom.{table}] in pyproject.toml;"
                    " app, storage and json may stand above all tables there."
                )


def _table(context: click.Context) -> str:
    """Where a file says this command's options: "jobs.list"."""
    names: list[str] = []
    while context.parent is not None:
        names.insert(0, context.info_name or "")
        context = context.parent
    return ".".join(names)


class Commands(click.Group):
    """Users' mistakes end with one line and code 1, or 2, never with a traceback."""

    command_class = Command

    def main(self, *args: Any, **extra: Any) -> Any:
        extra.setdefault("complete_var", COMPLETE)
        return super().main(*args, **extra)

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except BackroomError as error:
            raise click.ClickException(plain(error)) from None


Commands.group_class = Commands

option = functools.partial(click.option, show_envvar=True)
"""An option whose help names the variable that sets it, too."""


def on_storage(command: F) -> F:
    """The options that say where to look, and how to answer."""
    command = option("--json", "as_json", is_flag=True, envvar=f"{PREFIX}_JSON",
                     help="Print JSON.")(command)  # fmt: skip
    command = option(
        "--storage",
        metavar="URL",
        envvar=f"{PREFIX}_STORAGE",
        help="Where the jobs are; default file:./storage/jobs.",
    )(command)
    return option(
        "--app", "target", metavar="MODULE:ATTR", envvar=f"{PREFIX}_APP",
        help="Or: the service that knows.",
    )(command)  # fmt: skip


def job_filters(*statuses: str, default: str | None = None) -> Callable[[F], F]:
    """The options that say which jobs are meant. The command takes them as `**filters`."""

    def add(command: F) -> F:
        command = option("--until", type=since, metavar="MOMENT",
                         help="Jobs made before this moment.")(command)  # fmt: skip
        command = option("--since", type=since, metavar="MOMENT",
                         help="Jobs made since then: ISO 8601 with its zone, or so long ago,"
                         " 90s, 5m, 2h, 1d.")(command)  # fmt: skip
        command = option("--priority", type=click.Choice(PRIORITIES),
                         help="Jobs of this priority.")(command)  # fmt: skip
        command = option("--workflow", metavar="ID",
                         help="Jobs of this workflow or batch.")(command)  # fmt: skip
        command = option("--worker", metavar="HOST:PID",
                         help="Jobs that this worker holds.")(command)  # fmt: skip
        command = option("--error", metavar="KIND",
                         help="Jobs whose last error was of this kind.")(command)  # fmt: skip
        command = option("--text", help="Jobs that have this in their id, type, data, tags, unique"
                         " key or last error; in either case.")(command)  # fmt: skip
        command = option("--tag", help="Jobs with this tag.")(command)
        command = option("--queue", shell_complete=complete_queues,
                         help="Jobs of this queue.")(command)  # fmt: skip
        command = option("--type", metavar="TYPE", shell_complete=complete_types,
                         help="Jobs of this type.")(command)  # fmt: skip
        said = f" Default, with another filter: {default}." if default else ""
        return option("--status", type=click.Choice(statuses),
                      help=f"Jobs of this status.{said}")(command)  # fmt: skip

    return add
