-- Flows that have left for another store, or are expected from one: they have no row in `flow`, and as
-- long as they are listed here, their jobs are nobody's. key: as `flow.key`, which no other flow has had.
CREATE TABLE away (
    key INTEGER PRIMARY KEY,
    id  TEXT NOT NULL UNIQUE
);
