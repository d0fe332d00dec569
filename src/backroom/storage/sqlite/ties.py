"""What hangs on jobs that come out of a worker's hands, or end.

Every change after which a job is nobody's any more, or has ended, says so here before it is
committed: an outcome, a return, the end of a dead worker, a cancellation, an expiry. Outcomes of
jobs that are not tied are passed by (see `backroom.tie`), and in all other cases these are looked
for, since they are rare. What a job has become is read, not told: who comes late, or twice,
changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from backroom.job import State
from backroom.storage.sqlite import flows, limits, turns
from backroom.storage.sqlite.ledger import Ledger, encode
from backroom.tie import TIED

__all__ = ["held", "loosen"]

# Also what is counted in a limit that was put while it was held.
_TIED = f"(instr(options, '{TIED}') OR EXISTS (SELECT 1 FROM permit WHERE permit.job = job.key))"
LOOSE: Final = f"""
    SELECT key, state FROM job
    WHERE key IN (SELECT value FROM json_each(?)) AND state <> 1 AND {_TIED}
"""
HELD: Final = f"SELECT key FROM job WHERE worker = ? AND state = 1 AND {_TIED}"


def loosen(ledger: Ledger, keys: Sequence[int], now: int) -> None:
    """To be said of jobs that nobody holds now, or that have ended, in the change after which it
    is so."""
    if not keys:
        return
    loose = list(ledger.run(LOOSE, (encode(list(keys)),)))
    let_go(ledger, [key for key, _ in loose], now)
    ended(
        ledger,
        [key for key, state in loose if State.COMPLETED <= state <= State.CANCELLED],
        now,
    )


def held(ledger: Ledger, worker: int) -> list[int]:
    """The tied jobs that this worker holds: those that it will have let go of."""
    return [key for (key,) in ledger.run(HELD, (worker,))]


def let_go(ledger: Ledger, keys: Sequence[int], now: int) -> None:
    """No worker holds these tied jobs now, whatever has become of them."""
    limits.let_go(ledger, keys, now)
    turns.take_again(ledger, keys, now)


def ended(ledger: Ledger, keys: Sequence[int], now: int) -> None:
    """These tied jobs have ended."""
    flows.ended(ledger, keys, now)
