-- hold_members: jobs -> those of them that belong to flows, and whether these have gone, or are on their
--     way to or from another store, where nobody changes them; the flows of the others are locked, as by
--     `lock_flows`
WITH locked AS MATERIALIZED (
    SELECT id FROM {flows}
    WHERE id = ANY(ARRAY(SELECT flow FROM {members} WHERE job = ANY($1::uuid[])))
    ORDER BY id FOR NO KEY UPDATE
)
SELECT job, flow NOT IN (SELECT id FROM locked) AS away
FROM {members} WHERE job = ANY($1::uuid[]);

-- flows_to_pack: whether also those that have ended, how many -> flows of which no worker holds a job,
--     locked
SELECT {flow_columns} FROM {flows} WHERE (finished_at IS NULL OR $1) AND id <> ALL(ARRAY(
    SELECT m.flow FROM {held} AS h, unnest(h.ids) AS i (id),
    LATERAL (SELECT flow FROM {members} AS m WHERE m.job = i.id LIMIT 1) AS m))
ORDER BY id LIMIT $2 FOR UPDATE;

-- members_of: flows -> their jobs
SELECT job FROM {members} WHERE flow = ANY($1::uuid[]);

-- leave_lines: jobs -> those that waited for room in a limit, and wait in no line now
DELETE FROM {blocked} WHERE id = ANY($1::uuid[]) RETURNING id;

-- hold_still: jobs, those that waited in lines -> nothing: all that might be claimed waits, for nothing
WITH ready AS (
    DELETE FROM {ready} AS r USING {jobs} AS j
    WHERE j.id = ANY($1::uuid[]) AND r.queue = j.queue AND r.priority = j.priority
    AND r.run_at = j.run_at AND r.id = j.id RETURNING r.id, r.queue
), parked AS (
    DELETE FROM {parked} AS r USING {jobs} AS j
    WHERE j.id = ANY($1::uuid[]) AND r.queue = j.queue AND r.type = j.type
    AND r.priority = j.priority AND r.run_at = j.run_at AND r.id = j.id RETURNING r.id, r.queue
)
INSERT INTO {waiting} (id, waits, queue)
SELECT id, 0, queue FROM ready UNION SELECT id, 0, queue FROM parked
UNION SELECT i, 0, (SELECT queue FROM {jobs} AS j WHERE j.id = i LIMIT 1) FROM unnest($2::uuid[]) AS i;

-- unplaced: jobs -> one that neither waits nor has ended, if there is one
SELECT g.id FROM unnest($1::uuid[]) AS g (id)
WHERE (SELECT true FROM {waiting} AS w WHERE w.id = g.id LIMIT 1) IS NULL
AND (SELECT true FROM {ended} AS e WHERE e.id = g.id LIMIT 1) IS NULL
AND (SELECT true FROM {jobs} AS j WHERE j.id = g.id LIMIT 1) LIMIT 1;

-- sizes: flows -> how many jobs, and edges between these, each of them has
SELECT g.id, (
    SELECT count(*) FROM {members} AS m WHERE m.flow = g.id
    AND (SELECT true FROM {jobs} AS j WHERE j.id = m.job LIMIT 1)
) AS members, (
    SELECT count(*) FROM {members} AS m,
    LATERAL (SELECT parent FROM {edges} AS e WHERE e.child = m.job OFFSET 0) AS e
    WHERE m.flow = g.id AND (SELECT true FROM {jobs} AS j WHERE j.id = m.job LIMIT 1)
    AND (SELECT true FROM {jobs} AS j WHERE j.id = e.parent LIMIT 1)
) AS edges FROM unnest($1::uuid[]) AS g (id);

-- drop_flows: ids -> nothing: they are on their way
WITH gone AS (DELETE FROM {flows} WHERE id = ANY($1::uuid[]) RETURNING id)
INSERT INTO {away} (id) SELECT id FROM gone;

