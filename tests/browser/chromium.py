"""A real Chromium for the tests: the one that is named, one on the PATH, or Debian's, installed."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

__all__ = ["NONE_FOUND", "find"]

NAMES = ("chromium", "chromium-browser", "google-chrome")
NONE_FOUND = (
    "no Chromium: BACKROOM_TEST_CHROMIUM names none, none of chromium, chromium-browser and"
    " google-chrome is on the PATH, and it could not be installed with apt-get (that needs root on"
    " Debian)"
)


def find() -> str | None:
    """The path of one; None: there is none, and none could be installed."""
    named = os.environ.get("BACKROOM_TEST_CHROMIUM")
    if named:
        return named if os.access(named, os.X_OK) else None
    return _on_path() or _installed()


def _on_path() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def _installed() -> str | None:
    """Of several test processes one installs it, and the others wait for that."""
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0 or not Path("/etc/debian_version").exists():
        return None
    with Path(tempfile.gettempdir(), "backroom-chromium.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        tried = Path(tempfile.gettempdir(), f"backroom-chromium-tried-{os.getppid()}")
        if _on_path() is None and not tried.exists():
            tried.touch()
            quiet = {"capture_output": True, "check": False, "timeout": 600}
            environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            subprocess.run([apt, "-qq", "update"], env=environment, **quiet)  # type: ignore[call-overload]
            subprocess.run(
                [apt, "-qq", "install", "-y", "--no-install-recommends", "chromium"],
                env=environment, **quiet,  # type: ignore[call-overload]
            )  # fmt: skip
    return _on_path()
