"""`backroom top`, without a terminal: what a key does to the board, and what it asks for."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.console import Console

from backroom.cli.top.board import LEAVE, Board, Look, Wish
from backroom.cli.top.keys import keys_of
from backroom.cli.top.picture import picture
from backroom.crew import RunningJob, WorkerInfo, WorkerReport
from backroom.job import JobId, JobStatus
from backroom.stats import FailureGroup, JobStats, QueueStats

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def queue(name: str, paused: bool = False) -> QueueStats:
    return QueueStats(
        name=name, paused=paused, scheduled=1, pending=2, active=3, oldest_pending=None
    )


def worker(number: int, *running: RunningJob, draining: bool = False) -> WorkerInfo:
    report = WorkerReport(
        at=NOW, pid=1, host="here", memory=50_000_000, concurrency=5, queues="all",
        running=running, active=len(running), ahead=0,
    )  # fmt: skip
    return WorkerInfo(number, f"here:{number}", NOW, 0, draining, True, report)


def look(
    queues: tuple[QueueStats, ...] = (),
    workers: tuple[WorkerInfo, ...] = (),
    failures: tuple[FailureGroup, ...] = (),
) -> Look:
    return Look(JobStats(dict.fromkeys(JobStatus, 0), queues, ()), workers, failures)


def board_of(shown: Look) -> Board:
    board = Board()
    board.renew(shown)
    return board


def press(board: Board, *keys: str) -> object:
    answer: object = None
    for key in keys:
        answer = board.press(key)
    return answer


def drawn(board: Board, width: int = 120, height: int = 40) -> str:
    console = Console(width=width, height=height, force_terminal=False)
    with console.capture() as captured:
        console.print(picture(board, console.size))
    return captured.get()


def failed(type_: str, kind: str, message: str = "no such file") -> FailureGroup:
    return FailureGroup(type_, kind, 32, NOW, message, JobId("x"))


def test_a_queue_is_paused_and_goes_on_with_the_same_key() -> None:
    board = board_of(look((queue("mail"), queue("reports"))))
    assert press(board, "down", "p") == Wish("pause", ("reports",))
    board.renew(look((queue("mail"), queue("reports", paused=True))))
    assert press(board, "p") == Wish("resume", ("reports",))


def test_what_is_chosen_stays_chosen_where_rows_come_before_it() -> None:
    board = board_of(look((queue("mail"), queue("reports"))))
    press(board, "down")
    board.renew(look((queue("a"), queue("b"), queue("mail"), queue("reports"))))
    assert press(board, "p") == Wish("pause", ("reports",))


def test_what_costs_work_is_asked_first_and_only_a_yes_does_it() -> None:
    shown = look(failures=(failed("SEND", "ValueError"), failed("SEND", "timeout")))
    board = board_of(shown)
    assert press(board, "4", "down", "r") is None
    assert "retry 32 jobs of SEND that failed with timeout? y/n" in drawn(board)
    assert press(board, "n") is None
    assert board.message == "nothing was changed"
    assert press(board, "r", "y") == Wish(
        "retry", ("SEND", "timeout"), "retry 32 jobs of SEND that failed with timeout? y/n"
    )


def test_the_answer_is_to_what_was_asked_and_not_to_what_stands_there_by_then() -> None:
    board = board_of(look(failures=(failed("SEND", "ValueError"),)))
    press(board, "4", "r")
    board.renew(look(failures=(failed("PAY", "KeyError"), failed("SEND", "ValueError"))))
    wish = press(board, "y")
    assert isinstance(wish, Wish)
    assert wish.target == ("SEND", "ValueError")


def test_a_running_job_is_cancelled_a_worker_drained_and_taken_up_again() -> None:
    job = RunningJob("0190", "SEND", "mail", 1, NOW)
    board = board_of(look(workers=(worker(7, job), worker(8, draining=True))))
    wish = press(board, "3", "c", "y")
    assert isinstance(wish, Wish)
    assert wish[:2] == ("cancel", ("0190",))
    assert press(board, "2", "d") == Wish("drain", ("7",))
    assert press(board, "down", "d") == Wish("take up", ("8",))


def test_a_key_of_another_list_says_where_it_belongs_and_changes_nothing() -> None:
    board = board_of(look((queue("mail"),), failures=(failed("SEND", "ValueError"),)))
    assert press(board, "r") is None
    assert board.message == "r is for the list of failures: press 4"
    assert press(board, "x") is None
    assert "? shows the keys" in board.message


def test_an_empty_list_has_nothing_to_act_on() -> None:
    board = board_of(look())
    for panel, key in zip("1234", "pdcr", strict=True):
        assert press(board, panel, key) is None
        assert board.message == "there is nothing to choose in this list"


def test_a_picture_that_is_held_does_not_change_under_the_eyes() -> None:
    board = board_of(look((queue("mail"),)))
    press(board, " ")
    board.renew(look((queue("reports"),)))
    assert "mail" in drawn(board)
    press(board, " ")
    board.renew(look((queue("reports"),)))
    assert "mail" not in drawn(board)


def test_help_goes_with_any_key_and_q_leaves() -> None:
    board = board_of(look())
    press(board, "?")
    assert "pause the queue" in drawn(board)
    assert press(board, "q") is None
    assert press(board, "q") == LEAVE
    assert press(board, "ctrl-c") == LEAVE


def test_all_of_it_fits_whatever_the_terminal_and_the_chosen_row_is_among_it() -> None:
    many = tuple(queue(f"queue{number:02}") for number in range(50))
    jobs = tuple(RunningJob(f"job{number}", "SEND", "mail", 1, NOW) for number in range(100))
    board = board_of(look(many, (worker(1, *jobs),), (failed("SEND", "ValueError"),)))
    press(board, *["down"] * 42)
    for width, height in ((200, 60), (80, 24), (60, 20)):
        text = drawn(board, width, height)
        assert len(text.splitlines()) <= height, (width, height)
        assert "queue42" in text, (width, height)
        assert "ValueError" in text, (width, height)


def test_text_of_a_job_steers_no_terminal() -> None:
    board = board_of(look((queue("a\x1b[2Jb\u202e"),), failures=(failed("T", "K", "x\x07\r"),)))
    text = drawn(board)
    assert not {"\x1b", "\u202e", "\x07", "\r"} & set(text)
    assert "\\x1b[2Jb" in text


def test_keys_are_told_apart_however_they_come_together() -> None:
    assert keys_of("j\x1b[Bp\x1b[6~\t\x1b[Z\x1b[1;5Cq") == [
        "j", "down", "p", "pagedown", "tab", "shift-tab", "\x1b[1;5C", "q",
    ]  # fmt: skip
