-- lock_flows: jobs -> the flows that they belong to, locked, in order. Whoever ends jobs of a flow, adds to
--     it or changes how it stands holds it, before anything else, until the end: what it reads stays so
SELECT id FROM {flows}
WHERE id = ANY(ARRAY(SELECT flow FROM {members} WHERE job = ANY($1::uuid[])))
ORDER BY id FOR NO KEY UPDATE;

-- lock_flows_of: workers -> the same of all jobs that these hold
SELECT id FROM {flows}
WHERE id = ANY(ARRAY(
    SELECT m.flow FROM {held} AS h, unnest(h.ids) AS i (id),
    LATERAL (SELECT flow FROM {members} AS m WHERE m.job = i.id LIMIT 1) AS m
    WHERE h.worker = ANY($1::bigint[])))
ORDER BY id FOR NO KEY UPDATE;

-- lock_more_flows_of: workers that claim nothing now -> of the flows of all jobs that these hold, those that
--     somebody else has locked; the others are locked, and nobody is waited for
WITH wanted AS MATERIALIZED (
    SELECT m.flow FROM {held} AS h, unnest(h.ids) AS i (id),
    LATERAL (SELECT flow FROM {members} AS m WHERE m.job = i.id LIMIT 1) AS m
    WHERE h.worker = ANY($1::bigint[])
), ours AS MATERIALIZED (
    SELECT id FROM {flows} WHERE id = ANY(ARRAY(SELECT flow FROM wanted))
    FOR NO KEY UPDATE SKIP LOCKED
)
SELECT id FROM {flows}
WHERE id = ANY(ARRAY(SELECT flow FROM wanted)) AND id NOT IN (SELECT id FROM ours);

-- account: jobs, now -> what follows from those of them that have ended, and were not counted: of
--     kind 0 a flow that has no job left, of kind 1 a job that has waited in vain, for whom, and
--     its flow. Who waits for nothing any more is ready, and takes its turn soon
WITH over AS MATERIALIZED (
    SELECT g.job, m.place, m.flow, m.role, e.state
    FROM (SELECT DISTINCT unnest($1::uuid[]) AS job) AS g,
    LATERAL (SELECT ctid AS place, flow, role FROM {members} AS m
             WHERE m.job = g.job AND m.counted = 0 LIMIT 1) AS m,
    LATERAL (SELECT state FROM {ended} AS e WHERE e.id = g.job LIMIT 1) AS e
), counted AS (
    UPDATE {members} AS m SET counted = o.state FROM over AS o WHERE m.ctid = o.place
), cut AS MATERIALIZED (
    SELECT e.place, e.child, o.job AS parent, o.state FROM over AS o,
    LATERAL (SELECT ctid AS place, child FROM {edges} AS e
             WHERE e.parent = o.job AND NOT e.done OFFSET 0) AS e
), done AS (
    UPDATE {edges} SET done = true WHERE ctid = ANY(ARRAY(SELECT place FROM cut))
), children AS MATERIALIZED (
    SELECT c.child, m.flow, count(*)::integer AS waited,
           (array_agg(c.parent) FILTER (WHERE c.state <> 2 AND NOT m.anyway))[1] AS cause
    FROM cut AS c, LATERAL (
        SELECT flow, anyway FROM {members} AS m WHERE m.job = c.child LIMIT 1) AS m
    GROUP BY c.child, m.flow
), places AS MATERIALIZED (
    SELECT w.place, w.waits - c.waited AS waits, c.cause FROM children AS c,
    LATERAL (SELECT ctid AS place, waits FROM {waiting} AS w WHERE w.id = c.child LIMIT 1) AS w
), freed AS (
    DELETE FROM {waiting} WHERE ctid = ANY(ARRAY(
        SELECT place FROM places WHERE cause IS NULL AND waits <= 0)) RETURNING id
), fewer AS (
    UPDATE {waiting} AS w SET waits = p.waits FROM places AS p
    WHERE w.ctid = p.place AND (p.cause IS NOT NULL OR p.waits > 0)
), due AS (
    UPDATE {jobs} AS j SET run_at = greatest(j.run_at, $2)
    WHERE j.id = ANY(ARRAY(SELECT id FROM freed))
    RETURNING j.queue, j.priority, j.run_at, j.id, position('"fair":' IN j.options) > 0 AS fair,
              CASE WHEN j.attempt = 0 AND j.started_at IS NULL THEN j.expires_at END AS expires_at
), ready AS (
    INSERT INTO {ready} (queue, priority, run_at, id, expires_at)
    SELECT queue, priority, run_at, id, expires_at FROM due
), turn AS (
    INSERT INTO {later} (id, due) SELECT id, run_at FROM due WHERE fair
    ON CONFLICT (id) DO UPDATE SET due = excluded.due
), sums AS (
    SELECT flow, count(*) FILTER (WHERE role = 0) AS jobs, count(*) FILTER (WHERE role > 0) AS others,
           count(*) FILTER (WHERE role = 0 AND state = 2) AS completed,
           count(*) FILTER (WHERE role = 0 AND state = 3) AS failed,
           count(*) FILTER (WHERE role = 0 AND state = 4) AS cancelled
    FROM over GROUP BY flow
), told AS (
    UPDATE {flows} AS f SET open_jobs = f.open_jobs - s.jobs,
        open_others = f.open_others - s.others, completed = f.completed + s.completed,
        failed = f.failed + s.failed, cancelled = f.cancelled + s.cancelled
    FROM sums AS s WHERE f.id = s.flow RETURNING f.id, f.open_jobs
)
SELECT 0 AS kind, id, NULL::uuid AS cause, id AS flow FROM told WHERE open_jobs = 0
UNION ALL SELECT 1, child, cause, flow FROM children WHERE cause IS NOT NULL;

