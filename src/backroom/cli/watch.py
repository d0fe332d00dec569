"""A look at a store, again and again, until a signal."""

from __future__ import annotations

import asyncio
import signal
import sys

from backroom.cli.output import to_json_line
from backroom.service import JobService

__all__ = ["keep_looking"]


async def keep_looking(service: JobService, every: float, as_json: bool) -> None:
    """Shows the stats at once and then every so many seconds; SIGINT and SIGTERM end it."""
    leaving = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, leaving.set)
    if as_json:
        while not leaving.is_set():
            to_json_line(await service.get_stats())
            sys.stdout.flush()
            await _pause(leaving, every)
        return
    from rich.live import Live

    from backroom.cli import show

    picture = show.stats_view(await service.get_stats())
    with Live(picture, console=show.console(), auto_refresh=False) as live:
        while not leaving.is_set():
            await _pause(leaving, every)
            live.update(show.stats_view(await service.get_stats()), refresh=True)


async def _pause(leaving: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(leaving.wait(), seconds)
    except TimeoutError:
        return
