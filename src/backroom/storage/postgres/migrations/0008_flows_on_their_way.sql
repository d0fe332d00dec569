-- Flows that have left for another store, or are expected from one: they have no row in `flows`, and as
-- long as they are listed here, their jobs are nobody's.
CREATE TABLE {away} (
    id uuid PRIMARY KEY
);
