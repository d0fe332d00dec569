"""An order that takes days: steps that are done once, an approval by a person, and what was done
taken back by hand where the order comes to nothing. And a gift of several orders: all of them, or
what was ordered is sent back by itself.

backroom worker examples.order_in_steps:service
backroom jobs schedule ORDER '{"number": 7, "product": "tea", "cents": 250}' --app examples.order_in_steps:service
backroom jobs signal ID approved '{"by": "Ada", "yes": true}'
backroom jobs show ID
"""  # noqa: E501

from __future__ import annotations

from dataclasses import dataclass

from backroom import FailJob, Job, JobRequest, JobService, JobType, SignalTimeoutError


@dataclass
class Order:
    number: int
    product: str
    cents: int


@dataclass
class Approval:
    by: str
    yes: bool


@dataclass
class Payment:
    """A card that is declined is an answer, too: kept like any other, so that each run goes the
    same way."""

    paid: bool
    id: str


ORDER = JobType("ORDER", Order, result=str)
service = JobService()


class World:
    """What is outside: a warehouse and a bank, which do what they are asked under a key once."""

    def __init__(self) -> None:
        self.done: dict[str, str] = {}
        self.calls: list[str] = []
        self.declines: set[int] = set()
        """Orders whose card is declined."""

    async def ask(self, key: str, what: str) -> None:
        self.calls.append(what)
        self.done.setdefault(key, what)


world = World()


async def reserve(order: Order, key: str) -> str:
    await world.ask(key, f"reserve {order.product}")
    return f"shelf {order.number}"


async def release(place: str, key: str) -> None:
    await world.ask(key, f"release {place}")


async def charge(order: Order, key: str) -> Payment:
    await world.ask(key, f"charge {order.cents}")
    return Payment(order.number not in world.declines, key)


async def ship(place: str, key: str) -> str:
    await world.ask(key, f"ship from {place}")
    return f"parcel from {place}"


@service.handler(ORDER, retries=5, retry_delay=60)
async def take_order(job: Job[Order]) -> str:
    order = job.data
    place = await job.step("reserve", reserve, order, f"{job.id}-reserve")

    try:
        approval = await job.wait_for("approved", type=Approval, timeout="3d")
    except SignalTimeoutError:
        approval = Approval("nobody", False)
    if not approval.yes:
        await job.step("release", release, place, f"{job.id}-release")
        return f"refused by {approval.by}"

    payment = await job.step("charge", charge, order, f"{job.id}-charge")
    if not payment.paid:
        await job.step("release", release, place, f"{job.id}-release")
        return "the card was declined"

    await job.sleep("1d")  # The customer may still call.
    return await job.step("ship", ship, place, f"{job.id}-ship")


# -- several orders, or none -----------------------------------------------------------------------

BUY = JobType("BUY", Order, result=str)
SEND_BACK = JobType("SEND_BACK", Order)


@service.handler(BUY)
async def buy(job: Job[Order]) -> str:
    """What fails without a retry fails the whole gift."""
    order = job.data
    place = await job.step("reserve", reserve, order, f"{job.id}-reserve")
    payment = await job.step("charge", charge, order, f"{job.id}-charge")
    if not payment.paid:
        await job.step("release", release, place, f"{job.id}-release")
        raise FailJob(f"the card was declined for {order.product}")
    return await job.step("ship", ship, place, f"{job.id}-ship")


@service.handler(SEND_BACK)
async def send_back(job: Job[Order]) -> None:
    """Knows by `result_of` what it is to take back."""
    await world.ask(f"{job.id}-back", f"send back {await job.result_of(BUY)}")


async def give(*orders: Order) -> str:
    """All of these, one behind the other; where one comes to nothing, those before it are sent
    back, the last one first. Returns the id of the workflow."""
    async with service.workflow("gift", on_failure="compensate") as flow:
        jobs = [flow.add(BUY, order, undo=JobRequest(SEND_BACK, order)) for order in orders]
        flow.order(*jobs)
    return flow.id
