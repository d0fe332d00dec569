"""Which handlers are safe to run twice: each is interrupted at every await, and run again."""

from __future__ import annotations

import gc
import logging
import operator
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, TypeVar, Unpack, get_args, overload

from backroom.errors import ConfigurationError, OptionError
from backroom.handlers import importable_name
from backroom.job import JobOptions
from backroom.registry import JobType
from backroom.service import JobService
from backroom.testing.findings import CrashReport, Finding, Interruption, Kind, differences
from backroom.testing.interrupting import apart
from backroom.testing.points import Moment
from backroom.testing.rerunning import Case, Inconclusive, Run
from backroom.testing.scheduled import name_of

__all__ = ["CrashTestOptions", "assert_safe_to_rerun", "crash_test"]

T = TypeVar("T")

MOST: Final = 1000
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
TRIED: Final[dict[Moment, tuple[Kind, ...]]] = {
    "begun": ("crash",),
    "waiting": ("crash", "timeout"),
    "resumed": ("crash",),
    "answered": ("crash",),
    "inserted": ("lost reply",),
    "ended": ("crash",),
}


class CrashTestOptions(JobOptions, total=False):
    """How a crash test makes and sees the world; and the options of the job, as for `schedule`.

    The functions may be `def` or `async def`, but for `same`.
    """

    setup: Callable[[], object]
    """Called before each run: makes the world as it is before the job."""
    observe: Callable[[], object]
    """Called when the job has ended: the world as a value that can be copied and compared, such as
    a dict of lists, without what may differ from run to run."""
    restart: Callable[[], object]
    """Called after a crash: clears what a process has in its own memory, such as caches, locks."""
    same: Callable[[Any, Any], bool]
    """Whether what was observed is as good as what was (undisturbed, found). Default: `==`."""
    kinds: Collection[Kind]
    """Of interruptions: "crash", "timeout", "lost reply". Default: all."""
    most: int
    """Points at which it can be interrupted, before that is too many. Default: 1,000."""


@overload
def crash_test(
    service: JobService, type: JobType[T, Any], data: T, /, **options: Unpack[CrashTestOptions]
) -> CrashReport: ...
@overload
def crash_test(
    service: JobService,
    type: str,
    data: Mapping[str, Any] | None = None,
    /,
    **options: Unpack[CrashTestOptions],
) -> CrashReport: ...
def crash_test(
    service: JobService, type: Any, data: Any = None, /, **options: Unpack[CrashTestOptions]
) -> CrashReport:
    """Runs a job undisturbed; then once for each way to interrupt it, in a fresh world:

    - "crash": its worker dies: as an await in the user's code begins, while it waits, when it has
      its answer, and after the handler's last line, when the outcome is lost. No `except` and no
      `finally` runs, and tasks that it had started are gone.
    - "timeout": its time is up while it waits, and `asyncio.CancelledError` is raised there.
    - "lost reply": `schedule` keeps the job, and raises `StorageError`.

    Each time the engine runs it again, to its end. Then what is left is compared: what `observe`
    returns, the jobs that the handler scheduled (they do not run), and how the job ended.

    Call it from `def` and `async def` tests alike: it has event loops of its own, with virtual
    time. `def` handlers run in a thread, and are interrupted only where they schedule jobs and
    after their last line. Those with `isolation="process"` run in this process.

    Raises:
        Inconclusive: it cannot tell; the message says why.
        ConfigurationError: the type has no handler, or the service is started.
        OptionError: no such kind of interruption, or `most` is no whole number from 1.
        Exception: what `setup`, `observe` and `restart` raise.
    """
    case, is_async, handler = _case(service, type, data, dict(options))
    with apart(), _quiet():
        return _report(case, is_async, handler)


@overload
def assert_safe_to_rerun(
    service: JobService, type: JobType[T, Any], data: T, /, **options: Unpack[CrashTestOptions]
) -> CrashReport: ...
@overload
def assert_safe_to_rerun(
    service: JobService,
    type: str,
    data: Mapping[str, Any] | None = None,
    /,
    **options: Unpack[CrashTestOptions],
) -> CrashReport: ...
def assert_safe_to_rerun(
    service: JobService, type: Any, data: Any = None, /, **options: Unpack[CrashTestOptions]
) -> CrashReport:
    """`crash_test` as an assertion; returns its report.

    Raises:
        AssertionError: the handler is not safe to run twice; its text is that of the report.
        what `crash_test` raises.
    """
    __tracebackhide__ = True
    report = crash_test(service, type, data, **options)
    if not report.safe:
        raise AssertionError(str(report))
    return report


def _case(
    service: JobService, type_: str | JobType[Any, Any], data: Any, said: dict[str, Any]
) -> tuple[Case, bool, str]:
    """The case, whether its handler is `async def`, and the handler's name."""
    name = name_of(type_)
    known = service._registry.get(name)
    if known is None or known.handler is None:
        raise ConfigurationError(f"{name} has no handler in this service")
    if known.bulk is not None:
        raise ConfigurationError(
            f"{name} has a bulk handler, and a crash test runs one job: test what it does with"
            " jobs.kill, or the function that it calls for each"
        )
    kinds, most = said.pop("kinds", KINDS), said.pop("most", MOST)
    for kind in kinds:
        if kind not in KINDS:
            raise OptionError(f"kinds are {', '.join(map(repr, KINDS))}, got {kind!r}")
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise OptionError(f"most must be a whole number from 1, got {most!r}")
    module, qualname = importable_name(known.handler)
    case = Case(
        service,
        type_,
        name,
        data,
        root=module.partition(".")[0],
        setup=said.pop("setup", _nothing),
        observe=said.pop("observe", _nothing),
        restart=said.pop("restart", _nothing),
        same=said.pop("same", operator.eq),
        kinds=kinds,
        most=most,
        options=said,
    )
    return case, known.handler_is_async, f"{module}.{qualname}"


def _report(case: Case, is_async: bool, handler: str) -> CrashReport:
    calm, again = Run(case), Run(case)
    seen = calm.see()
    differs = differences(seen, again.see(), case.same, "once more")
    if differs:
        raise Inconclusive(
            f"{case.name} leaves different things when nothing disturbs it: setup must make the"
            f" same world each time, and observe leave out times and random values\n{differs}"
        )
    if calm.points != again.points:
        raise Inconclusive(f"undisturbed, {case.name} does not take the same way each time")
    unsafe = []
    tried = [
        Interruption(index, kind, point)
        for index, point in enumerate(calm.points)
        for kind in TRIED[point.moment]
        if kind in case.kinds
    ]
    for interruption in tried:
        run = Run(case, interruption)
        differs = differences(seen, run.see(), case.same)
        upto = interruption.index + 1
        if run.points[:upto] != calm.points[:upto]:
            raise Inconclusive(f"{case.name} does not take the same way each time: {interruption}")
        if differs:
            unsafe.append(Finding(interruption, differs))
    unreached = None if is_async else "points inside it, since a thread cannot be killed"
    return CrashReport(case.name, handler, len(tried), tuple(unsafe), unreached)


@contextmanager
def _quiet() -> Iterator[None]:
    """The log of the engine would tell of every interruption, and Python of what was to be run by
    those that were killed."""
    log = logging.getLogger("backroom")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
            yield
            gc.collect()
    finally:
        log.setLevel(level)


def _nothing() -> None:
    return
