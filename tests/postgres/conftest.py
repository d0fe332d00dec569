from __future__ import annotations

from tests.process.fixtures import family

__all__ = ["family"]
