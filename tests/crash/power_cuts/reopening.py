"""A disk's tree is laid out in a folder and opened by the real storage, as after a power cut."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import apsw

from backroom import BackroomError, FileJobStorage
from backroom.inspecting import Filter
from backroom.ports import Want, WorkerSpec
from backroom.storage import folder
from backroom.storage.folder import Folder
from backroom.storage.sqlite.connect import connect
from tests.crash.power_cuts.disk import Tree
from tests.crash.power_cuts.facts import Facts, Row

__all__ = ["booted", "lay_out", "numbered", "opened", "reopened", "workshop"]

MARK: Final = '{"format": "backroom job store", "database": "jobs.db"}\n'
MANY: Final = 1000
ROWS: Final = """
    SELECT key, id, data, state, result, attempt, token, cancel_requested,
           EXISTS (SELECT 1 FROM worker, json_each(worker.started)
                   WHERE worker.id = job.worker AND json_each.value = job.key)
    FROM job
"""


SIZES: Final = (10, 200, 1500, 6000)
"""Characters of a job's data: within a page, and over several."""


def numbered(number: int) -> dict[str, Any]:
    """A job's data, which tells whether it is whole."""
    size = SIZES[number % len(SIZES)]
    return {"n": number, "text": (f"{number}-" * size)[:size]}


@contextmanager
def workshop() -> Iterator[Path]:
    """A folder in memory, where there is such a place."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(
        prefix="power-cuts-", dir=memory if os.access(memory, os.W_OK) else None
    ) as folder:
        yield Path(folder).resolve()


def lay_out(tree: Tree, root: Path) -> None:
    root.mkdir()
    for path, content in sorted(tree.items()):
        if content is None:
            (root / path).mkdir(mode=0o700)
        else:
            (root / path).write_bytes(content)


@contextmanager
def booted(boot: str) -> Iterator[None]:
    """After a power cut the machine was started anew. Its list of mounts is read once, and not
    for each of thousands of openings."""
    kind = folder._file_system(Path(tempfile.gettempdir()))
    with (
        patch("backroom.storage.file.boot_id", lambda: boot),
        patch("backroom.storage.folder._file_system", lambda path: kind),
    ):
        yield


def opened(tree: Tree, root: Path, store: str) -> Facts:
    """The quick look: as the storage opens it, and what its tables hold."""
    lay_out(tree, root)
    facts = _untouched(root / store)
    try:
        entered = Folder.enter(root / store)
        try:
            with entered.writing(patiently=False):
                writer, reader = connect(entered, "full")
                reader.close()
                _read(writer, facts)
                writer.close()
        finally:
            entered.leave()
    except (BackroomError, apsw.Error, UnicodeDecodeError) as error:
        facts.refused = str(error)
    finally:
        shutil.rmtree(root)
    return facts


async def reopened(tree: Tree, root: Path, store: str) -> Facts:
    """The long look: the storage opens it, a worker takes back what the dead ones held, and
    claims all it can."""
    lay_out(tree, root)
    facts = _untouched(root / store)
    storage = FileJobStorage(root / store)
    try:
        await storage.open()
        connection = apsw.Connection(str(root / store / "jobs.db"))
        try:
            _read(connection, facts)
            worker = await _work(storage, facts)
            _read_after(connection, facts)
            await storage.retire(worker)
        finally:
            connection.close()
            await storage.close()
    except (BackroomError, apsw.Error, UnicodeDecodeError) as error:
        facts.refused = str(error)
    finally:
        shutil.rmtree(root)
    return facts


async def _work(storage: FileJobStorage, facts: Facts) -> int:
    now = storage.clock.now()
    shown, _ = await storage.page(Filter(), now, MANY, None)
    if {info.id for info in shown} != {row.id for row in facts.rows.values()}:
        facts.unlike = f"{len(shown)} shown, {len(facts.rows)} rows"
    await storage.reclaim(now)
    worker = (await storage.enlist(WorkerSpec("after", 30))).worker
    rooms = (MANY, MANY, MANY, MANY)
    claimed = await storage.claim(worker, Want(None, (), rooms), now)
    rows = {row.key: row for row in facts.rows.values()}
    for claim in claimed.claims:
        rows[claim.key].token_after = claim.token
    return worker


def _untouched(folder: Path) -> Facts:
    """What is seen before anything is opened, which would mend it."""
    mark = folder / "store.json"
    return Facts(marked=mark.exists() and mark.read_bytes() == MARK.encode())


def _read(connection: apsw.Connection, facts: Facts) -> None:
    run = connection.execute
    facts.integrity = "; ".join(line for (line,) in run("PRAGMA integrity_check"))
    [(facts.token,)] = run("SELECT value FROM meta WHERE name = 'token'")
    facts.queues = {name: bool(paused) for name, paused in run("SELECT name, paused FROM queue")}
    for key, id_, text, state, result, attempt, token, stopped, started in run(ROWS):
        number = _number(text)
        if number in facts.rows:
            facts.unlike = f"job {number} is there twice"
        whole = json.dumps(numbered(number), separators=(",", ":")) == text
        facts.rows[number] = Row(
            key, id_, state, result, attempt, token, bool(started), bool(stopped), whole
        )


def _number(text: str) -> int:
    """Of a job, from its data; 0 where that is damaged."""
    found = re.match(r'{"n":(\d+),', text)
    return 0 if found is None else int(found[1])


def _read_after(connection: apsw.Connection, facts: Facts) -> None:
    rows = {row.key: row for row in facts.rows.values()}
    for key, attempt in connection.execute("SELECT key, attempt FROM job"):
        rows[key].attempt_after = attempt
