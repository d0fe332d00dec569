"""Corruption is detected, or refused loudly; never silently empty (promise 13)."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

FAULTS = "process/test_folder_faults.py"

MUTANTS = (
    Mutant(
        name="missing-database-refused",
        promises=(13,),
        guard="a folder that held jobs, and has no database, is refused and not begun anew",
        file="storage/folder.py",
        old="        if self.marked and size <= 0:",
        new="        if self.marked and size > 0 and size <= 0:",
        tests=(
            "process/test_folder_faults.py"
            "::test_a_database_that_has_gone_is_refused_until_somebody_says_that_it_may",
        ),
    ),
    Mutant(
        name="store-is-marked",
        promises=(13,),
        guard="a folder that holds jobs is marked as one",
        file="storage/sqlite/connect.py",
        old="        folder.mark()",
        new="        folder.marked",
        tests=(
            FAULTS + "::test_a_database_that_has_gone_is_refused_until_somebody_says_that_it_may",
        ),
        limit=180,
    ),
    Mutant(
        name="newer-schema-refused",
        promises=(13,),
        guard="a store that a newer Backroom wrote is refused",
        file="storage/sqlite/connect.py",
        old="        if version > SCHEMA_VERSION:",
        new="        if version > 1000 * SCHEMA_VERSION:",
        tests=(
            "process/test_folder_faults.py"
            "::test_a_store_of_a_newer_version_is_refused_and_untouched",
        ),
    ),
    Mutant(
        name="strangers-refused",
        promises=(13,),
        guard="a database of another application is refused, not filled with our tables",
        file="storage/sqlite/connect.py",
        old="    if application or version or tables:",
        new="    if application and version and not tables:",
        tests=(
            "process/test_folder_faults.py"
            "::test_a_database_of_another_application_is_refused_and_untouched",
        ),
    ),
    Mutant(
        name="header-checked",
        promises=(13,),
        guard="a store whose header is gone is not taken for a new one",
        file="storage/sqlite/connect.py",
        old="    if folder.marked:",
        new="    if folder.marked and application:",
        tests=(FAULTS + "::test_an_empty_database_in_the_place_of_a_store_is_refused",),
        limit=180,
    ),
    Mutant(
        name="size-checked",
        promises=(13,),
        guard="a database that is shorter than it says is refused",
        file="storage/sqlite/connect.py",
        old="    if size + log_size < pages * page_size:",
        new="    if size + log_size < 0 * pages * page_size:",
        tests=(
            "process/test_folder_faults.py::test_a_truncated_database_is_refused_wherever_it_ends",
        ),
    ),
    Mutant(
        name="pages-checked",
        promises=(13,),
        guard="the pages of a small database are checked when it is opened",
        file="storage/sqlite/connect.py",
        old='        if verdict != "ok":',
        new='        if verdict == "":',
        tests=(FAULTS + "::test_a_flipped_bit_in_what_a_job_is_found_by_is_refused",),
        limit=180,
    ),
    Mutant(
        name="network-refused",
        promises=(13,),
        guard="a network file system is refused",
        file="storage/folder.py",
        old="    if kind in _NETWORK:",
        new="    if kind in _NETWORK and kind is None:",
        tests=("process/test_folder_faults.py::test_a_network_file_system_is_refused",),
    ),
    Mutant(
        name="replaced-files-noticed",
        promises=(13, 1),
        guard="nothing is written to a database that was taken out of its folder",
        file="storage/connections.py",
        old="        return files != self._files or not all(files)",
        new="        return files != self._files and not files",
        tests=(
            "process/test_folder_faults.py::test_damage_that_comes_while_the_store_is_open_is_told",
        ),
    ),
    Mutant(
        name="stores-do-not-meet",
        promises=(13, 2),
        guard="what began in a store that was removed ends nothing in the one that takes its"
        " place: their workers and tokens have other numbers",
        file="storage/sqlite/connect.py",
        old="secrets.randbits(62), secrets.randbelow(WORKERS_FROM), secrets.randbelow(TOKENS_FROM)",
        new="secrets.randbits(62), 0, 0",
        tests=(
            FAULTS + "::test_what_began_in_a_store_that_was_removed_ends_nothing_in_the_next_one",
        ),
        limit=180,
    ),
    Mutant(
        name="fork-refused",
        promises=(13, 5),
        guard="a store that was opened before a fork is refused in the child",
        file="storage/folder.py",
        old="        if self._forked:\n            raise StorageClosedError(",
        new="        if self._forked and self._users < 0:\n            raise StorageClosedError(",
        tests=(
            "process/test_forks_and_locks.py"
            "::test_a_store_opened_before_a_fork_is_refused_in_the_child_and_works_in_the_parent",
        ),
    ),
    Mutant(
        name="turns-are-taken",
        promises=(13, 2),
        guard="processes that share a folder write one after the other",
        file="storage/folder.py",
        old="                fcntl.lockf(self._locks, fcntl.LOCK_EX, 1, 0)\n            else:",
        new="                os.fstat(self._locks)\n            else:",
        tests=(
            "process/test_turns.py"
            "::test_two_processes_that_share_two_folders_only_wait_for_each_other",
        ),
    ),
    Mutant(
        name="only-its-user-reads",
        promises=(13,),
        guard="only its user can read a store",
        file="storage/folder.py",
        old="os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600",
        new="os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644",
        tests=("process/test_folder_faults.py::test_only_its_user_can_read_a_store",),
    ),
)