-- causes: jobs -> what people are told of them
SELECT g.id, j.type, e.state FROM unnest($1::uuid[]) AS g (id),
LATERAL (SELECT type FROM {jobs} AS j WHERE j.id = g.id LIMIT 1) AS j,
LATERAL (SELECT state FROM {ended} AS e WHERE e.id = g.id LIMIT 1) AS e;

-- doom: jobs, why, now -> those that waited, and all that wait behind them, cancelled; only through
--     those that wait: what has run goes on as it is
WITH RECURSIVE doomed (job, reason) AS (
    SELECT g.job, g.reason FROM unnest($1::uuid[], $2::text[]) AS g (job, reason)
    JOIN {waiting} AS w ON w.id = g.job
    UNION
    SELECT e.child, d.reason FROM doomed AS d,
    LATERAL (SELECT child FROM {edges} AS e WHERE e.parent = d.job OFFSET 0) AS e,
    LATERAL (SELECT anyway FROM {members} AS m WHERE m.job = e.child LIMIT 1) AS m,
    LATERAL (SELECT FROM {waiting} AS w WHERE w.id = e.child LIMIT 1) AS w
    WHERE NOT m.anyway
), gone AS (
    DELETE FROM {waiting} WHERE id = ANY(ARRAY(SELECT job FROM doomed)) RETURNING id
), keyless AS (
    DELETE FROM {keys} WHERE id = ANY(ARRAY(SELECT id FROM gone))
), marked AS (
    UPDATE {members} SET doomed = true WHERE job = ANY(ARRAY(SELECT id FROM gone))
), kept AS (
    INSERT INTO {ended} (id, token, state, attempt, started_at, finished_at, reason)
    SELECT j.id, 0, 4, j.attempt, j.started_at, $3, d.reason FROM doomed AS d,
    LATERAL (SELECT id, attempt, started_at FROM {jobs} AS o WHERE o.id = d.job LIMIT 1) AS j
    WHERE d.job IN (SELECT id FROM gone)
    RETURNING id, state
), told AS (
    INSERT INTO {tally} SELECT state, count(*) FROM kept GROUP BY state
)
SELECT id FROM kept;

