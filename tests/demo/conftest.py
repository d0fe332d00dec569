from __future__ import annotations

from tests.process.parts import family

__all__ = ["family"]
