"""`backroom worker`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from backroom.cli.commands import PREFIX, Command, option
from backroom.cli.complete import complete_queues

if TYPE_CHECKING:
    from backroom.service import JobService

__all__ = ["worker"]


@click.command(cls=Command, short_help="Run the jobs of a service.")
@click.argument("target", metavar="MODULE:ATTR", envvar=f"{PREFIX}_APP")
@option("--queue", "queues", multiple=True, shell_complete=complete_queues,
        help="Work on this queue only; repeatable.")  # fmt: skip
@option("--concurrency", type=click.IntRange(1, 10_000), help="Jobs at once.")
@option("--burst", is_flag=True, help="Leave when nothing is due.")
@option("--grace", type=click.FloatRange(0, 86_400), default=30, show_default=True,
        help="Seconds that running jobs have after the first signal.")  # fmt: skip
@option("--processes", type=click.IntRange(1, 256), default=1, show_default=True,
        help="Workers, each with that concurrency; SIGHUP replaces them.")  # fmt: skip
@option("--max-jobs", type=click.IntRange(1), help="Replace a worker after so many jobs.")
@option("--max-memory", type=click.IntRange(32), metavar="MIB",
        help="Replace a worker that uses more memory than this.")  # fmt: skip
@option("--metrics-port", type=click.IntRange(0, 65_535),
        help="Tell figures for Prometheus, and health, at this port; 0: any.")  # fmt: skip
@option("--metrics-host", default="127.0.0.1", show_default=True, metavar="ADDRESS",
        help="At this address of this machine; there is no login.")  # fmt: skip
@option("--reload", is_flag=True,
        help="For development: drain and restart when a .py file changes.")  # fmt: skip
@option("--dry-run", is_flag=True, help="Check everything, say what would run, start nothing.")
@option("--json", "as_json", is_flag=True, envvar=f"{PREFIX}_JSON",
        help="Log as lines of JSON; with --dry-run, print JSON.")  # fmt: skip
@option("--log-format", type=click.Choice(["text", "json"]),
        help="How to log; --json means json.")  # fmt: skip
@option("--verbose", "-v", is_flag=True, help="Log more.")
def worker(
    target: str | None,
    queues: tuple[str, ...],
    concurrency: int | None,
    burst: bool,
    grace: float,
    processes: int,
    max_jobs: int | None,
    max_memory: int | None,
    metrics_port: int | None,
    metrics_host: str,
    reload: bool,
    dry_run: bool,
    as_json: bool,
    log_format: str | None,
    verbose: bool,
) -> None:
    """Run the jobs of a service, for example: backroom worker app.jobs:service

    The first SIGTERM or Ctrl-C drains: no new job is started, running ones end. The second
    gives back what runs and leaves. With several processes, one that ends by itself is started
    again. Exit codes: 0 stopped; 1 an error, or code that had to be left running; 2 wrong
    usage. With --dry-run: 0 it would run; 1 something is wrong; 2 wrong usage.
    """
    if reload and (burst or max_jobs or max_memory):
        raise click.UsageError("--reload cannot be combined with --burst, --max-jobs, --max-memory")
    if metrics_port is not None:
        _check_figures(reload or processes > 1 or bool(max_jobs or max_memory))
    from backroom.cli.logs import log_to_stderr

    json_log = as_json if log_format is None else log_format == "json"
    log_to_stderr(as_json=json_log, verbose=verbose)
    if target is None:
        target = _given_name()
    if dry_run:
        from backroom.cli.rehearsal import rehearse

        raise SystemExit(rehearse(_service(target, queues, concurrency), target, as_json))

    import asyncio

    from backroom.cli.work import Wear, supervise, work
    from backroom.supervisor import SUPERVISED

    command = [sys.executable, *sys.orig_argv[1:]]
    supervised = SUPERVISED in os.environ
    if reload and not supervised:
        from backroom.cli.reload import reload_on_change

        code = asyncio.run(reload_on_change(command, target, processes))
    elif not supervised and (processes > 1 or max_jobs or max_memory):
        code = asyncio.run(supervise(command, processes, burst))
    else:
        wear = Wear(max_jobs, None if max_memory is None else max_memory << 20)
        service = _service(target, queues, concurrency)
        code = asyncio.run(
            work(
                service,
                target,
                burst,
                grace,
                wear,
                quiet=json_log,
                figures=None if metrics_port is None else (metrics_host, metrics_port),
            )
        )
    sys.stdout.flush()
    sys.stderr.flush()
    if code:
        # Threads that hang must not hold the process; what they ran has been disowned.
        os._exit(code)


def _check_figures(several: bool) -> None:
    """Raises `click.UsageError`: nobody could tell figures at one port."""
    import importlib.util

    if several:
        raise click.UsageError(
            "--metrics-port is for one worker process: with --processes, --max-jobs, --max-memory"
            " or --reload, several would want the port. What they tell of the store is the same:"
            " scrape /metrics of `backroom web`"
        )
    if importlib.util.find_spec("prometheus_client") is None:
        raise click.UsageError("--metrics-port needs the extra: pip install 'backroom[metrics]'")


def _service(target: str, queues: tuple[str, ...], concurrency: int | None) -> JobService:
    from backroom.cli.target import given_service, load_service

    given = given_service()
    service = load_service(target) if given is None else given.service()
    service.configure(concurrency=concurrency, only=queues or None)
    return service


def _given_name() -> str:
    """On the command line of another program, which names no service."""
    from backroom.cli.target import given_service

    given = given_service()
    assert given is not None
    return given.name
