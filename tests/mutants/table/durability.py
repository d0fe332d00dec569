"""What was acknowledged is kept, and a disk that failed is not trusted (promises 1 and 16)."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

MUTANTS = (
    Mutant(
        name="log-synced",
        promises=(1,),
        guard="a commit is synced before it is answered (synchronous=FULL)",
        file="storage/sqlite/connect.py",
        old='synchronous = "FULL" if durability == "full" else "NORMAL"',
        new='synchronous = "NORMAL"',
        tests=("process/test_syncs.py",),
    ),
    Mutant(
        name="log-synced-at-all",
        promises=(1,),
        guard="the disk is asked to sync at all",
        file="storage/sqlite/connect.py",
        old='synchronous = "FULL" if durability == "full" else "NORMAL"',
        new='synchronous = "OFF"',
        tests=("process/test_syncs.py",),
    ),
    Mutant(
        name="folder-synced",
        promises=(1, 13),
        guard="the name of a new database is synced in its folder, before the folder is marked",
        file="storage/folder.py",
        old="""
        self.sync_log()
        _sync_names(self.path)
        """,
        new="""
        pass
        """,
        tests=("process/test_syncs.py",),
    ),
    Mutant(
        name="folder-name-synced",
        promises=(1,),
        guard="the name of a new folder is synced in the one above it",
        file="storage/folder.py",
        old="            _sync(above)",
        new="            pass",
        tests=("process/test_syncs.py",),
    ),
    Mutant(
        name="all-folder-names-synced",
        promises=(1,),
        guard="so are those of the folders above it that were made with it",
        file="storage/folder.py",
        old="    for above in path.parents:",
        new="    for above in path.parents[:1]:",
        tests=("process/test_syncs.py",),
    ),
    Mutant(
        name="log-synced-on-opening",
        promises=(1,),
        guard="what a dead process wrote and did not sync is synced before anybody answers from it",
        file="storage/sqlite/connect.py",
        old="            folder.sync_log()",
        new="            folder.sync_log",
        tests=("process/test_syncs.py",),
    ),
    Mutant(
        name="first-write-taken-back",
        promises=(13,),
        guard="a store whose very first write was cut short opens",
        file="storage/sqlite/connect.py",
        old="        _undo_first_write(folder)",
        new="        raise",
        tests=("process/test_syncs.py",),
    ),
    Mutant(
        name="marker-synced",
        promises=(1, 13),
        guard="the marker that tells a lost database from a new one is synced",
        file="storage/folder.py",
        old="""
            os.write(descriptor, text.encode())
            os.fsync(descriptor)
        """,
        new="""
            os.write(descriptor, text.encode())
        """,
        tests=("process/test_syncs.py",),
    ),
    Mutant(
        name="group-rolled-back",
        promises=(1, 15),
        guard="a group commit is all or nothing: what failed half-way is rolled back",
        file="storage/connections.py",
        old='run("ROLLBACK")',
        new='run("COMMIT")',
        tests=("contract/test_inserting.py", "contract/test_bad_items.py"),
    ),
    Mutant(
        name="memory-rolled-back",
        promises=(1, 4),
        guard="what memory knows of a transaction goes back with it",
        file="storage/connections.py",
        old="ledger.rollback(before)",
        new="ledger.wakes.clear()",
        tests=(
            "process/test_folder_faults.py"
            "::test_a_worker_that_could_not_enlist_is_not_in_the_way_of_the_next_one",
        ),
    ),
    Mutant(
        name="schedule-many-whole",
        promises=(15, 1),
        guard="the jobs of one schedule_many are kept together or not at all",
        file="storage/writer.py",
        old="""
        if len(changes) == 1 and not isinstance(changes[0], Finishes):
            if isinstance(error, apsw.Error):
        """,
        new="""
        if len(changes) == 1 and isinstance(changes[0], Inserts) and len(changes[0].jobs) > 1:
            whole = changes[0]
            whole.result = []
            for job in whole.jobs:
                alone = Inserts(
                    loop=whole.loop, future=whole.loop.create_future(), jobs=[job],
                    now=whole.now, worker=whole.worker, start=whole.start,
                )
                try:
                    self._commit([alone])
                    whole.result += alone.result
                except Exception as wrong:
                    whole.error = wrong
            return
        if len(changes) == 1 and not isinstance(changes[0], Finishes):
            if isinstance(error, apsw.Error):
        """,
        also=(("import Change, Finishes, Spoiled", "import Change, Finishes, Inserts, Spoiled"),),
        tests=("contract/test_inserting.py",),
    ),
    Mutant(
        name="half-written-spoils",
        promises=(15, 1),
        guard="what a refused change has written goes with its transaction",
        file="storage/changes.py",
        old="if ledger.connection.total_changes() != written:",
        new="if written < 0:",
        tests=(
            "process/test_turns.py::test_a_worker_that_is_refused_leaves_no_row_and_spoils_nothing",
        ),
    ),
    Mutant(
        name="fail-stop",
        promises=(16,),
        guard="a connection that met an I/O error is closed and opened anew",
        file="storage/writer.py",
        old="_FATAL = (apsw.IOError, apsw.CorruptError,",
        new="_FATAL = (apsw.CorruptError,",
        tests=("process/test_disk_errors.py::test_a_handle_that_failed_is_never_trusted_again",),
    ),
    Mutant(
        name="no-retry-after-io-error",
        promises=(16,),
        guard="a commit that met an I/O error is not tried again as if nothing had happened",
        file="storage/writer.py",
        old="_OWN_FAULT = (apsw.ConstraintError,",
        new="_OWN_FAULT = (apsw.IOError, apsw.ConstraintError,",
        tests=("process/test_disk_errors.py::test_a_handle_that_failed_is_never_trusted_again",),
    ),
    Mutant(
        name="log-distrusted",
        promises=(16, 1),
        guard="a log whose sync failed is copied into the database before more is written to it",
        file="storage/connections.py",
        old="self.distrusts_log = True",
        new="pass",
        tests=("process/test_disk_errors.py", "process/test_syncs.py"),
    ),
    Mutant(
        name="unknown-outcome-written-again",
        promises=(16, 3),
        guard="an outcome of which is not known whether it was kept is written again",
        file="recorder.py",
        old="""
        )  # fmt: skip
        await asyncio.sleep(pause)
        pause = min(pause * 2, MAX_PAUSE)
        """,
        new="""
        )
        stands = [False] * len(batch)
        break
        """,
        tests=("engine/test_storage_errors.py::test_an_outcome_is_written_until_it_stands",),
    ),
    Mutant(
        name="unknown-outcome-not-refused",
        promises=(16, 15),
        guard="an outcome that met an error of the disk counts as unknown, not as one that cannot"
        " be written",
        file="storage/writer.py",
        old="if isinstance(wrong, apsw.Error) and not isinstance(wrong, _OWN_FAULT):",
        new="if isinstance(wrong, apsw.CorruptError):",
        tests=("process/test_disk_errors.py", "process/test_turns.py"),
        limit=120,
    ),
    Mutant(
        name="system-error-not-refused",
        promises=(16, 15),
        guard="an outcome that met an error of the system counts as unknown",
        file="storage/writer.py",
        old="""
        except BackroomError as closed:
            change.error = closed
            return
        """,
        new="""
        except BackroomError:
            log.exception("the outcome of one job could not be kept")
        """,
        tests=("process/test_turns.py",),
    ),
)