-- expect_flows: ids -> nothing: they are on their way to here
INSERT INTO {away} (id) SELECT unnest($1::uuid[]) ON CONFLICT DO NOTHING;

-- not_away: ids -> nothing
DELETE FROM {away} WHERE id = ANY($1::uuid[]);

-- take_edges: flows, how many -> edges between jobs of these, which are gone
DELETE FROM {edges} WHERE ctid = ANY(ARRAY(
    SELECT e.place FROM {members} AS m,
    LATERAL (SELECT ctid AS place, parent FROM {edges} AS e WHERE e.child = m.job OFFSET 0) AS e
    WHERE m.flow = ANY($1::uuid[])
    AND (SELECT true FROM {jobs} AS j WHERE j.id = m.job LIMIT 1)
    AND (SELECT true FROM {jobs} AS j WHERE j.id = e.parent LIMIT 1) LIMIT $2))
RETURNING parent, child, done;

-- take_members: flows, how many -> jobs of these, each flow in order, and their bytes; locked
SELECT m.job AS id, j.bytes + coalesce(octet_length(m.undo), 0) AS bytes
FROM unnest($1::uuid[]) AS f (id), LATERAL (
    SELECT job, undo FROM {members} AS m WHERE m.flow = f.id ORDER BY m.job LIMIT $2 FOR UPDATE) AS m,
LATERAL (SELECT {bytes} AS bytes FROM {jobs} AS j WHERE j.id = m.job LIMIT 1) AS j
LIMIT $2;

-- memberships: jobs -> what they are to their flows
SELECT m.job, m.flow, m.role, m.anyway,
       coalesce((SELECT waits FROM {waiting} AS w WHERE w.id = m.job LIMIT 1), 0),
       m.counted, m.doomed, m.undo
FROM {members} AS m WHERE m.job = ANY($1::uuid[]);

-- bring_members: what jobs are to their flows, by column; for how many they wait, and when they expire
--     then: null where they have ended -> nothing
WITH given AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::smallint[], $4::boolean[], $5::integer[],
                         $6::smallint[], $7::boolean[], $8::text[], $9::bigint[])
        AS g (job, flow, role, anyway, waits, counted, doomed, undo, expires_at)
), waiting AS (
    INSERT INTO {waiting} (id, waits, expires_at, queue)
    SELECT job, waits, expires_at, (SELECT queue FROM {jobs} AS j WHERE j.id = given.job LIMIT 1)
    FROM given WHERE waits IS NOT NULL
)
INSERT INTO {members} (job, flow, role, anyway, counted, doomed, undo)
SELECT job, flow, role, anyway, counted, doomed, undo FROM given;

-- flows_here: ids -> those that are here
SELECT id FROM {flows} WHERE id = ANY($1::uuid[]);

-- bring_edges: parents, children, whether the parent has ended -> nothing
INSERT INTO {edges} (parent, child, done)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::boolean[]) ON CONFLICT DO NOTHING;

-- bring_flows: their columns -> nothing
INSERT INTO {flows} ({flow_columns})
SELECT * FROM unnest($1::uuid[], $2::text[], $3::smallint[], $4::smallint[], $5::bigint[],
                     $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[],
                     $11::bigint[], $12::boolean[], $13::bigint[]);

-- let_move: flows -> their jobs that wait for no other one: they are ready
WITH freed AS (
    DELETE FROM {waiting} WHERE waits <= 0
    AND id = ANY(ARRAY(SELECT job FROM {members} WHERE flow = ANY($1::uuid[]))) RETURNING id
)
INSERT INTO {ready} (queue, priority, run_at, id, expires_at)
SELECT j.queue, j.priority, j.run_at, j.id,
       CASE WHEN j.attempt = 0 AND j.started_at IS NULL THEN j.expires_at END
FROM {jobs} AS j WHERE j.id = ANY(ARRAY(SELECT id FROM freed)) RETURNING id;
