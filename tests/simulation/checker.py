"""Walks the history of a world, and holds it against the promises.

What the storage said that it did is walked in the order in which it did it. Beside it stands a
small book of who holds which claim, and what has been charged, written from nothing but these
words; every word must agree with the book, and with what the processes did meanwhile.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from backroom.job import SECOND
from backroom.lanes import EVERY
from backroom.transition import MAX_CRASHES
from tests.simulation.history import Event
from tests.simulation.ticks import TickBooks
from tests.simulation.world import HEARD, LATER_BY, START, TIMEOUT, TOLD, World

__all__ = ["Violation", "check"]

TERMINAL: Final = {"COMPLETED", "FAILED", "CANCELLED"}
LATER: Final = 1.5
"""Seconds after a stop was asked for, from which on nothing may begin."""
AHEAD: Final = 16
"""Jobs that workers may have claimed before."""
SWEEPS: Final = 8.0
"""Seconds beyond its lease in which the claims of a dead worker are taken back, where nothing
but deaths befalls the workers."""


HEARING: Final = {"crash", "clock", "kill at once", "people", "term", "twice", "unheard"}
"""Troubles under which each worker hears within seconds what operators say."""


class Violation(NamedTuple):
    promise: int
    what: str
    jobs: frozenset[int]
    at: float


class Hold(msgspec.Struct):
    """A claim."""

    token: int
    worker: int
    attempt: int
    """Charged before it, those before an operator's retry included."""
    counted: bool = False
    begun: bool = False


class Book(msgspec.Struct):
    """A job."""

    n: int
    asked: dict[str, Any]
    """What its producer said."""
    kept: bool = False
    told: bool = False
    kind: str = ""
    key: str | None = None
    until: int | None = None
    """How long it holds its key: as `Hold.until`."""
    answered: set[int] = msgspec.field(default_factory=set)
    """Jobs that answered for it."""
    granted: bool = False
    ran: bool = False
    """An attempt was charged."""
    queue: str = ""
    priority: int = 0
    run_at: int = 0
    since: float = 0.0
    """When it was kept."""
    state: str = "live"
    """Or how it has ended; "gone"."""
    hold: Hold | None = None
    token: int = 0
    """The last one."""
    outcomes: dict[int, str] = msgspec.field(default_factory=dict)
    """By token."""
    attempts: int = 0
    crashes: int = 0
    passed: int = 0
    """Jobs of its queue that were granted since it has been due for too long."""
    most: int = 0
    older: int = 0
    """As many as may be."""
    renewed: bool = False
    """An operator let it run now: if it waited for its next attempt, with a fresh budget."""
    cancel: bool = False
    """People asked for it while it ran."""
    returned: dict[int, str] = msgspec.field(default_factory=dict)
    """By token: what its handler did, where that came to its end."""
    runs: dict[int, str] = msgspec.field(default_factory=dict)
    """Code that runs, by token: in which process."""
    process: dict[int, str] = msgspec.field(default_factory=dict)
    """The same of all code that ever ran."""
    began: dict[int, float] = msgspec.field(default_factory=dict)

    parents: list[int] = msgspec.field(default_factory=list)
    """Jobs that it waits for."""
    anyway: bool = False
    """It runs whichever way these end."""
    woven: bool = False
    """It belongs to a workflow."""

    @property
    def lane(self) -> int:
        """The key of its limit and of its turns, in worlds that have some."""
        return int(self.asked.get("lane", 0))

    @property
    def place(self) -> tuple[str, int]:
        """Where it waits."""
        return self.queue, self.priority

    @property
    def live(self) -> bool:
        return self.kept and self.state == "live"

    @property
    def name(self) -> tuple[str, str | None]:
        """Of its key."""
        return self.kind, self.key

    def has_its_key(self, at: int) -> bool:
        """It is beyond doubt that it holds its key at this moment, whoever wants it."""
        if self.until is None:
            return self.live
        return at < self.until - SECOND if self.until else self.live and not self.granted

    def has_no_key(self, at: int) -> bool:
        """It is beyond doubt that it does not."""
        if self.until is None:
            return not self.live
        started = self.ran or (self.hold is not None and self.hold.counted)
        return at >= self.until if self.until else not self.live or started


