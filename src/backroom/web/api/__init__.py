"""The REST API: its routes, by what they speak of."""

from backroom.web.api import (
    audit,
    bulk,
    events,
    history,
    jobs,
    queues,
    schedules,
    store,
    workers,
    workflows,
)
from backroom.web.route import Route

__all__ = ["routes"]


def routes() -> list[Route]:
    """All of them."""
    return [
        *store.routes(), *history.routes(), *bulk.routes(), *jobs.routes(), *queues.routes(),
        *workers.routes(), *schedules.routes(), *workflows.routes(), *audit.routes(),
        *events.routes(),
    ]  # fmt: skip