-- free: jobs, now -> those of them that waited, and are ready; they take their turn soon
WITH freed AS (
    DELETE FROM {waiting} WHERE id = ANY($1::uuid[]) RETURNING id
), due AS (
    UPDATE {jobs} AS j SET run_at = greatest(j.run_at, $2)
    WHERE j.id = ANY(ARRAY(SELECT id FROM freed))
    RETURNING j.queue, j.priority, j.run_at, j.id, position('"fair":' IN j.options) > 0 AS fair,
              CASE WHEN j.attempt = 0 AND j.started_at IS NULL THEN j.expires_at END AS expires_at
), turn AS (
    INSERT INTO {later} (id, due) SELECT id, run_at FROM due WHERE fair
    ON CONFLICT (id) DO UPDATE SET due = excluded.due
)
INSERT INTO {ready} (queue, priority, run_at, id, expires_at)
SELECT queue, priority, run_at, id, expires_at FROM due RETURNING id;

-- callbacks: flows -> those that wait for one that has no job left, and whether they are to run
SELECT m.job, m.anyway OR f.failed + f.cancelled = 0 AS wanted, f.id AS flow
FROM {flows} AS f,
LATERAL (SELECT job, anyway FROM {members} AS m WHERE m.flow = f.id AND m.role = 1 OFFSET 0) AS m,
LATERAL (SELECT FROM {waiting} AS w WHERE w.id = m.job LIMIT 1) AS w
WHERE f.id = ANY($1::uuid[]) AND f.open_jobs = 0;

-- to_undo: flows -> those of them whose jobs are to be undone
SELECT id FROM {flows} WHERE id = ANY($1::uuid[]) AND open_jobs = 0 AND on_failure = 2
AND failed + cancelled > 0 AND NOT undone;

-- what_to_undo: flow -> what had completed, the last first, and its undo job
SELECT m.job, m.undo FROM {members} AS m,
LATERAL (SELECT finished_at FROM {ended} AS e WHERE e.id = m.job LIMIT 1) AS e
WHERE m.flow = $1 AND m.undo IS NOT NULL AND m.counted = 2 ORDER BY e.finished_at DESC, m.job DESC;

-- undone: flow, how many undo jobs -> nothing
UPDATE {flows} SET undone = true, open_others = open_others + $2 WHERE id = $1;

-- finished: flows, now -> nothing
UPDATE {flows} SET finished_at = $2
WHERE id = ANY($1::uuid[]) AND open_jobs = 0 AND open_others = 0 AND finished_at IS NULL;

-- add_flow: a flow -> a row if it is new
INSERT INTO {flows} (id, name, kind, on_failure, created_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (id) DO NOTHING RETURNING id;

-- say: where, what -> nothing: those who listen are told as this is committed
SELECT pg_notify($1, $2) WHERE $2::text IS NOT NULL;

-- weave: new jobs by column; their roles, whether they run anyway, for how many they wait, their undo
--     jobs; the flow; the keys that they hold until they end -> nothing
WITH given AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::smallint[], $5::bigint[],
                         $6::bigint[], $7::text[], $8::text[], $9::bigint[], $10::smallint[],
                         $11::boolean[], $12::integer[], $13::text[], $15::text[])
        AS g (id, type, queue, priority, run_at, created_at, data, options, expires_at, role, anyway,
              waits, undo, unique_key)
), added AS (
    INSERT INTO {jobs} (id, type, queue, priority, run_at, created_at, data, options, expires_at,
                        unique_key)
    SELECT id, type, queue, priority, run_at, created_at, data, options, expires_at, unique_key
    FROM given
), ready AS (
    INSERT INTO {ready} (queue, priority, run_at, id, expires_at)
    SELECT queue, priority, run_at, id, expires_at FROM given WHERE waits = 0
), blocked AS (
    INSERT INTO {waiting} (id, waits, expires_at, queue)
    SELECT id, waits, expires_at, queue FROM given WHERE waits > 0
)
INSERT INTO {members} (job, flow, role, anyway, undo)
SELECT id, $14::uuid, role, anyway, undo FROM given;

