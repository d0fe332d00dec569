"""`backroom workflows`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from backroom.cli.commands import Commands, on_storage, option
from backroom.cli.plain import count_of
from backroom.cli.recording import recorded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from backroom.service import JobService

__all__ = ["workflows"]


@click.group(cls=Commands)
def workflows() -> None:
    """Look at workflows and batches; cancel one, or retry it from where it failed."""


@workflows.command("list")
@option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True,
        help="How many at most.")  # fmt: skip
@option("--cursor", help="Where the last page ended.")
@on_storage
def list_workflows(target: str | None, storage: str | None, as_json: bool, **page: Any) -> None:
    """Workflows and batches with their counts, newest first."""
    from backroom.cli.asking import look_up
    from backroom.cli.output import printing, to_json

    found = look_up(target, storage, lambda service: service.get_workflows(**page))
    with printing():
        if as_json:
            to_json({"workflows": list(found), "cursor": found.cursor})
        else:
            from backroom.cli import show_workflows

            show_workflows.workflows(found)


@workflows.command("show")
@click.argument("workflow_id")
@on_storage
def show_workflow(workflow_id: str, target: str | None, storage: str | None, as_json: bool) -> None:
    """One workflow as a graph: its jobs, and what each of them waits for."""
    from backroom.cli.asking import look_up
    from backroom.cli.output import printing, to_json

    info = look_up(target, storage, lambda service: service.get_workflow(workflow_id))
    with printing():
        if as_json:
            to_json(info)
        else:
            from backroom.cli import show_workflows

            show_workflows.workflow(info)


@workflows.command("cancel")
@click.argument("workflow_id")
@on_storage
def cancel(**said: Any) -> None:
    """Cancel the jobs of a workflow that have not ended."""
    _steer(lambda service, id_: service.cancel_workflow(id_), "cancel", "cancelled", **said)


@workflows.command("retry")
@click.argument("workflow_id")
@on_storage
def retry(**said: Any) -> None:
    """Run the jobs of a workflow again that did not complete, in their order."""
    _steer(lambda service, id_: service.retry_workflow(id_), "retry", "due now", **said)


def _steer(
    change: Callable[[JobService, str], Awaitable[int]],
    verb: str,
    done: str,
    workflow_id: str,
    target: str | None,
    storage: str | None,
    as_json: bool,
) -> None:
    from backroom.cli.asking import look_up
    from backroom.cli.output import printing, say, to_json

    count = look_up(
        target,
        storage,
        lambda service: recorded(
            service, verb, f"workflow {workflow_id}", lambda: change(service, workflow_id),
            changed=lambda count: count,
        ),
    )  # fmt: skip
    with printing():
        if as_json:
            to_json({"jobs": count})
        else:
            say(f"{count_of(count, 'job')} {done}")
