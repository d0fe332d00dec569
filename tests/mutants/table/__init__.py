"""All mutants, in the order of the promises that they break."""

from __future__ import annotations

from tests.mutants.table import (
    corruption,
    durability,
    fences,
    keys,
    leases,
    order,
    outcomes,
    postgres,
    starts,
    stopping,
    transactions,
    unique,
)

__all__ = ["MUTANTS"]

MUTANTS = (
    *durability.MUTANTS,
    *fences.MUTANTS,
    *outcomes.MUTANTS,
    *starts.MUTANTS,
    *leases.MUTANTS,
    *keys.MUTANTS,
    *stopping.MUTANTS,
    *order.MUTANTS,
    *corruption.MUTANTS,
    *postgres.MUTANTS,
    *transactions.MUTANTS,
    *unique.MUTANTS,
)