-- add_edges: parents, children, whether the parent has ended -> nothing
INSERT INTO {edges} (parent, child, done)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::boolean[]);

-- more_jobs: flow, jobs, others -> nothing
UPDATE {flows} SET jobs = jobs + $2, open_jobs = open_jobs + $2, open_others = open_others + $3
WHERE id = $1;

-- holds_member: job, token -> its flow, what it is to that, and whether people have cancelled it, if
--     that claim stands, which holds now until the end
WITH mine AS MATERIALIZED (
    SELECT token FROM {held} WHERE token = $2 AND $1::uuid = ANY(ids) FOR KEY SHARE
)
SELECT flow, role, EXISTS (SELECT FROM {cancels} WHERE id = $1) FROM {members}
WHERE job = $1 AND EXISTS (SELECT FROM mine);

-- members_by_id: jobs -> those that are there: their flows, and how they ended
SELECT g.id, m.flow, e.state FROM unnest($1::uuid[]) AS g (id)
CROSS JOIN LATERAL (SELECT true AS there FROM {jobs} AS j WHERE j.id = g.id LIMIT 1) AS j
LEFT JOIN {members} AS m ON m.job = g.id
LEFT JOIN LATERAL (SELECT state FROM {ended} AS o WHERE o.id = g.id LIMIT 1) AS e ON true;

-- graft: a job, new ones, all that are new, what these wait for beside -> nothing: who waited for the one
--     waits for those, too, but for whom some of them wait
WITH RECURSIVE before (id) AS (
    SELECT unnest($4::uuid[])
    UNION SELECT p.parent FROM before AS b,
    LATERAL (SELECT parent FROM {edges} AS e WHERE e.child = b.id AND NOT e.done OFFSET 0) AS p
), children AS MATERIALIZED (
    SELECT e.child FROM {edges} AS e JOIN {waiting} AS w ON w.id = e.child
    WHERE e.parent = $1 AND NOT e.done AND NOT e.child = ANY($3::uuid[])
    AND e.child NOT IN (SELECT id FROM before)
), more AS (
    UPDATE {waiting} SET waits = waits + cardinality($2::uuid[])
    WHERE id = ANY(ARRAY(SELECT child FROM children))
)
INSERT INTO {edges} (parent, child) SELECT i, c.child FROM children AS c, unnest($2::uuid[]) AS i;

-- flow: id -> it
SELECT {flow_columns} FROM {flows} WHERE id = $1;

