-- Parked jobs say which version of their data a worker must know. Whoever parks one and does not
-- know of versions says nothing, and means the first.
ALTER TABLE {parked} ADD COLUMN version integer NOT NULL DEFAULT 1;

-- A worker looks for the types and versions that it knows: what others wait as is not in its way.
CREATE INDEX {parked_kind} ON {parked} (queue, (type || ' ' || version::text), priority, run_at, id);
