"""The REST API: its routes, by what they speak of."""

from backroom.web.api import events, jobs, queues, schedules, store, workflows
from backroom.web.route import Route

__all__ = ["routes"]


def routes() -> list[Route]:
    """All of them."""
    return [
        *store.routes(), *jobs.routes(), *queues.routes(), *schedules.routes(),
        *workflows.routes(), *events.routes(),
    ]  # fmt: skip
