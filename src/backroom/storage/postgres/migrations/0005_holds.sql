-- A key may be held until its job starts (held_until: 0), or until a moment, whatever becomes of the
-- job. `holder` has it then, and `id` nobody's: who ends that job lets go of no key, nor does a worker
-- of the version before. last: the job whose data and time the holder got last.
ALTER TABLE {keys} ADD COLUMN holder uuid, ADD COLUMN held_until bigint, ADD COLUMN last uuid;
CREATE INDEX {keys_holder} ON {keys} (holder) WHERE holder IS NOT NULL;
CREATE INDEX {keys_until} ON {keys} (held_until, holder) WHERE held_until IS NOT NULL;
