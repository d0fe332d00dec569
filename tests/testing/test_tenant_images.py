"""The example of many tenants' images keeps what it says."""

from __future__ import annotations

from pathlib import Path

from examples.tenant_images import half, pixels, png, run


async def test_a_tenant_of_many_images_makes_nobody_wait(tmp_path: Path) -> None:
    seen = await run(tmp_path, many=24)
    assert len(seen.order) == 26
    assert seen.order.index("small") < 10
    assert seen.most["large"] <= 3  # Two thumbnails, and the poster, which is another type.
    assert seen.most["slots"] <= 4
    began, ended = min(seen.published), max(seen.published)
    assert ended - began >= (26 - 5) / 50 * 0.9  # A burst of five, then one each 20 ms.


def test_its_images_are_images() -> None:
    image = png(4, 2, bytes((0, 100, 10, 10, 100, 200, 10, 10)))
    assert pixels(image) == (4, 2, bytes((0, 100, 10, 10, 100, 200, 10, 10)))
    assert pixels(half(image)) == (2, 1, bytes((100, 10)))
