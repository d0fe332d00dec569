"""What can go wrong between us and a server, and how it is said in our words."""

from __future__ import annotations

from enum import Enum
from typing import Final

import asyncpg
from asyncpg import exceptions

from backroom.errors import (
    BackroomError,
    ConfigurationError,
    StorageError,
    StorageFullError,
)
from backroom.storage.masks import masked

__all__ = [
    "UNCHANGED",
    "UNKNOWN",
    "Mishap",
    "is_away",
    "is_of_values",
    "mishap_of",
    "no_connection",
    "told",
]

UNKNOWN: Final = "whether it was carried out is not known"
UNCHANGED: Final = "nothing was changed"

_MEND: Final = "use DatabaseJobStorage(url, pooled=True), or ?pooled=true in the URL"

_AGAIN: Final = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    exceptions.InvalidCachedStatementError,  # A table has changed since its plan was made.
    asyncpg.CheckViolationError,  # Its place became a partition while it was on its way.
)
_VALUES: Final = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    exceptions.ProgramLimitExceededError,
)
_REFUSED: Final = (
    exceptions.QueryCanceledError,  # By a `statement_timeout`, or by somebody.
    exceptions.LockNotAvailableError,
)
_CUT: Final = (
    OSError,
    asyncpg.PostgresConnectionError,
    exceptions.OperatorInterventionError,
    exceptions.IdleInTransactionSessionTimeoutError,
    exceptions.TransactionTimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # What asyncpg says where the server ended it between two words.
    TimeoutError,
)
_POOLED: Final = (
    exceptions.InvalidSQLStatementNameError,
    exceptions.DuplicatePreparedStatementError,
)


class Mishap(Enum):
    """What became of a try, and what is to be done."""

    REFUSED = "refused"
    """The server says no, and has changed nothing; the connection is as good as before."""
    AGAIN = "again"
    """Another transaction was in its way: nothing was changed, and it may be tried again."""
    STALE = "stale"
    """The server says no, and other connections may lead to one that says yes: it is the
    standby, since another has taken over, or a proxy that has lost the session."""
    CUT = "cut"
    """The connection broke: whether it was carried out is not known."""
    ODD = "odd"
    """None of the server's: nobody knows in what state it has left the connection."""


def mishap_of(error: BaseException) -> Mishap:
    """What an exception means that came out of work on a connection."""
    if isinstance(error, BackroomError):
        return Mishap.REFUSED
    if isinstance(error, _AGAIN):
        return Mishap.AGAIN
    if isinstance(error, (exceptions.ReadOnlySQLTransactionError, *_POOLED)):
        return Mishap.STALE
    if isinstance(error, _CUT) and not isinstance(error, _REFUSED):
        return Mishap.CUT
    return Mishap.REFUSED if isinstance(error, asyncpg.PostgresError) else Mishap.ODD


def told(error: BaseException, url: str, sure: bool) -> BaseException:
    """The same in our words. `sure`: no earlier try may have been carried out."""
    if isinstance(error, BackroomError):
        return error
    name, what = masked(url), _says(error)
    end = UNCHANGED if sure else UNKNOWN
    if isinstance(error, exceptions.DiskFullError):
        return StorageFullError(
            f"{name}: the disk of the server is full: {what}; {end}", unchanged=sure
        )
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return ConfigurationError(f"{name}: {what}; grant it to the user of the URL")
    if isinstance(error, exceptions.ReadOnlySQLTransactionError):
        return StorageError(
            f"{name} is read-only, a standby perhaps: {what}; {end}", unchanged=sure
        )
    if isinstance(error, _POOLED):
        return ConfigurationError(f"{name} is a pooling proxy, as it seems: {what}; {_MEND}")
    if isinstance(error, _REFUSED):
        return StorageError(f"{name} gave it up: {what}; {end}", unchanged=sure)
    if isinstance(error, _CUT):
        return StorageError(f"{name} did not answer: {what}; {UNKNOWN}")
    if isinstance(error, asyncpg.PostgresError):
        return StorageError(f"{name}: {what}; {end}", unchanged=sure)
    return error


def no_connection(error: Exception, url: str, sure: bool, within: float) -> BackroomError:
    """Why there is no connection, and what to do about it; `within`: seconds it had."""
    name, what = masked(url), _says(error)
    if isinstance(error, asyncpg.PostgresConnectionError) and "startup parameter" in str(error):
        return ConfigurationError(f"{name} is a pooling proxy, as it seems: {what}; {_MEND}")
    if isinstance(error, asyncpg.InvalidCatalogNameError):
        return ConfigurationError(
            f"{name}: {what}; make it (CREATE DATABASE), or check the end of the URL"
        )
    if isinstance(error, (asyncpg.UndefinedObjectError, asyncpg.CantChangeRuntimeParamError)):
        return ConfigurationError(
            f"{name}: {what}; what stands after the ? of the URL is said to the server"
        )
    if isinstance(
        error,
        (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InterfaceError, ValueError),
    ):
        return ConfigurationError(
            f"{name} refuses the connection: {what}; check user, password and database of the URL"
        )
    if isinstance(error, TimeoutError):
        what = f"no answer within {within:g} s"
    mend = "check host and port of the URL, and that the server runs there; "
    if isinstance(error, asyncpg.PostgresError):  # It answered.
        mend = ""
    return StorageError(
        f"no connection to {name}: {what}; {mend}{UNCHANGED if sure else UNKNOWN}", unchanged=sure
    )


def _says(error: BaseException) -> str:
    """In one line. Of plans that a proxy has lost, the driver has a long story to tell."""
    first, *more = [line for line in str(error).splitlines() if line] or [type(error).__name__]
    return first if isinstance(error, _POOLED) else "; ".join([first, *more])


def is_of_values(error: BaseException) -> bool:
    """Whether the values that were to be written are at fault: then one of a group may be
    written without the others. All else befalls all of them."""
    cause = error.__cause__ if isinstance(error, BackroomError) else error
    return isinstance(cause, _VALUES) or not isinstance(error, BackroomError)


def is_away(error: BaseException) -> bool:
    """Whether it was the server that did not answer, or could take nobody: what was asked of it
    may be asked again later. False for what it refused."""
    cause = error.__cause__
    return (
        isinstance(error, StorageError)
        and isinstance(cause, (*_CUT, asyncpg.TooManyConnectionsError))
        and not isinstance(cause, (*_VALUES, *_REFUSED))
    )
