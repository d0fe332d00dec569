"""What the demo shows: lines as things happen, bars below them, and a table at the end."""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import TextIOWrapper
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .tally import Tally

STATUSES = {
    "scheduled": "blue",
    "pending": "yellow",
    "active": "cyan",
    "completed": "green",
    "failed": "red",
}


@dataclass
class Now:
    """What is known at one moment."""

    total: int = 0
    by_status: Mapping[str, int] = field(default_factory=dict)
    accepted: int = 0
    refused: int = 0
    worker: str = "not started yet"


class Screen:
    """Prints to a terminal with live bars, or to a file or pipe with a line now and then."""

    def __init__(self) -> None:
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # a terminal without UTF-8 is no error
        self.console = Console(highlight=False)
        self._started = time.monotonic()
        self._last_line = self._started
        self._now = Now()
        self._live: Live | None = None
        if sys.stdout.isatty() and not self.console.is_dumb_terminal:
            self._live = Live(
                get_renderable=self._bars, console=self.console, auto_refresh=False, transient=True
            )

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()

    @property
    def seconds(self) -> float:
        """Since the demo began."""
        return time.monotonic() - self._started

    def say(self, text: str) -> None:
        self.console.print(f"[dim]{self.seconds:5.1f} s[/]  {text}", soft_wrap=True)

    def show(self, now: Now) -> None:
        self._now = now
        if self._live:
            self._live.refresh()
        elif time.monotonic() - self._last_line >= 2:
            self._last_line = time.monotonic()
            active, completed = now.by_status.get("active", 0), now.by_status.get("completed", 0)
            self.say(
                f"{completed:,} of {now.total:,} jobs completed, {active} active; the server took "
                f"{now.accepted:,} mails and said 451 {now.refused} times"
            )

    def _bars(self) -> Group:
        now = self._now
        completed = now.by_status.get("completed", 0)
        bar = Table.grid(padding=(0, 2))
        bar.add_row(
            "jobs",
            ProgressBar(total=max(now.total, 1), completed=completed, width=44),
            f"[bold]{completed:,}[/] of {now.total:,}",
        )
        counts = "   ".join(
            f"{name} [{colour} bold]{now.by_status.get(name, 0):,}[/]"
            for name, colour in STATUSES.items()
        )
        facts = Table.grid(padding=(0, 2))
        facts.add_row("status", counts)
        facts.add_row("worker", now.worker)
        facts.add_row(
            "mails",
            f"taken by the server [green bold]{now.accepted:,}[/]   "
            f"refused with 451 [yellow bold]{now.refused:,}[/]",
        )
        return Group(Text(), bar, facts)

    def conclude(self, tally: Tally) -> None:
        """The table, and what does not add up."""
        table = Table(
            title=f"{self.seconds:.1f} seconds later", title_justify="left", show_header=False
        )
        table.add_column("")
        table.add_column("", justify="right", style="bold")
        table.add_column("")
        for name, number, note in _rows(tally):
            table.add_row(name, f"{number:,}", note)
        self.console.print()
        self.console.print(table)
        for problem in tally.problems:
            self.console.print(Text.assemble(("does not add up: ", "red bold"), problem))
        if not tally.problems:
            self.console.print("[green bold]Every number adds up.[/]")

    def offer(self, heading: str, lines: Sequence[tuple[str, str]]) -> None:
        """Lines of something to copy and what it is; never wrapped, so that copying works."""
        self.console.print(f"\n[bold]{heading}[/]")
        for text, what in lines:
            self.console.print(f"  [dim]{what}[/]")
            self.console.print(f"    {text}", soft_wrap=True, markup=False)


def _rows(tally: Tally) -> list[tuple[str, int, str]]:
    twice = ", ".join(tally.duplicates)
    return [
        ("scheduled", tally.scheduled, "acknowledged by the service"),
        ("completed", tally.completed, "mails sent and reports written"),
        ("retried", tally.retried, f"the server refused {tally.refused:,} mails at first (451)"),
        ("failed", tally.failed, "out of retries"),
        (
            "rescued",
            tally.rescued,
            f"active when their worker was killed; {tally.crashed} of them had started",
        ),
        (
            "mails in the Maildir",
            tally.mails,
            f"to {tally.recipients:,} recipients, "
            + ("some missing" if tally.lost else "exactly those that were written to"),
        ),
        (
            "  of these sent twice",
            len(tally.duplicates),
            f"left before the kill, recorded after it: {twice}" if twice else "",
        ),
        ("lost", tally.lost, ""),
    ]
