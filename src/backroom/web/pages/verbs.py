"""What can be done with all jobs that match a filter, as people are told of it."""

from __future__ import annotations

from typing import Final

import msgspec

from backroom.web.access import Role
from backroom.web.bulk import BulkVerb
from backroom.web.call import Call

__all__ = ["VERBS", "Verb", "verbs_for"]


class Verb(msgspec.Struct, frozen=True):
    """What can be done with many."""

    name: BulkVerb
    label: str
    means: str
    press: str = ""
    bad: bool = False
    short: str = ""
    """Its label where there is little room."""


VERBS: Final[dict[BulkVerb, Verb]] = {
    "retry": Verb(
        "retry", "Retry", "Each runs again at once, with a fresh budget of attempts.", press="A"
    ),
    "cancel": Verb(
        "cancel",
        "Cancel",
        "Those that wait are cancelled at once; those that run are asked to stop.",
    ),
    "reschedule": Verb(
        "reschedule",
        "Reschedule",
        "Those that wait get another moment; the others stay as they are.",
    ),
    "reprioritize": Verb(
        "reprioritize",
        "Change the priority of",
        "Those that wait do so in another priority; the others stay as they are.",
        short="Priority of",
    ),
    "delete": Verb(
        "delete", "Delete", "They are forgotten, with all that is kept of them.", bad=True
    ),
}


def verbs_for(call: Call, status: str | None, *, filtered: bool) -> list[Verb]:
    """What makes sense with jobs of that status; None: of any."""
    ended = status in ("completed", "failed", "cancelled")
    found = [VERBS["retry"]] if ended else []
    if not ended and (status or filtered):
        found.append(VERBS["cancel"])
        if status != "active":
            found += [VERBS["reschedule"], VERBS["reprioritize"]]
    if ended and call.may(Role.ADMIN):
        found.append(VERBS["delete"])
    return found
