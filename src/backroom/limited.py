"""What is said of limits and turns, at types and at queues, and what jobs keep for that."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from backroom.codec import Codec
from backroom.errors import ConfigurationError, OptionError
from backroom.keypath import KeyPath
from backroom.limit import (
    QUEUE,
    UNLIMITED,
    Concurrency,
    Limit,
    LimitRecord,
    Need,
    limits_of,
    name_of,
)
from backroom.options import check_name
from backroom.tie import tied
from backroom.transition import Claim

__all__ = ["Limited", "OfType"]


class OfType(Protocol):
    """What is said at one job type."""

    @property
    def name(self) -> str: ...
    @property
    def limits(self) -> Sequence[Limit]: ...
    @property
    def slots(self) -> int | None: ...
    @property
    def fair_by(self) -> KeyPath | None: ...


class Limited:
    """The limits and turns of one service."""

    def __init__(self, types: Mapping[str, OfType]) -> None:
        """`types`: all that are known, by name; more may come."""
        self._types = types
        self._queues: dict[str, Concurrency] = {}
        self.operated: Mapping[str, int] = {}
        """Queues that operators have limited, as far as is known here, and to how many jobs."""

    # -- say -------------------------------------------------------------------------------------

    def limit_queue(self, queue: str, limit: object) -> None:
        """How many slots the jobs of a queue have together, across all workers.

        Raises:
            ConfigurationError: it is no `Concurrency`, or has a key; or another one was said.
        """
        queue = check_name("queue", queue)
        if not isinstance(limit, Concurrency) or limit.key is not None or limit.slots != 1:
            raise ConfigurationError(
                f"the limit of a queue is Concurrency(slots), got {limit!r}; what goes by key, by"
                " time, or counts more than once stands at a job type: limit=, slots="
            )
        if self._queues.get(queue, limit) != limit:
            raise ConfigurationError(
                f"queue {queue!r} has two limits: {self._queues[queue]!r} and {limit!r}"
            )
        self._queues[queue] = limit

    def check(self, name: str, said: Mapping[str, Any], given: Codec[Any]) -> None:
        """Whether what is said of limits and turns can stand at a type with such data, beside
        what others say.

        Raises:
            ConfigurationError: it cannot.
        """
        fair_by, limits = said.get("fair_by"), said.get("limit", ())
        if fair_by is not None:
            _check_key(given, fair_by)
        others = {
            name_of(one.name, limit): limit
            for one in self._types.values()
            if one.name != name
            for limit in one.limits
        }
        mine: set[str] = set()
        for limit in limits:
            if limit.key is not None:
                _check_key(given, limit.key)
            own = name_of(name, limit)
            if own in mine:
                raise ConfigurationError(f"{name}: two limits are called {own!r}; give one a name=")
            mine.add(own)
            other = others.get(own)
            if other is not None and other.record(own) != limit.record(own):
                raise ConfigurationError(
                    f"{name}: the limit {own!r} is {other!r} elsewhere, and {limit!r} here; one"
                    " name is one limit"
                )

    @property
    def records(self) -> list[LimitRecord]:
        """All limits that are said here."""
        found = {
            name: limit.record(name)
            for one in self._types.values()
            for limit in one.limits
            if (name := name_of(one.name, limit))
        }
        for queue, limit in self._queues.items():
            found[_of_queue(queue)] = limit.record(_of_queue(queue))
        return list(found.values())

    # -- of a job --------------------------------------------------------------------------------

    def concerns(self, one: OfType) -> bool:
        """Whether something may be said of jobs of this type."""
        return bool(one.limits or one.slots or one.fair_by or self._queues or self.operated)

    def hangs(self, one: OfType, queue: str, data: str) -> dict[str, Any]:
        """What a job is kept with: what it needs before it may run, and by which key it takes
        turns.

        Raises:
            OptionError: its data has no key; or it takes slots of a queue that has none, or has
                fewer.
        """
        of_queue = self._queues.get(queue)
        if one.slots is not None and of_queue is None:
            raise OptionError(
                f"{one.name}: slots={one.slots} of queue {queue!r}, which has no limit here:"
                f" say service.limit({queue!r}, Concurrency(...))"
            )
        if one.slots is not None and of_queue is not None and one.slots > of_queue.most:
            raise OptionError(
                f"{one.name}: slots={one.slots} is more than the {of_queue.most} that queue"
                f" {queue!r} has"
            )
        keyed = one.fair_by is not None or any(limit.key is not None for limit in one.limits)
        read = msgspec.json.decode(data) if keyed else None
        needs = list(self._needs(one, queue, lambda key: key.read(one.name, read)))
        if len({need.name for need in needs}) < len(needs):
            own = _of_queue(queue)
            raise OptionError(
                f"{one.name}: the limit of queue {queue!r} is called {own!r}, too; give the one of"
                " the type another name="
            )
        hangs: dict[str, Any] = {"limits": needs} if needs else {}
        if one.fair_by is not None:
            hangs["fair"] = one.fair_by.read(one.name, read)
        return hangs

    def unsaid(self, claims: Iterable[Claim]) -> dict[int, str]:
        """By the keys of those jobs of which whoever made them did not say all limits that hold
        here: the options that they are to be kept with."""
        limited = self._queues.keys() | self.operated.keys()
        if not limited and not any(one.limits for one in self._types.values()):
            return {}
        found = {}
        for claim in claims:
            one = self._types.get(claim.type)
            if one is not None and (one.limits or claim.queue in limited):
                options = self._completed(one, claim)
                if options is not None:
                    found[claim.key] = options
        return found

    def _completed(self, one: OfType, claim: Claim) -> str | None:
        said = limits_of(claim.options)
        names = {name_of(one.name, limit) for limit in one.limits}
        if claim.queue in self._queues or claim.queue in self.operated:
            names.add(_of_queue(claim.queue))
        if names <= {need.name for need in said}:
            return None
        try:
            data = msgspec.json.decode(claim.data)
        except msgspec.DecodeError:  # Its handler will say so.
            data = None

        def key_of(key: KeyPath) -> str:
            try:
                return key.read(one.name, data)
            except OptionError:  # All that have none share one.
                return ""

        others = [need for need in said if need.name not in names]
        return tied(claim.options, limits=[*others, *self._needs(one, claim.queue, key_of)])

    def _needs(self, one: OfType, queue: str, key_of: Callable[[KeyPath], str]) -> Iterator[Need]:
        of_queue = self._queues.get(queue)
        if of_queue is not None:
            yield Need(_of_queue(queue), "", min(one.slots or 1, of_queue.most), of_queue.most)
        elif queue in self.operated:  # The number is the storage's: this one counts nowhere.
            yield Need(_of_queue(queue), "", 1, UNLIMITED)
        for limit in one.limits:
            key = "" if limit.key is None else key_of(limit.key)
            yield limit.need(name_of(one.name, limit), key)


def _of_queue(queue: str) -> str:
    """The name of the limit of a queue."""
    return f"{QUEUE}{queue}"


def _check_key(given: Codec[Any], key: KeyPath) -> None:
    """Raises `ConfigurationError` where the data never has such a key."""
    lack = given.lack(key.names)
    if lack is not None:
        raise ConfigurationError(f"{given.owner}: there is no {key}: {lack}")
