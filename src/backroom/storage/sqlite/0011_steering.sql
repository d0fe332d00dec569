-- What people did: written down before anything is changed, and what came of it behind that.
-- outcome: begun, done, refused, interrupted.
CREATE TABLE action (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    at       INTEGER NOT NULL,
    ended_at INTEGER,
    actor    TEXT NOT NULL,
    role     TEXT,
    verb     TEXT NOT NULL,
    target   TEXT NOT NULL,
    detail   TEXT,
    outcome  TEXT NOT NULL,
    changed  INTEGER,
    reason   TEXT
);

-- What an operator said of the limit of a queue; it holds over the number that code says.
ALTER TABLE limits ADD COLUMN own INTEGER;
