-- What people did: written down before anything is changed, and what came of it behind that.
-- outcome: begun, done, refused, interrupted.
CREATE TABLE {actions} (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at       bigint NOT NULL,
    ended_at bigint,
    actor    text NOT NULL,
    role     text,
    verb     text NOT NULL,
    target   text NOT NULL,
    detail   text,
    outcome  text NOT NULL,
    changed  bigint,
    reason   text
);

-- What an operator said of the limit of a queue; it holds over the number that code says.
ALTER TABLE {limits} ADD COLUMN own bigint;