-- flows: how many, before which one (null: from the newest on) -> them
SELECT {flow_columns} FROM {flows} WHERE id < coalesce($2, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
ORDER BY id DESC LIMIT $1;

-- open_flows: -> how many have not ended
SELECT count(*) AS open FROM {flows} WHERE finished_at IS NULL;

-- flow_jobs: flow, how many -> its first jobs
SELECT m.job, j.type, j.run_at, m.role, e.state,
       CASE WHEN e.state IS NULL THEN j.reason ELSE e.reason END AS reason,
       e.state IS NULL AND EXISTS (SELECT FROM {held} AS h WHERE m.job = ANY(h.ids)) AS active,
       EXISTS (SELECT FROM {waiting} AS w WHERE w.id = m.job) AS blocked,
       EXISTS (SELECT FROM {parked} AS p WHERE p.queue = j.queue AND p.type = j.type
               AND p.priority = j.priority AND p.run_at = j.run_at AND p.id = m.job) AS parked
FROM (SELECT job, role FROM {members} WHERE flow = $1 ORDER BY job LIMIT $2) AS m
CROSS JOIN LATERAL (SELECT * FROM {jobs} AS o WHERE o.id = m.job LIMIT 1) AS j
LEFT JOIN LATERAL (SELECT state, reason FROM {ended} AS o WHERE o.id = m.job LIMIT 1) AS e ON true
ORDER BY m.job;

-- flow_edges: jobs -> what they wait for, or waited for
SELECT parent, child FROM {edges} WHERE child = ANY($1::uuid[]) ORDER BY child, parent;

-- role_of: job -> what it is to its flow, and whether people have cancelled it while it runs
SELECT role, flow, EXISTS (SELECT FROM {cancels} WHERE id = $1) FROM {members} WHERE job = $1;

-- parents: job, type (null: any), after, how many -> those that it has waited for
SELECT p.parent AS id, j.type, e.state, e.result, e.reason FROM (
    SELECT e.parent FROM {edges} AS e JOIN {members} AS m ON m.job = e.parent
    WHERE e.child = $1 AND m.role = 0 AND e.parent > $3
    AND ($2::text IS NULL OR
         (SELECT type FROM {jobs} AS o WHERE o.id = e.parent LIMIT 1) = $2)
    ORDER BY e.parent LIMIT $4) AS p
CROSS JOIN LATERAL (SELECT type FROM {jobs} AS o WHERE o.id = p.parent LIMIT 1) AS j
LEFT JOIN LATERAL (
    SELECT state, result, reason FROM {ended} AS o WHERE o.id = p.parent LIMIT 1) AS e ON true
ORDER BY p.parent;

-- jobs_of_flow: flow, type (null: any), after, how many -> the same of all jobs of a flow
SELECT p.job AS id, j.type, e.state, e.result, e.reason FROM (
    SELECT m.job FROM {members} AS m WHERE m.flow = $1 AND m.role = 0 AND m.job > $3
    AND ($2::text IS NULL OR (SELECT type FROM {jobs} AS o WHERE o.id = m.job LIMIT 1) = $2)
    ORDER BY m.job LIMIT $4) AS p
CROSS JOIN LATERAL (SELECT type FROM {jobs} AS o WHERE o.id = p.job LIMIT 1) AS j
LEFT JOIN LATERAL (
    SELECT state, result, reason FROM {ended} AS o WHERE o.id = p.job LIMIT 1) AS e ON true
ORDER BY p.job;

-- lock_flow: id -> whether it was undone; it is held until the end
SELECT undone FROM {flows} WHERE id = $1 FOR NO KEY UPDATE;

-- going_on: flow -> its jobs that have not ended, and were not asked to
SELECT m.job FROM {members} AS m WHERE m.flow = $1 AND m.role = 0 AND m.counted = 0
AND NOT EXISTS (SELECT FROM {cancels} AS c WHERE c.id = m.job);

-- not_completed: flow, role -> its jobs that failed or were cancelled
SELECT job FROM {members} WHERE flow = $1 AND role = $2 AND counted IN (3, 4);

-- barred: jobs -> those that may not run again: their flow has gone, or was undone, or they would wait in
--     vain
SELECT m.job, f.id AS flow, f.undone AND m.role < 2 AS undone,
       (SELECT true FROM {away} AS a WHERE a.id = m.flow LIMIT 1) AS away
FROM {members} AS m LEFT JOIN {flows} AS f ON f.id = m.flow
WHERE m.job = ANY($1::uuid[]) AND m.counted <> 0
AND (f.id IS NULL OR f.undone AND m.role < 2 OR NOT m.anyway AND (
    EXISTS (SELECT FROM {edges} AS e, LATERAL (
                SELECT state FROM {ended} AS o WHERE o.id = e.parent LIMIT 1) AS p
            WHERE e.child = m.job AND p.state > 2 AND NOT e.parent = ANY($1::uuid[]))
    OR m.role = 1 AND f.open_jobs = 0 AND f.failed + f.cancelled > 0));

-- reopened: jobs -> those that have ended no more, and are counted as ended still
SELECT m.job, m.flow, m.role, m.counted FROM {members} AS m
WHERE m.job = ANY($1::uuid[]) AND m.counted <> 0
AND (SELECT true FROM {ended} AS e WHERE e.id = m.job LIMIT 1) IS NULL;

-- behind: jobs -> those that were cancelled behind them
WITH RECURSIVE behind (job) AS (
    SELECT e.child FROM {edges} AS e,
    LATERAL (SELECT doomed FROM {members} AS m WHERE m.job = e.child LIMIT 1) AS m
    WHERE e.parent = ANY($1::uuid[]) AND m.doomed
    UNION
    SELECT e.child FROM behind AS b,
    LATERAL (SELECT child FROM {edges} AS e WHERE e.parent = b.job OFFSET 0) AS e,
    LATERAL (SELECT doomed FROM {members} AS m WHERE m.job = e.child LIMIT 1) AS m
    WHERE m.doomed
)
SELECT job FROM behind;

-- above: jobs -> what they waited for, of that what did not complete
SELECT e.parent, e.child FROM {edges} AS e,
LATERAL (SELECT state FROM {ended} AS o WHERE o.id = e.parent LIMIT 1) AS p
WHERE e.child = ANY($1::uuid[]) AND p.state > 2;

-- doomed_callbacks: flows -> those that were cancelled
SELECT job FROM {members} WHERE flow = ANY($1::uuid[]) AND role = 1 AND doomed;

-- flows_of: jobs -> of those that belong to flows, to which
SELECT job, flow FROM {members} WHERE job = ANY($1::uuid[]);

-- not_again: jobs, states -> the first of them that belong to flows, have a unique key and have ended
--     still, in one of these states, and who holds it
SELECT j.type, j.id, j.unique_key, (
    SELECT coalesce(k.holder, k.id) FROM {keys} AS k
    WHERE k.type = j.type AND k.unique_key = j.unique_key) AS holder
FROM {jobs} AS j
WHERE j.id = ANY($1::uuid[]) AND j.unique_key IS NOT NULL
AND (SELECT true FROM {members} AS m WHERE m.job = j.id LIMIT 1)
AND (SELECT e.state = ANY($2::smallint[]) FROM {ended} AS e WHERE e.id = j.id LIMIT 1)
ORDER BY j.id LIMIT 1;

-- wait_again: jobs -> those that were cancelled, have their keys, and wait for others now
WITH wanted AS MATERIALIZED (
    SELECT e.id, j.type, j.queue, j.unique_key FROM {ended} AS e JOIN {jobs} AS j USING (id)
    WHERE e.id = ANY($1::uuid[]) AND e.state = 4 ORDER BY e.id FOR UPDATE OF e
), keyed AS (
    INSERT INTO {keys} (type, unique_key, id)
    SELECT DISTINCT ON (type, unique_key) type, unique_key, id FROM wanted
    WHERE unique_key IS NOT NULL ORDER BY type, unique_key, id
    ON CONFLICT DO NOTHING RETURNING id
), gone AS (
    DELETE FROM {ended} WHERE id = ANY(ARRAY(
        SELECT id FROM wanted WHERE unique_key IS NULL OR id IN (SELECT id FROM keyed)))
    RETURNING id, state
), told AS (
    INSERT INTO {tally} SELECT state, -count(*) FROM gone GROUP BY state
), fresh AS (
    UPDATE {jobs} SET reason = NULL, expires_at = NULL WHERE id = ANY(ARRAY(SELECT id FROM gone))
)
INSERT INTO {waiting} (id, waits, queue)
SELECT id, 1, (SELECT w.queue FROM wanted AS w WHERE w.id = gone.id) FROM gone RETURNING id;

-- not_counted: jobs -> nothing
UPDATE {members} SET counted = 0, doomed = false WHERE job = ANY($1::uuid[]);

-- fewer_ended: flows; jobs, others, completed, failed, cancelled by flow -> nothing: it goes on
UPDATE {flows} AS f SET open_jobs = f.open_jobs + g.jobs, open_others = f.open_others + g.others,
    completed = f.completed - g.completed, failed = f.failed - g.failed,
    cancelled = f.cancelled - g.cancelled, finished_at = NULL
FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
    AS g (flow, jobs, others, completed, failed, cancelled) WHERE f.id = g.flow;

-- blocked_children: jobs -> those that wait, and for one of these
SELECT DISTINCT e.child FROM {edges} AS e JOIN {waiting} AS w ON w.id = e.child
WHERE e.parent = ANY($1::uuid[]);

-- done_anew: jobs -> nothing: which of those that they wait for have ended
UPDATE {edges} AS e
SET done = (SELECT true FROM {ended} AS o WHERE o.id = e.parent LIMIT 1) IS NOT NULL
WHERE e.child = ANY($1::uuid[]);

-- waits_anew: jobs -> nothing: for how many they wait
UPDATE {waiting} AS w SET waits = CASE WHEN m.role = 1
    THEN (SELECT (f.open_jobs > 0)::integer FROM {flows} AS f WHERE f.id = m.flow)
    ELSE (SELECT count(*) FROM {edges} AS e WHERE e.child = w.id AND NOT e.done) END
FROM {members} AS m WHERE m.job = w.id AND w.id = ANY($1::uuid[]);

-- hold_back: jobs -> those that are ready, and have to wait for others
WITH these AS MATERIALIZED (
    SELECT m.job, CASE WHEN m.role = 1
        THEN (SELECT (f.open_jobs > 0)::integer FROM {flows} AS f WHERE f.id = m.flow)
        ELSE (SELECT count(*) FROM {edges} AS e WHERE e.child = m.job AND NOT e.done) END AS waits
    FROM {members} AS m WHERE m.job = ANY($1::uuid[])
), gone AS (
    DELETE FROM {ready} AS r USING {jobs} AS j, these AS t
    WHERE t.job = j.id AND j.id = ANY($1::uuid[]) AND t.waits > 0 AND r.queue = j.queue
    AND r.priority = j.priority AND r.run_at = j.run_at AND r.id = j.id
    RETURNING r.id, r.queue
), in_line AS (  -- Of a limit, where others might call them.
    DELETE FROM {blocked} AS b USING these AS t
    WHERE t.job = b.id AND b.id = ANY($1::uuid[]) AND t.waits > 0 RETURNING b.id, b.queue
)
INSERT INTO {waiting} (id, waits, queue)
SELECT t.job, t.waits, g.queue FROM these AS t
JOIN (SELECT id, queue FROM gone UNION SELECT id, queue FROM in_line) AS g ON g.id = t.job
RETURNING id;

-- of_open_flow: jobs -> those whose flow has not ended, or is on its way, and which it is
SELECT m.job, m.flow, f.id IS NULL AS away FROM {members} AS m LEFT JOIN {flows} AS f ON f.id = m.flow
WHERE m.job = ANY($1::uuid[]) AND f.finished_at IS NULL
AND (f.id IS NOT NULL OR (SELECT true FROM {away} AS a WHERE a.id = m.flow LIMIT 1));

-- forget_flows: cutoff, how many -> those that ended before it, and have gone: their jobs may go now, and
--     nobody runs them again. Who retries one just now holds it, and is let pass
DELETE FROM {flows} WHERE id = ANY(ARRAY(
    SELECT id FROM {flows} WHERE finished_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED))
RETURNING id;

-- not_told: after, how many -> the next jobs that are not counted as ended, and whether they have
SELECT m.job, (SELECT true FROM {ended} AS e WHERE e.id = m.job LIMIT 1) IS NOT NULL AS over
FROM {members} AS m WHERE m.counted = 0 AND m.job > $1
AND (SELECT true FROM {flows} AS f WHERE f.id = m.flow LIMIT 1) ORDER BY m.job LIMIT $2;
