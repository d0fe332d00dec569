"""Webhooks: what became of a job, told to somebody else's server by a job of its own.

That job is made in the same change as the outcome that it tells of: there is one for each, and none
without. Its data is the body; the secret stands in no store, but is looked up by the webhook's name
where it is delivered.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from backroom.errors import ConfigurationError, DeliveryError, FailJob
from backroom.event import Event, JobCancelled, JobCompleted, JobFailed
from backroom.events import event_of
from backroom.handle import Job
from backroom.identity import JobIds
from backroom.job import JobRecord, State
from backroom.options import check_name
from backroom.posting import Answer, check_url, post
from backroom.registry import JobType
from backroom.signing import check_secret, sign
from backroom.transition import Claim, Transition

__all__ = [
    "DELIVERY",
    "EVENTS",
    "QUEUE",
    "RETRIES",
    "RETRY_DELAY",
    "TIMEOUT",
    "TYPE",
    "Webhook",
    "Webhooks",
]

TYPE: Final = "backroom.webhook"
QUEUE: Final = "webhooks"
RETRIES: Final = 18
"""With the waits between them, which grow to an hour, a server may be away for half a day."""
RETRY_DELAY: Final = 30.0
TIMEOUT: Final = 15.0
"""Seconds for the name, the connection, and each part of the answer."""
NORMAL: Final = 2
"""The priority of these jobs."""

EVENTS: Final[dict[str, type[Event]]] = {
    kind.name: kind for kind in (JobCompleted, JobFailed, JobCancelled)
}
"""What a webhook may tell: how jobs ended under a worker."""


class Webhook(msgspec.Struct, frozen=True):
    """Where to tell what."""

    name: str
    url: str
    secret: str
    events: frozenset[str]
    types: frozenset[str] | None = None
    """Of which job types; None: of all."""
    allow_http: bool = False
    allow_private: bool = False

    def __repr__(self) -> str:
        return f"Webhook({self.name!r}, {self.url!r}, secret=***)"


class Delivery(msgspec.Struct, frozen=True):
    """The data of a delivery."""

    webhook: str
    """Its name."""
    body: dict[str, Any]


DELIVERY: Final = JobType(TYPE, Delivery)


class Webhooks:
    """Those of one service."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._known: dict[str, Webhook] = {}
        self._make_id = JobIds()

    def add(
        self,
        name: str,
        url: str,
        secret: str,
        events: Sequence[str],
        types: Sequence[Any] | None,
        *,
        allow_http: bool,
        allow_private: bool,
    ) -> None:
        """One more.

        Raises:
            ConfigurationError: a word of it makes no sense, or there is one of that name.
        """
        name = check_name("webhook", name)
        if name in self._known:
            raise ConfigurationError(f"there is a webhook {name!r} already")
        check_secret(secret)
        check_url(url, allow_http=allow_http)
        if isinstance(events, str) or not events:
            raise ConfigurationError(f"events is a list of {', '.join(EVENTS)}, got {events!r}")
        for event in events:
            if event not in EVENTS:
                raise ConfigurationError(
                    f"a webhook tells of {', '.join(EVENTS)}, and not of {event!r}"
                )
        if isinstance(types, str):
            raise ConfigurationError(f"types is a list of job types, got {types!r}")
        of = None if types is None else frozenset(check_name("job type", one) for one in types)
        self._known[name] = Webhook(
            name, url, secret, frozenset(events), of, allow_http, allow_private
        )

    def follow(self, claim: Claim, transition: Transition) -> None:
        """Before an outcome is written: the jobs that are to tell of it are written with it."""
        if transition.state not in _ENDS or claim.type == TYPE:
            return
        now = self._now()
        event = event_of(claim, transition, now)
        if event is None:
            return
        follows = [
            self._job(webhook, event, now)
            for webhook in self._known.values()
            if event.name in webhook.events
            and (webhook.types is None or claim.type in webhook.types)
        ]
        if follows:
            transition.follows = follows

    def _job(self, webhook: Webhook, event: Event, now: int) -> JobRecord:
        said = msgspec.structs.asdict(event)
        body = {"type": event.name, "timestamp": said.pop("at"), "data": said}
        data = _encode(Delivery(webhook.name, body)).decode()
        return JobRecord(self._make_id(now), TYPE, QUEUE, NORMAL, now, now, data)

    def deliver(self, job: Job[Delivery]) -> dict[str, Any]:
        """The handler of these jobs: in a thread. Its log is that of the deliveries."""
        name = job.data.webhook
        webhook = self._known.get(name)
        if webhook is None:
            # Another release of the application may have it.
            raise DeliveryError(f"this process declares no webhook {name!r}")
        url = check_url(webhook.url, allow_http=webhook.allow_http)
        body = _encode(job.data.body)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "backroom-webhook",
            **sign(webhook.secret, f"msg_{job.id}", int(time.time()), body),
        }
        begun = time.monotonic()
        try:
            answer = post(url, body, headers, TIMEOUT, allow_private=webhook.allow_private)
        except DeliveryError as error:
            job.log.warning("%s after %.3f s: %s", webhook.name, time.monotonic() - begun, error)
            raise
        took = time.monotonic() - begun
        job.log.info("%s answered %d in %.3f s: %s", webhook.name, answer.status, took,
                     answer.begin)  # fmt: skip
        _check(webhook, answer)
        return {"status": answer.status, "seconds": round(took, 3)}


def _check(webhook: Webhook, answer: Answer) -> None:
    """Raises: DeliveryError, FailJob: what the answer says is no success."""
    if 200 <= answer.status < 300:
        return
    if answer.status == 410:
        raise FailJob(f"{webhook.name} answered 410 Gone: it wants no more of this")
    said = "which is not followed" if 300 <= answer.status < 400 else "which is no success"
    raise DeliveryError(f"{webhook.name} answered {answer.status}, {said}")


_ENDS: Final = (State.COMPLETED, State.FAILED, State.CANCELLED)


def _plain(value: Any) -> Any:
    if isinstance(value, str):  # msgspec refuses subclasses of `str`, such as JobId.
        return str.__str__(value)
    raise TypeError(f"{type(value).__name__} is no JSON")


_encode: Final = msgspec.json.Encoder(enc_hook=_plain).encode
