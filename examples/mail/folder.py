"""The folder of one run of the demo: emptied at its start, and never one that it did not make."""

import contextlib
import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path

MARKER = ".backroom-demo"


class FolderRefusedError(Exception):
    """The folder is somebody else's; the message says why, and what to do."""


@contextlib.contextmanager
def fresh_folder(folder: Path) -> Iterator[Path]:
    """`folder`, absolute and empty but for a marker, and for nobody else while the block runs.

    Raises:
        FolderRefusedError: it holds what no demo made, or another demo runs in it. Nothing in it
            was touched.
    """
    folder = folder.resolve()
    marker = folder / MARKER
    if folder.exists() and not (marker.exists() or (folder.is_dir() and _is_empty(folder))):
        raise FolderRefusedError(
            f"{folder} was not made by this demo, so it is not emptied; name another one with --dir"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with marker.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderRefusedError(
                f"another demo runs in {folder}; wait for it, or name another one with --dir"
            ) from None
        for entry in folder.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry != marker:
                entry.unlink()
        yield folder


def _is_empty(folder: Path) -> bool:
    return not any(folder.iterdir())
