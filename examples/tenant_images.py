"""Thumbnails for many tenants: fair turns, so many of one tenant at once, memory by slots, and a
rate for the service that they are published to.

    python -m examples.tenant_images

A tenant that uploads a thousand images does not make another one wait that uploads a single one.
The images are real ones, PNG, made and read with the standard library alone.
"""

from __future__ import annotations

import asyncio
import struct
import tempfile
import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from backroom import Concurrency, FileJobStorage, Job, JobId, JobService, JobType, Rate

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png(width: int, height: int, rows: bytes) -> bytes:
    """A grey image: one byte a pixel."""
    lines = b"".join(b"\0" + rows[at : at + width] for at in range(0, width * height, width))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 1)), (b"IEND", b""))
    return SIGNATURE + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def pixels(image: bytes) -> tuple[int, int, bytes]:
    """Width, height and rows of an image that `png` has made."""
    if not image.startswith(SIGNATURE):
        raise ValueError("no PNG")
    at, data, width, height = len(SIGNATURE), b"", 0, 0
    while at < len(image):
        (size,) = struct.unpack_from(">I", image, at)
        kind, body = image[at + 4 : at + 8], image[at + 8 : at + 8 + size]
        if kind == b"IHDR":
            width, height = struct.unpack_from(">II", body)
        elif kind == b"IDAT":
            data += body
        at += 12 + size
    lines = zlib.decompress(data)
    rows = b"".join(lines[n + 1 : n + 1 + width] for n in range(0, len(lines), width + 1))
    return width, height, rows


def half(image: bytes) -> bytes:
    """The same image, half as wide and high."""
    width, height, rows = pixels(image)
    wide, high = width // 2, height // 2
    small = bytearray(wide * high)
    for y in range(high):
        for x in range(wide):
            at = 2 * y * width + 2 * x
            small[y * wide + x] = (
                rows[at] + rows[at + 1] + rows[at + width] + rows[at + width + 1]
            ) // 4
    return png(wide, high, bytes(small))


@dataclass
class Image:
    tenant: str
    path: str


@dataclass
class Thumbnail:
    path: str
    width: int
    height: int


@dataclass
class Seen:
    """What the example tells of itself, and its test looks at."""

    order: list[str] = field(default_factory=list)
    """Whose thumbnails were begun."""
    now: Counter[str] = field(default_factory=Counter)
    most: Counter[str] = field(default_factory=Counter)
    """How many of a tenant ran at once, at most; slots of the queue as "slots"."""
    published: list[float] = field(default_factory=list)
    """When, on the clock of the loop."""

    def begin(self, tenant: str, slots: int) -> None:
        for key, by in ((tenant, 1), ("slots", slots)):
            self.now[key] += by
            self.most[key] = max(self.most[key], self.now[key])

    def end(self, tenant: str, slots: int) -> None:
        self.now[tenant] -= 1
        self.now["slots"] -= slots


THUMBNAIL = JobType(
    "THUMBNAIL",
    Image,
    result=Thumbnail,
    queue="images",
    fair_by="data.tenant",  # Tenants take turns,
    limit=Concurrency(2, key="data.tenant"),  # and no one has more than two at once.
)
POSTER = JobType(
    "POSTER",
    Image,
    result=Thumbnail,
    queue="images",
    slots=3,  # Much memory: three of the queue's four slots.
    fair_by="data.tenant",
)
PUBLISH = JobType("PUBLISH", Thumbnail, limit=Rate(50, per=1))  # The other side asks for it.


def service(storage: FileJobStorage, seen: Seen) -> JobService:
    """A service that makes thumbnails."""
    jobs = JobService(storage, concurrency=8, poll_interval=0.05)
    jobs.limit("images", Concurrency(4))  # Of all workers together.

    async def shrink(job: Job[Image], slots: int) -> Thumbnail:
        seen.order.append(job.data.tenant)
        seen.begin(job.data.tenant, slots)
        try:
            source = Path(job.data.path)
            small = await asyncio.to_thread(lambda: half(source.read_bytes()))
            target = source.with_suffix(".small.png")
            await asyncio.to_thread(target.write_bytes, small)
        finally:
            seen.end(job.data.tenant, slots)
        width, height, _ = pixels(small)
        made = Thumbnail(str(target), width, height)
        await jobs.schedule(PUBLISH, made)
        return made

    @jobs.handler(THUMBNAIL)
    async def thumbnail(job: Job[Image]) -> Thumbnail:
        return await shrink(job, 1)

    @jobs.handler(POSTER)
    async def poster(job: Job[Image]) -> Thumbnail:
        return await shrink(job, 3)

    @jobs.handler(PUBLISH)
    async def publish(job: Job[Thumbnail]) -> None:
        seen.published.append(asyncio.get_running_loop().time())

    return jobs


def upload(folder: Path, tenant: str, number: int) -> Image:
    """An image of a tenant's."""
    path = folder / f"{tenant}-{number}.png"
    path.write_bytes(png(16, 12, bytes((x * number) % 256 for x in range(16 * 12))))
    return Image(tenant, str(path))


async def run(folder: Path, many: int = 40) -> Seen:
    """One tenant uploads many images, another one a single one, behind them."""
    seen = Seen()
    jobs = service(FileJobStorage(folder / "jobs"), seen)
    await jobs.open()
    ids: list[JobId[Thumbnail]] = [
        await jobs.schedule(THUMBNAIL, upload(folder, "large", n)) for n in range(many)
    ]
    ids.append(await jobs.schedule(POSTER, upload(folder, "large", many)))
    ids.append(await jobs.schedule(THUMBNAIL, upload(folder, "small", 1)))
    async with jobs:
        for job_id in ids:
            made = await jobs.result(job_id, timeout=60)
            assert (made.width, made.height) == (8, 6)
        while len(seen.published) < len(ids):
            await asyncio.sleep(0.02)
    return seen


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        seen = await run(Path(folder))
    print("the single image was number", seen.order.index("small") + 1, "of", len(seen.order))
    print("at once, at most:", dict(seen.most))


if __name__ == "__main__":
    asyncio.run(main())
