"""The same commands on the command line of another program, about the service of that."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import click

from backroom.cli.main import Commands, jobs, main
from backroom.cli.target import Given
from backroom.service import JobService

__all__ = ["group_for"]

NAMING = ("target", "storage")
"""The parameters that say which service is meant."""


def group_for(name: str, service: Callable[[], JobService]) -> click.Group:
    """`jobs worker|list|show|retry|cancel|stats` for one service; `name` is what the worker
    says it works for. `service` is called when a command runs."""
    given = Given(name, service)
    group = Commands("jobs", help="Background jobs: run a worker, look at jobs, steer them.")
    for command in (main.commands["worker"], *jobs.commands.values(), main.commands["stats"]):
        group.add_command(_about(command, given))
    return group


def _about(command: click.Command, given: Given) -> click.Command:
    """A copy that takes no name of a service."""
    about = copy.copy(command)
    about.params = [param for param in command.params if param.name not in NAMING]
    if command.name == "worker":
        about.help = "Run the jobs of this application. Ctrl-C or SIGTERM drains; again leaves."
    naming = {param.name: None for param in command.params if param.name in NAMING}
    answer = command.callback
    assert answer is not None

    @click.pass_context
    def callback(context: click.Context, /, **arguments: Any) -> Any:
        context.obj = given
        return answer(**naming, **arguments)

    about.callback = callback
    return about
