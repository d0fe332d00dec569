"""A shop of its own for every test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from backroom import Job
from backroom.testing import Jobs, kit
from tests.testing.app import MAIL, Mail, Shop
from tests.testing.world import World


@pytest.fixture
def shop() -> Shop:
    shop = Shop()

    @shop.service.handler(MAIL)
    async def mail(job: Job[Mail]) -> str:
        shop.done.append((job.data.recipient, job.attempt))
        return "sent"

    @shop.service.handler("THREAD")
    def thread(job: Job[object]) -> str:
        shop.done.append(("thread", job.attempt))
        return "done"

    return shop


@pytest.fixture
def jobs(shop: Shop) -> Iterator[Jobs]:
    with kit(shop.service) as jobs:
        yield jobs


@pytest.fixture
def world() -> World:
    return World()
