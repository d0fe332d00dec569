"""The root of all commands."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import click

from backroom import __version__
from backroom.cli.audit import audit
from backroom.cli.commands import PREFIX, Commands, option
from backroom.cli.completion import completion
from backroom.cli.copies import backup, restore
from backroom.cli.doctor import doctor
from backroom.cli.health import health
from backroom.cli.jobs import jobs
from backroom.cli.limits import limits
from backroom.cli.migrate import migrate
from backroom.cli.move import move
from backroom.cli.queues import queues
from backroom.cli.schedules import schedules
from backroom.cli.stats import stats
from backroom.cli.top import top
from backroom.cli.web import web
from backroom.cli.worker import worker
from backroom.cli.workers import workers
from backroom.cli.workflows import workflows

__all__ = ["Commands", "jobs", "main"]


class Root(Commands):
    """Reads the configuration before any command looks at its options."""

    def invoke(self, context: click.Context) -> Any:
        from backroom.cli.config import read_config

        context.default_map = read_config(self, context, context.params.get("config"))
        return super().invoke(context)


@click.group(
    cls=Root,
    name="main",
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": PREFIX},
    epilog="What a command line does not say is taken from the environment (BACKROOM_APP,"
    " BACKROOM_STORAGE, BACKROOM_JSON, BACKROOM_WORKER_PROCESSES ...), and then from"
    " backroom.toml, or [tool.backroom] in pyproject.toml, in the current folder."
    " Exit codes: 0 done; 1 refused, or something is wrong; 2 wrong usage.",
)
@click.version_option(__version__, prog_name="backroom")
@option("--config", type=click.Path(path_type=Path), envvar=f"{PREFIX}_CONFIG", metavar="FILE",
        help="Read this TOML file instead of backroom.toml or pyproject.toml.")  # fmt: skip
def main(config: Path | None) -> None:
    """Background jobs: run workers, look at jobs, steer them."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Text of a job that this encoding cannot write is shown escaped, as on standard error.
        sys.stdout.reconfigure(errors="backslashreplace")


COMMANDS = (
    worker, jobs, queues, workers, limits, schedules, workflows, stats, top, health, doctor,
    migrate, move, backup, restore, web, audit, completion,
)  # fmt: skip
for command in COMMANDS:
    main.add_command(command)
