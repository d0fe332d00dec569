"""All mutants, in the order of the promises that they break."""

from __future__ import annotations

from tests.mutants.table import (
    bulk,
    corruption,
    cron,
    durability,
    fences,
    finding,
    flow_keys,
    flows,
    keys,
    leases,
    limits,
    moving,
    order,
    outcomes,
    postgres,
    schedules,
    starts,
    steps,
    stopping,
    telemetry,
    ticks,
    transactions,
    unique,
    versions,
)

__all__ = ["MUTANTS"]

MUTANTS = (
    *durability.MUTANTS,
    *fences.MUTANTS,
    *outcomes.MUTANTS,
    *starts.MUTANTS,
    *leases.MUTANTS,
    *keys.MUTANTS,
    *cron.MUTANTS,
    *ticks.MUTANTS,
    *stopping.MUTANTS,
    *order.MUTANTS,
    *corruption.MUTANTS,
    *postgres.MUTANTS,
    *transactions.MUTANTS,
    *schedules.MUTANTS,
    *versions.MUTANTS,
    *steps.MUTANTS,
    *bulk.MUTANTS,
    *unique.MUTANTS,
    *flows.MUTANTS,
    *flow_keys.MUTANTS,
    *limits.MUTANTS,
    *moving.MUTANTS,
    *finding.MUTANTS,
    *telemetry.MUTANTS,
)