class Worker(msgspec.Struct):
    number: int
    process: str
    lease: float
    signs: list[float]
    """Of life: when it enlisted, and extended its lease."""
    living: bool = True
    unheard: list[float] = msgspec.field(default_factory=list)
    """Those of which the process has not heard."""

    @property
    def extended(self) -> float:
        return self.signs[-1]

    def stands(self, now: float) -> bool:
        """Whether it is well beyond doubt that its process still has this lease."""
        if now < self.signs[0] + self.lease / 2:
            return True
        heard = [sign for sign in self.signs if sign not in self.unheard]
        return len([sign for sign in heard if sign > now - 0.7 * self.lease]) > 1


class Checker:
    def __init__(self, world: World) -> None:
        self._world = world
        self._plan = world.plan
        self._precise = world.backends.precise
        self._jobs: dict[int, Book] = {}
        self._keys: dict[tuple[str, str | None], Book] = {}
        """Who took each key last, where that is not held until a job ends."""
        self._workers: dict[int, Worker] = {}
        self._by_name: dict[str, Worker] = {}
        self._latest: dict[str, Worker] = {}
        """By process."""
        self._dead: dict[str, float] = {}
        self._leaving: dict[str, float] = {}
        self._stood: dict[str, float] = defaultdict(lambda: -1e9)
        """Until when a process stood still, or its loop was blocked."""
        self._frozen: dict[str, float] = defaultdict(lambda: -1e9)
        """The same, its lease's thread included."""
        self._cut: dict[str, float] = defaultdict(lambda: -1e9)
        self._paused: set[str] = set()
        self._operated: dict[str, tuple[int | None, float]] = {}
        """By queue: what an operator has said of it, and since when it is that."""
        self._calm_since = 0.0
        self._starts: dict[int, list[int]] = defaultdict(list)
        """By lane, when jobs of it were granted."""
        self._ticks = TickBooks(self._wrong)
        self._calm = False
        self.found: list[Violation] = []
        self._at = 0.0

    def walk(self) -> list[Violation]:
        steps: dict[str, Callable[[Event], None]] = {
            "schedules": self._schedules, "keeps": self._keeps, "has already": self._has_already,
            "appears": self._appears,
            "is refused": self._has_already, "is replaced": self._replaced,
            "is told": self._is_told, "grants": self._grants, "counts": self._counts,
            "begins": self._begins, "returns": self._returns, "raises": self._returns,
            "is interrupted": self._interrupted, "ends": self._ends, "refuses": self._refuses,
            "takes back": self._takes_back, "disowns": self._disowns, "retires": self._retires,
            "reclaims": self._reclaims, "enlists": self._enlists, "extends": self._extends,
            "cancel: stands": self._cancelled, "retry: stands": self._retried,
            "waits": self._waits, "flow: stands": self._flow_stands,
            "delete: stands": self._deleted, "prune: stands": self._pruned,
            "pauses": lambda e: self._paused.add(e.more["queue"]),
            "resumes": lambda e: self._paused.discard(e.more["queue"]),
            "crashes": self._crashes, "stands still": self._stands_still,
            "blocks its loop": self._blocks, "is told to stop": self._told_to_stop,
            "has stopped": self._has_stopped, "is cut off": self._is_cut,
            "hears the result": self._hears, "calm": self._calms,
            "keeps a schedule": self._ticks.kept, "switches a schedule": self._ticks.switched,
            "miscounts": lambda e: self._wrong(13, f"numbers are wrong: {e.more['numbers']}"),
            "limits": self._limits,
            "strands": lambda e: self._wrong(
                12, f"job {e.job} is where nobody would ever come for it", e.job or 0
            ),
            "fires": self._ticks.fires, "stand still": self._ticks.stands_still,
        }  # fmt: skip
        for event in self._world.history.events:
            self._at = event.at
            step = steps.get(event.what)
            if step is not None:
                step(event)
        self._final()
        return self.found

    def _wrong(self, promise: int, what: str, *jobs: int) -> None:
        self.found.append(Violation(promise, what, frozenset(jobs), self._at))

    def _book(self, event: Event) -> Book:
        assert event.job is not None
        return self._jobs[event.job]

    # -- what producers and the storage say of a job --------------------------------------------

    def _schedules(self, event: Event) -> None:
        assert event.job is not None
        self._jobs[event.job] = Book(event.job, event.more)

    def _keeps(self, event: Event) -> None:
        book = self._jobs.get(event.job or 0)
        if book is None:
            self._wrong(1, f"job {event.job} was kept, and nobody had scheduled it")
            return
        if book.kept and book.state != "gone":
            self._wrong(6, f"job {book.n} was kept twice", book.n)
        more = event.more
        book.kind, book.key, book.until = more["type"], more["key"], more["until"]
        self._check_key(book, more["made"], more["how"])
        self._takes_key(book)
        if book.state == "gone":  # It was sent twice, and ended between the two.
            book.attempts = book.crashes = 0
            book.granted = book.ran = False
        book.kept, book.state, book.since = True, "live", event.at
        book.queue, book.priority, book.run_at = more["queue"], more["priority"], more["run_at"]
        if self._plan.crowd:
            book.most = self._may_go_before(book)

    def _appears(self, event: Event) -> None:
        """A worker was given a job that nobody had scheduled."""
        assert event.job is not None
        self._jobs[event.job] = Book(event.job, {"acts": []}, kept=True)
        self._wrong(1, f"there is a job {event.job} that nobody scheduled", event.job)

    def _check_key(self, book: Book, made: int, how: str = "") -> None:
        """Nobody else has the key of a job that is there from now on. Upkeep may let go of keys
        by a clock that is ahead. What would replace a job of a workflow that has not started is a
        job of its own."""
        if book.key is None:
            return
        now = max(made, START + round((self._at + (LATER_BY if self._calm else 0)) * SECOND))
        last = self._keys.get(book.name)
        others = [one for one in self._jobs.values() if one.until is None and one.name == book.name]
        beside = last is not None and last.woven and last.until == 0 and how == "replace"
        if last is not None and not beside and not (last.until and "clock" in self._plan.troubles):
            others.append(last)
        for other in others:
            if other is not book and other.has_its_key(now):
                self._wrong(
                    6, f"jobs {other.n} and {book.n} have {book.key!r} at once", other.n, book.n
                )

    def _takes_key(self, book: Book) -> None:
        self._keys.pop(book.name, None)
        if book.until is not None:
            self._keys[book.name] = book

    def _has_already(self, event: Event) -> None:
        """A job was not made, since another one has its key; or nothing of its call was."""
        book, other = self._book(event), self._jobs[event.more["other"]]
        if other.n in book.answered:
            return  # It was sent twice.
        if event.what == "has already":
            book.answered.add(other.n)
        if other.has_no_key(event.more["made"]):
            self._wrong(
                6, f"job {book.n} was refused for job {other.n}, which does not have its key; it is"
                f" {other.state}", book.n, other.n,
            )  # fmt: skip

    def _replaced(self, event: Event) -> None:
        book, more = self._book(event), event.more
        if book.hold is not None or book.ran or not book.live:
            self._wrong(6, f"job {book.n} was replaced, and did not wait to be run", book.n)
        if book.woven:
            self._wrong(6, f"job {book.n}, which belongs to a workflow, was replaced", book.n)
        book.asked = self._jobs[more["by"]].asked
        book.queue, book.priority, book.run_at = more["queue"], more["priority"], more["run_at"]

    def _is_told(self, event: Event) -> None:
        of = event.more["of"]
        if of is None or not self._jobs[of].kept:
            self._wrong(1, f"job {event.job} was acknowledged, and is not kept", event.job or 0)
            return
        self._jobs[of].told = True

    # -- claims ----------------------------------------------------------------------------------

    def _enlists(self, event: Event) -> None:
        more = event.more
        before = self._latest.get(more["process"])
        if (
            before
            and before.living
            and before.stands(event.at)
            and not (self._slow(before) or self._frozen[before.process] > event.at - before.lease)
        ):
            self._wrong(5, f"{before.process} enlisted anew, though its lease stood")
        worker = Worker(more["worker"], more["process"], more["lease"], [event.at])
        self._latest[worker.process] = self._by_name[more["name"]] = worker
        self._workers[worker.number] = worker

    def _extends(self, event: Event) -> None:
        self._workers[event.more["worker"]].signs.append(event.at)

    def _grants(self, event: Event) -> None:
        book, more = self._book(event), event.more
        worker = self._workers[more["worker"]]
        if book.hold is not None:
            self._wrong(
                2, f"job {book.n} was granted to worker {worker.number} while worker"
                f" {book.hold.worker} held it", book.n,
            )  # fmt: skip
        if more["token"] <= book.token:
            self._wrong(
                2, f"token {more['token']} of job {book.n} is not above {book.token}", book.n
            )
        if not book.live:
            self._wrong(3, f"job {book.n}, which is {book.state}, was granted", book.n)
        if not worker.living:
            self._wrong(2, f"worker {worker.number}, which is dead, got job {book.n}", book.n)
        if book.queue in self._paused:
            self._wrong(12, f"job {book.n} of a paused queue was granted", book.n)
        charged = (more["attempt"] - more["budget"], more["crashes"])
        if book.renewed and charged == (0, 0):
            book.attempts = book.crashes = 0
        book.renewed = False
        if charged != (book.attempts, book.crashes):
            self._wrong(
                4, f"job {book.n} stands at {charged} attempts and crashes, the book at"
                f" {(book.attempts, book.crashes)}", book.n,
            )  # fmt: skip
        if self._plan.flood:
            self._check_starving(book)
        if self._plan.crowd and not book.granted:
            self._check_turns(book)
        self._check_parents(book)
        book.token, book.granted = more["token"], True
        book.passed = book.most = 0
        book.hold = Hold(more["token"], worker.number, more["attempt"], more["counted"])
        self._check_lane(book)
        self._check_pace(book, more["now"])

    def _check_lane(self, granted: Book) -> None:
        """Whether there was room for it."""
        most, lane = self._plan.lane, granted.lane
        if not most or granted.kind != "WORK":
            return
        held = [
            book.n
            for book in self._jobs.values()
            if book.hold is not None and book.kind == "WORK" and book.lane == lane
        ]
        if len(held) > most:
            self._wrong(9, f"{len(held)} jobs of lane {lane} are held at once, not {most}", *held)

    def _limits(self, event: Event) -> None:
        queue, most = event.more["queue"], event.more["most"]
        if self._operated.get(queue, (None, 0.0))[0] != most:
            self._operated[queue] = most, event.at

    def _check_operated(self, begun: Book) -> None:
        """Whether an operator's limit lets it begin, once all who are well have heard of that. What
        began while some had not is counted by nobody."""
        most, since = self._operated.get(begun.queue, (None, 0.0))
        if not self._plan.troubles <= HEARING or "block" in self._plan.acts:
            since = max(since, self._calm_since if self._calm else self._at)
        heard = since + (HEARD if "unheard" in self._plan.troubles else TOLD)
        if most is None or self._at < heard:
            return
        running = [
            book.n
            for book in self._jobs.values()
            if book.queue == begun.queue
            and book.hold is not None
            and book.hold.token in book.runs
            and not since <= book.began[book.hold.token] < heard
        ]
        if len(running) > most:
            self._wrong(
                9, f"{len(running)} jobs of queue {begun.queue} run at once, where an operator has"
                f" said {most} {self._at - since:.1f} s ago", *running,
            )  # fmt: skip

    def _check_pace(self, granted: Book, now: int) -> None:
        """Whether it starts no sooner than its rate lets it, by the clocks of who asked."""
        plan = self._plan
        if not plan.pace or granted.kind != "WORK" or "clock" in plan.troubles or plan.drift > 0.01:
            return  # Set back, a clock may begin a rate anew.
        if self._calm and plan.weather.slow:
            return  # So may a word of before, when all clocks were two hours behind.
        starts = self._starts[granted.lane]
        starts.append(now)
        most = plan.pace + plan.burst - 1
        if len(starts) > most and now < starts[-1 - most] + SECOND:
            self._wrong(
                9, f"{most + 1} jobs of lane {granted.lane} start within"
                f" {(now - starts[-1 - most]) / SECOND:.3f} s", granted.n,
            )  # fmt: skip

    def _may_go_before(self, new: Book) -> int:
        """How many jobs of another lane may be granted before this one. Each one of its own lane
        that it stands behind has a turn before it, and so have those that were to have one and
        never came to it; with each of these turns, one of the other lane has its own. What workers
        have claimed ahead may come back to stand where it did."""
        own = [one for one in self._jobs.values() if one is not new and one.lane == new.lane]
        before = [one for one in own if not one.granted or (one.hold and not one.hold.begun)]
        ahead = [
            one
            for one in self._jobs.values()
            if one.place == new.place and one.hold is not None and not one.hold.begun
        ]
        return 1 + len(before) + len(ahead)

    def _check_turns(self, granted: Book) -> None:
        """Whether it is not the turn of another lane. Not once all is well: what was said before
        by clocks that were behind has earlier turns then."""
        if self._calm:
            return
        for book in self._jobs.values():
            if book.live and not book.granted and book.place == granted.place:
                book.passed += book.lane != granted.lane
                if book.passed > book.most:
                    self._wrong(
                        12, f"it was the turn of job {book.n}: {book.passed} of another lane went"
                        " before it", book.n, granted.n,
                    )  # fmt: skip

    def _check_parents(self, book: Book) -> None:
        """Whether all that it waits for has ended, as it wants it."""
        if "people" in self._plan.troubles:  # Who may have run some of them again since.
            return
        for parent in (self._jobs[n] for n in book.parents):
            well = parent.state in ("COMPLETED", "gone") or (book.anyway and not parent.live)
            if not well:
                self._wrong(
                    9, f"job {book.n} was granted, and job {parent.n}, which it waits for, is"
                    f" {parent.state}", book.n, parent.n,
                )  # fmt: skip

    def _check_starving(self, granted: Book) -> None:
        """Whether a job that has been due for too long takes its turn."""
        now = self._at + (LATER_BY if self._calm else 0)
        due = START + round((now - self._plan.starvation) * SECOND)
        waiting = [
            book
            for book in self._jobs.values()
            if book.live and book.hold is None and book.run_at <= due and book is not granted
        ]
        for book in waiting:
            if book.queue != granted.queue or book.kind != "WORK":
                continue
            if not book.passed:
                older = [one for one in waiting if (one.run_at, one.n) < (book.run_at, book.n)]
                book.older = len(older)
            # Each worker counts by itself, and has claimed ahead what it runs meanwhile.
            living = len([worker for worker in self._workers.values() if worker.living])
            book.most = max(book.most, EVERY * (book.older + 2) * living + AHEAD)
            book.passed += 1
            if book.passed >= book.most:
                self._wrong(12, f"job {book.n} starves: {book.passed} went before it", book.n)

    def _counts(self, event: Event) -> None:
        hold = self._book(event).hold
        if hold is not None and hold.worker == event.more["worker"]:
            hold.counted = True

    def _begins(self, event: Event) -> None:
        book, token = self._book(event), event.more["token"]
        hold, process = book.hold, event.who
        excused = self._stood[process] > event.at - self._plan.lease
        if hold is None or hold.token != token:
            if not excused:
                self._wrong(8, f"job {book.n} began under token {token}, which had ended", book.n)
        else:
            hold.begun = True
            if not hold.counted:
                self._wrong(4, f"job {book.n} began before its start was counted", book.n)
            if book.attempts > book.asked.get("retries", 3):
                self._wrong(4, f"job {book.n} began although no attempt was left", book.n)
            if book.crashes >= MAX_CRASHES:
                self._wrong(4, f"job {book.n} began after {book.crashes} crashes", book.n)
        leaving = self._leaving.get(process)
        if leaving is not None and event.at > leaving + LATER and not excused:
            self._wrong(11, f"job {book.n} began after {process} was told to stop", book.n)
        book.began[token] = event.at
        book.runs[token] = book.process[token] = process
        self._check_operated(book)

    def _returns(self, event: Event) -> None:
        book, token = self._book(event), event.more["token"]
        book.runs.pop(token, None)
        book.returned[token] = f"{event.what} {event.more['act']}"

    def _interrupted(self, event: Event) -> None:
        self._book(event).runs.pop(event.more["token"], None)

    # -- outcomes --------------------------------------------------------------------------------

    def _ends(self, event: Event) -> None:
        book, more = self._book(event), event.more
        token, state = more["token"], more["state"]
        hold = book.hold
        if token in book.outcomes:
            if book.outcomes[token] != state:
                self._wrong(3, f"job {book.n} has two outcomes of one attempt", book.n)
            return  # Said again, as its answer was lost.
        if hold is None or hold.token != token:
            self._wrong(
                2, f"the outcome {state} of job {book.n} was taken under token {token}, which had"
                " ended", book.n,
            )  # fmt: skip
            return
        book.outcomes[token], book.hold = state, None
        charge = more["attempt"] - hold.attempt
        self._check_outcome(book, token, state, charge, event.at)
        if state in TERMINAL:
            book.state = state
        elif book.cancel:
            book.state = "CANCELLED"
        book.cancel = False
        book.run_at = more.get("run_at", book.run_at)
        book.attempts += charge
        book.ran = book.ran or charge > 0
        book.crashes += more["crashed"]

    def _check_outcome(self, book: Book, token: int, state: str, charge: int, at: float) -> None:
        """Whether this is what becomes of what its handler did."""
        act, process = book.returned.get(token), book.process.get(token)
        began = book.began.get(token)
        limit = float(book.asked.get("timeout", TIMEOUT)) * 0.9
        if act is None:
            if state == "COMPLETED":
                self._wrong(3, f"job {book.n} is completed, and its handler did not end", book.n)
            elif (
                charge
                and book.kind != "JUNK"
                and not book.cancel
                and (began is None or at < began + limit)
            ):
                self._wrong(11, f"job {book.n} was charged an attempt that did not end", book.n)
            return
        if act == "returns stubborn":
            return  # It may have been out of time before.
        if self._plan.batch and charge and began is not None and at >= began + limit:
            return  # So may any job of a bulk handler, whose code goes on for the others.
        expected, charged = _EXPECTED.get(act, ({"COMPLETED"}, 1))
        told = book.cancel or (process in self._leaving and act.startswith("raises"))
        if act.startswith("raises") and state == "FAILED":
            used = book.attempts + 1 > book.asked.get("retries", 3)
            expected = expected | ({"FAILED"} if used else set())
        if (state not in expected or charge != charged) and not told:
            self._wrong(3, f"job {book.n} is {state} after its handler {act}", book.n)

    def _refuses(self, event: Event) -> None:
        book, token = self._book(event), event.more["token"]
        if book.hold is not None and book.hold.token == token:
            self._wrong(2, f"an outcome of job {book.n} was refused though its lease stood", book.n)

    # -- claims that end without an outcome -------------------------------------------------------

    def _held_by(self, number: int) -> list[Book]:
        return [b for b in self._jobs.values() if b.hold is not None and b.hold.worker == number]

    def _release(self, book: Book) -> None:
        book.hold = None
        if book.cancel:
            book.state, book.cancel = "CANCELLED", False

    def _takes_back(self, event: Event) -> None:
        kept = {tuple(pair) for pair in event.more["kept"]}
        given = 0
        for book in self._held_by(event.more["worker"]):
            assert book.hold is not None
            if (book.n, book.hold.token) not in kept:
                self._give_back(book)
                given += 1
        if given != event.more["count"]:
            self._wrong(2, f"{event.more['count']} claims were given back, the book says {given}")

    def _give_back(self, book: Book) -> None:
        assert book.hold is not None
        process = book.runs.get(book.hold.token)
        if process is not None and process not in self._dead:
            self._wrong(2, f"job {book.n} was given back while {process} ran it", book.n)
        self._release(book)

    def _disowns(self, event: Event) -> None:
        for n in event.more["of"]:
            hold = self._jobs[n].hold
            if hold is not None and hold.worker == event.more["worker"]:
                hold.counted = hold.begun = False

    def _retires(self, event: Event) -> None:
        worker = self._workers.get(event.more["worker"])
        if worker is None:
            self._wrong(2, f"worker {event.more['worker']} retired, and had not enlisted")
            return
        worker.living = False
        for book in self._held_by(worker.number):
            self._give_back(book)

    def _reclaims(self, event: Event) -> None:
        crashed = untouched = 0
        for name in event.more["names"]:
            worker = self._by_name[name]
            if not worker.living:
                self._wrong(2, f"worker {worker.number} was reclaimed twice")
            worker.living = False
            self._check_robbed(worker)
            died = self._dead.get(worker.process)
            late = died is not None and self._at > died + worker.lease + SWEEPS
            calm = self._plan.troubles <= {"crash", "kill at once", "people", "unheard"}
            if late and calm and "block" not in self._plan.acts:
                self._wrong(
                    5, f"the jobs of {worker.process} came back only now, it died at {died}"
                )
            for book in self._held_by(worker.number):
                hold = book.hold
                assert hold is not None
                self._check_still_runs(book, hold, worker)
                if hold.begun if self._precise else hold.counted:
                    crashed += 1
                    book.ran = True
                    book.attempts += 1
                    book.crashes += 1
                else:
                    untouched += 1
                self._release(book)
        if (crashed, untouched) != (event.more["crashed"], event.more["untouched"]):
            self._wrong(
                4, f"{event.more['crashed']} jobs were charged a crash and"
                f" {event.more['untouched']} were not, the book says {crashed} and {untouched}",
            )  # fmt: skip

    def _check_robbed(self, worker: Worker) -> None:
        process, now = worker.process, self._at
        if process in self._dead and self._precise:
            return
        if now < worker.extended + worker.lease:
            self._wrong(5, f"worker {worker.number} was declared dead within its lease")
        troubled = max(self._frozen[process], self._cut[process]) > worker.extended - worker.lease
        given_up = self._latest.get(process) is not worker or process in self._leaving
        if not (process in self._dead or troubled or self._slow(worker) or given_up):
            self._wrong(5, f"worker {worker.number} of {process}, alive and well, was robbed")

    def _slow(self, worker: Worker) -> bool:
        """Whether an answer may take so long that a lease is lost by it."""
        weather = self._plan.weather
        return weather.slow > 0 and weather.slowest > worker.lease / 8

    def _check_still_runs(self, book: Book, hold: Hold, worker: Worker) -> None:
        process = book.runs.get(hold.token)
        if process is None or process in self._dead:
            return
        if self._stood[process] > self._at - 2 * worker.lease or "stubborn" in book.asked["acts"]:
            return
        self._wrong(8, f"job {book.n} still ran in {process} when its lease ended", book.n)

    # -- what people do --------------------------------------------------------------------------

    def _cancelled(self, event: Event) -> None:
        book, status = self._book(event), event.more["status"]
        if status == "active":
            book.cancel = True
        elif status == "cancelled" and book.live:
            if book.hold is not None:
                self._wrong(3, f"job {book.n} was cancelled under its worker", book.n)
            book.state = "CANCELLED"

    def _retried(self, event: Event) -> None:
        book, status = self._book(event), event.more["status"]
        if status not in ("pending", "scheduled"):
            return
        book.run_at = max(book.run_at, START + round(event.at * SECOND))
        if book.live:
            book.renewed = book.renewed or event.more["named"]
        elif book.state in TERMINAL:
            self._lives_again(book)

    def _lives_again(self, book: Book) -> None:
        if book.until is None and book.key is not None:
            self._check_key(book, 0)
            self._takes_key(book)
        book.state = "live"
        book.attempts = book.crashes = 0

    def _deleted(self, event: Event) -> None:
        book = self._book(event)
        if event.more["status"] == "gone":
            if book.hold is not None:
                self._wrong(3, f"job {book.n} was deleted while it ran", book.n)
            book.state = "gone"
            if self._keys.get(book.name) is book:
                del self._keys[book.name]

    def _pruned(self, event: Event) -> None:
        book, status = self._book(event), event.more["status"]
        if status == "gone" and book.state != "gone":
            if book.live:
                self._wrong(10, f"retention removed job {book.n}, which had not ended", book.n)
            book.state = "gone"
        elif status == "cancelled" and book.live:
            if book.hold is not None or "expires_in" not in book.asked:
                self._wrong(10, f"retention cancelled job {book.n}", book.n)
            book.state = "CANCELLED"

    # -- workflows -------------------------------------------------------------------------------

    def _waits(self, event: Event) -> None:
        book = self._book(event)
        book.parents, book.anyway = event.more["parents"], event.more["anyway"]
        book.woven = True

    def _flow_stands(self, event: Event) -> None:
        book, status = self._book(event), event.more["status"]
        if status == "cancelled" and book.live and book.hold is None:
            book.state = "CANCELLED"
        elif status == "blocked" and book.state in TERMINAL:
            self._lives_again(book)

    # -- processes -------------------------------------------------------------------------------

    def _crashes(self, event: Event) -> None:
        self._dead[event.who] = event.at
        for book in self._jobs.values():
            for token in [t for t, process in book.runs.items() if process == event.who]:
                del book.runs[token]

    def _calms(self, event: Event) -> None:
        self._calm = True
        self._calm_since = event.at

    def _stands_still(self, event: Event) -> None:
        until = event.at + event.more["seconds"]
        self._stood[event.who] = max(self._stood[event.who], until)
        self._frozen[event.who] = max(self._frozen[event.who], until)

    def _blocks(self, event: Event) -> None:
        until = event.at + event.more["seconds"]
        self._stood[event.who] = max(self._stood[event.who], until)

    def _told_to_stop(self, event: Event) -> None:
        self._leaving.setdefault(event.who, event.at)

    def _has_stopped(self, event: Event) -> None:
        # What it held under a lease that it has lost comes back when that has ended.
        worker = self._latest.get(event.who)
        if worker is None or not event.more["leased"]:
            return
        left = [book.n for book in self._held_by(worker.number)]
        if left and event.more["ended"] and self._cut[event.who] < self._leaving[event.who]:
            self._wrong(11, f"{event.who} has stopped and still holds {left}", *left)

    def _is_cut(self, event: Event) -> None:
        self._cut[event.who] = event.at
        verb, worker = event.more["verb"], self._latest.get(event.who)
        if verb == "enlist":  # Of what it has enlisted as it does not know.
            self._latest.pop(event.who, None)
        elif verb == "extend" and worker is not None and "answer" in event.more["how"]:
            worker.unheard.append(worker.extended)

    def _hears(self, event: Event) -> None:
        book = self._book(event)
        if book.state not in ("COMPLETED", "gone") and "COMPLETED" not in book.outcomes.values():
            self._wrong(3, f"a result of job {book.n} was told, and it is {book.state}", book.n)

    # -- the end ---------------------------------------------------------------------------------

    def _final(self) -> None:
        final = self._world.final
        for book in self._jobs.values():
            stands = final.get(book.n)
            if stands is None:
                if book.kept and book.state != "gone":
                    self._wrong(1, f"job {book.n} is lost; it was {book.state}", book.n)
                continue
            if not stands.status.terminal:
                waits = any(not final[n].status.terminal for n in book.parents if n in final)
                self._wrong(
                    1, f"job {book.n} has never ended; it is {stands.status}"
                    f"{', and all that it waits for have' if book.parents and not waits else ''}",
                    book.n,
                )  # fmt: skip
            elif book.state != stands.status.upper():
                self._wrong(
                    3, f"job {book.n} is {stands.status}, the book says {book.state}", book.n
                )
        for flow in self._world.flows:
            if flow.finished_at is None or not flow.counts.status.ended:
                self._wrong(1, f"a workflow has never ended: {flow.counts}")
        for limit in self._world.limits:
            if limit.used or limit.blocked:
                self._wrong(
                    9, f"nothing runs any more, and of the limit {limit.name!r} {limit.used} are"
                    f" taken, and {limit.blocked} wait",
                )  # fmt: skip
        self._ticks.final(self._world.timetable, all_kept=self._plan.retention is None)
        for process in self._world.workers():
            self._wrong(11, f"{process.name} does not end")
        for text in self._world.loop.unhandled:
            self._wrong(15, f"nobody caught: {text}")


def check(world: World) -> list[Violation]:
    """What the history of a world says against the promises; nothing, if all is well."""
    return Checker(world).walk()


_EXPECTED: Final[dict[str, tuple[set[str], int]]] = {
    "returns snooze": ({"WAITING"}, 0),
    "returns cancel": ({"CANCELLED"}, 1),
    "returns bad result": ({"FAILED"}, 1),
    "raises error": ({"WAITING"}, 1),
    "raises retry": ({"WAITING"}, 1),
    "raises fail": ({"FAILED"}, 1),
}
"""What becomes of an attempt by what its handler did, and whether it is charged; of all else
that returns, that it is completed."""
