"""What a page says of the change that led to it, and where a change leads back to."""

from __future__ import annotations

from typing import Final

import msgspec

from backroom.errors import OptionError
from backroom.web.problem import Problem

__all__ = ["Asked", "Said", "back_to", "refusal_of", "said_of"]


class Said(msgspec.Struct, frozen=True):
    """A line at the top of a page."""

    text: str
    tone: str = "good"
    link: str = ""
    link_text: str = ""


class Asked(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What every page takes: what was done just before, as a word of ours and a number, so that an
    address can make a page say nothing but these."""

    did: str | None = None
    changed: int | None = None


_WORDS: Final[dict[str, str]] = {
    "retried": "The job runs again.",
    "cancelled": "The job is cancelled.",
    "asked-to-cancel": "The job is asked to stop. It says so here once its handler has.",
    "ended-before": "The job had ended already; nothing was changed.",
    "deleted": "The job is deleted, with all that was kept of it.",
    "rescheduled": "The job has another moment.",
    "reprioritized": "The job has another priority.",
    "signalled": "The signal is sent. It is kept until the handler takes it.",
    "copied": "This is the copy. It is a job of its own.",
    "paused": "The queue is paused: none of its jobs starts. What runs goes on.",
    "resumed": "The queue goes on.",
    "limited": "The limit of the queue holds from now on.",
    "unlimited": "The limit is taken away.",
    "draining": "The worker claims no more jobs. It ends those that run.",
    "undrained": "The worker claims jobs again.",
    "schedule-run": "A job of the schedule was made, beside its ticks.",
    "schedule-paused": "The schedule is paused: its ticks are written down, and fire nothing.",
    "schedule-resumed": "The schedule goes on.",
    "schedule-deleted": "The schedule is deleted. Its jobs stay.",
    "workflow-cancelled": "Jobs of the workflow that were cancelled: {changed}.",
    "workflow-retried": "Jobs of the workflow that run again: {changed}.",
    "selected-retry": "Selected jobs that run again: {changed}.",
    "selected-cancel": "Selected jobs that are cancelled, or asked to stop: {changed}.",
    "selected-delete": "Selected jobs that are deleted: {changed}.",
    "none": "Nothing was selected.",
    "stopped": "Stopped. What was done stands.",
}


def said_of(asked: Asked) -> Said | None:
    """The line for that word; None for one that is none of ours."""
    text = _WORDS.get(asked.did or "")
    if text is None:
        return None
    return Said(text.format(changed=f"{asked.changed or 0:,}"))


def refusal_of(error: OptionError | Problem) -> Said:
    """What was wrong in a form, said above it."""
    text = str(error)
    if isinstance(error, Problem) and error.name == "bad-value" and error.at:
        text = f"{error.at.removeprefix('body.')}: {text}"
    return Said(text, "bad")


def back_to(path: str | None, otherwise: str) -> tuple[str, str]:
    """A path of ours and its query, from a field of a form: where the change was asked for. What
    could lead elsewhere is not gone to."""
    wanted = path or otherwise
    if not wanted.startswith("/") or wanted.startswith("//") or not wanted.isprintable():
        wanted = otherwise
    if "\\" in wanted or len(wanted) > 4000:
        wanted = otherwise
    before, _, query = wanted.partition("?")
    return before, query
