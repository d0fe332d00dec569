"""How much memory this process holds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

__all__ = ["resident"]

_STATUS: Final = Path("/proc/self/statm")


def resident() -> int | None:
    """Bytes; None where the system does not tell."""
    try:
        pages = int(_STATUS.read_text().split()[1])
    except (OSError, ValueError, IndexError):  # Not Linux, or /proc is shut off.
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
