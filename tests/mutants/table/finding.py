"""Looks say what they saw; changes of many end; nobody is moved under a worker's hands."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

FINDING = "contract/test_finding.py"
AGAINST_A_MODEL = "property/test_finding.py"
REARRANGING = "contract/test_rearranging.py"
LIMITS = "contract/test_limits.py"
AUDITING = "contract/test_auditing.py"

MUTANTS = (
    Mutant(
        name="finding-goes-on-where-it-ended",
        promises=(1,),
        guard="a look that found nothing says that there is more behind it",
        file="storage/sqlite/looking.py",
        old="        return Range(low or 0, before - 1, seen, seen < most)",
        new="        return Range(low or 0, before - 1, seen, True)",
        tests=(FINDING,),
    ),
    Mutant(
        name="finding-knows-what-it-is-bound-to",
        promises=(1,),
        guard="a look goes through no more jobs than it may, on a server",
        file="storage/postgres/finding.py",
        old="WHERE {bound} ORDER BY s.id {order} LIMIT {most_}",
        new="WHERE {bound} ORDER BY s.id {order}",
        tests=(FINDING,),
    ),
    Mutant(
        name="finding-reads-the-escaped",
        promises=(1,),
        guard="a text is found in data as JSON writes it",
        file="storage/matching.py",
        old="return Needle(folded, msgspec.json.encode(folded)[1:-1].decode())",
        new="return Needle(folded, folded)",
        tests=(FINDING, AGAINST_A_MODEL),
    ),
    Mutant(
        name="bulk-leaves-the-new-alone",
        promises=(1,),
        guard="a change of many ends where it began",
        file="storage/sqlite/looking.py",
        old="AND {key} > :after AND {key} <= :upto",
        new="AND {key} > :after AND :upto = :upto",
        tests=(FINDING,),
    ),
    Mutant(
        name="rearranging-leaves-what-is-held",
        promises=(2,),
        guard="what a worker holds gets no other moment",
        file="storage/sqlite/rearranging.py",
        old='WAITS: Final = "j.state IN (0, 5, 6)"',
        new='WAITS: Final = "j.state IN (0, 1, 5, 6)"',
        tests=(REARRANGING,),
    ),
    Mutant(
        name="rearranging-gives-room-away",
        promises=(9,),
        guard="room that was kept for one that is put off is given to the next",
        file="storage/sqlite/rearranging.py",
        old="    limits.step_out(ledger, changed, now)\n",
        new="",
        tests=(REARRANGING,),
    ),
    Mutant(
        name="rearranging-minds-what-expires",
        promises=(1,),
        guard="no job is put off until it would expire",
        file="storage/sqlite/rearranging.py",
        old="AND expires_at <= :run_at",
        new="AND expires_at < 0 * :run_at",
        tests=(REARRANGING,),
    ),
    Mutant(
        name="operators-number-holds",
        promises=(9,),
        guard="what an operator says of a queue holds over the code",
        file="storage/sqlite/limits.py",
        old="    SELECT ifnull(own, most), (SELECT total(slots)",
        new="    SELECT most, (SELECT total(slots)",
        tests=(LIMITS,),
    ),
    Mutant(
        name="actions-end-once",
        promises=(3,),
        guard="what came of an action is said once",
        file="storage/sqlite/actions.py",
        old="WHERE id = ?1 AND outcome = 'begun'",
        new="WHERE id = ?1",
        tests=(AUDITING,),
    ),
)
