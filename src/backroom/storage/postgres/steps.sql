-- steps_of: job -> its steps
SELECT number, kind, name, begun_at, until, ended_at, result, signal FROM {steps}
WHERE job = $1 ORDER BY number;

-- signals_of: job -> those that nobody has taken
SELECT id, name, value, at FROM {signals} WHERE job = $1 ORDER BY seq;

-- keep_steps: jobs, tokens, their steps by column -> the jobs and tokens whose claim stands; of the
--     others nothing is kept
WITH given AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::integer[], $4::smallint[], $5::text[],
                         $6::bigint[], $7::bigint[], $8::bigint[], $9::text[], $10::text[])
        AS g (job, token, number, kind, name, begun_at, until, ended_at, result, signal)
), mine AS MATERIALIZED (
    SELECT token, ids FROM {held} WHERE token = ANY($2::bigint[]) ORDER BY token FOR KEY SHARE
), stands AS MATERIALIZED (
    SELECT g.* FROM given AS g JOIN mine AS m ON m.token = g.token AND g.job = ANY(m.ids)
), kept AS (
    INSERT INTO {steps} (job, number, kind, name, begun_at, until, ended_at, result, signal)
    SELECT job, number, kind, name, begun_at, until, ended_at, result, signal FROM stands
    ON CONFLICT (job, number) DO UPDATE SET kind = excluded.kind, name = excluded.name,
        begun_at = excluded.begun_at, until = excluded.until, ended_at = excluded.ended_at,
        result = excluded.result, signal = excluded.signal
)
SELECT job, token FROM stands;

-- lock_held: job, token -> a row if the claim stands, which holds now until the end; and whoever
--     sends this job a signal waits. Its place is locked first, as who writes an outcome does it
WITH mine AS MATERIALIZED (
    SELECT token FROM {held} WHERE token = $2 AND $1::uuid = ANY(ids) FOR KEY SHARE
)
SELECT id FROM {jobs} WHERE id = $1 AND EXISTS (SELECT FROM mine) FOR NO KEY UPDATE;

-- take_signal: job, a wait, now -> the step, if it has an end now, or had one
WITH known AS MATERIALIZED (
    SELECT number, kind, name, begun_at, until, ended_at, result, signal FROM {steps}
    WHERE job = $1 AND number = $2 AND ended_at IS NOT NULL
), first AS MATERIALIZED (
    SELECT seq, id, value FROM {signals}
    WHERE job = $1 AND name = $4 AND NOT EXISTS (SELECT FROM known) ORDER BY seq LIMIT 1
), gone AS (
    DELETE FROM {signals} WHERE job = $1 AND seq = (SELECT seq FROM first)
), kept AS (
    INSERT INTO {steps} (job, number, kind, name, begun_at, until, ended_at, result, signal)
    SELECT $1, $2::integer, $3::smallint, $4::text, $5::bigint, $6::bigint, $7::bigint, f.value, f.id
    FROM (SELECT) AS one LEFT JOIN first AS f ON true
    WHERE NOT EXISTS (SELECT FROM known) AND (f.id IS NOT NULL OR $6::bigint <= $7::bigint)
    ON CONFLICT (job, number) DO UPDATE SET ended_at = excluded.ended_at,
        result = excluded.result, signal = excluded.signal
    RETURNING number, kind, name, begun_at, until, ended_at, result, signal
)
SELECT * FROM known UNION ALL SELECT * FROM kept;

-- lock_job: job -> it, if it is there; whoever puts it aside, or takes a signal, waits
SELECT id FROM {jobs} WHERE id = $1 FOR NO KEY UPDATE;

-- send_signal: job, id, name, value, at, now, how many may wait -> whether it was there before, whether
--     the job has ended, whether too many wait (and nothing was kept), whether it woke the job
WITH found AS MATERIALIZED (
    SELECT EXISTS (SELECT FROM {signals} WHERE job = $1 AND id = $2)
               OR EXISTS (SELECT FROM {steps} WHERE job = $1 AND signal = $2) AS known,
           EXISTS (SELECT FROM {ended} WHERE id = $1) AS ended,
           (SELECT count(*) FROM {signals} WHERE job = $1) >= $7::bigint AS full_
), kept AS (
    INSERT INTO {signals} (job, id, name, value, at)
    SELECT $1, $2::text, $3::text, $4::text, $5::bigint FROM found
    WHERE NOT known AND NOT ended AND NOT full_ RETURNING seq
), gone AS (
    DELETE FROM {ready} AS r USING {jobs} AS j, {steps} AS s
    WHERE j.id = $1 AND s.job = j.id AND s.kind = 2 AND s.name = $3 AND s.ended_at IS NULL
    AND s.until = j.run_at AND r.queue = j.queue AND r.priority = j.priority
    AND r.run_at = j.run_at AND r.id = j.id AND r.run_at > $6::bigint
    AND EXISTS (SELECT FROM kept) RETURNING r.id
), fresh AS (
    UPDATE {jobs} AS j SET run_at = $6 FROM gone WHERE j.id = gone.id
    RETURNING j.id, j.queue, j.priority
), woken AS (
    INSERT INTO {ready} (queue, priority, run_at, id) SELECT queue, priority, $6, id FROM fresh
    RETURNING id
)
SELECT known, ended, full_, EXISTS (SELECT FROM woken) AS woken FROM found;

-- put_aside: jobs, their steps by column, now -> those for which the signal that they wait for is
--     there, and which are due now. Said when their outcomes hold the rows of the jobs
WITH given AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::integer[], $3::smallint[], $4::text[], $5::bigint[],
                         $6::bigint[]) AS g (job, number, kind, name, begun_at, until)
), kept AS (
    INSERT INTO {steps} (job, number, kind, name, begun_at, until)
    SELECT job, number, kind, name, begun_at, until FROM given
    ON CONFLICT (job, number) DO UPDATE SET kind = excluded.kind, name = excluded.name,
        begun_at = excluded.begun_at, until = excluded.until, ended_at = NULL, result = NULL,
        signal = NULL
), gone AS (
    DELETE FROM {ready} AS r USING given AS g, {jobs} AS j
    WHERE j.id = g.job AND g.kind = 2 AND r.queue = j.queue AND r.priority = j.priority
    AND r.run_at = j.run_at AND r.id = j.id AND r.run_at > $7
    AND EXISTS (SELECT FROM {signals} AS s WHERE s.job = g.job AND s.name = g.name)
    RETURNING r.id
), fresh AS (
    UPDATE {jobs} AS j SET run_at = $7 FROM gone WHERE j.id = gone.id
    RETURNING j.id, j.queue, j.priority
)
INSERT INTO {ready} (queue, priority, run_at, id) SELECT queue, priority, $7, id FROM fresh
RETURNING id;

-- keep_waiting: job whose flow is locked, now -> it, if it waits, and not for later: no claim takes it until
--     the end
WITH asked AS MATERIALIZED (
    SELECT id, type, queue, priority, run_at FROM {jobs} WHERE id = $1
), ready AS MATERIALIZED (
    SELECT r.id FROM asked AS j JOIN {ready} AS r ON r.queue = j.queue
    AND r.priority = j.priority AND r.run_at = j.run_at AND r.id = j.id AND r.run_at <= $2
    FOR UPDATE OF r
), parked AS MATERIALIZED (
    SELECT r.id FROM asked AS j JOIN {parked} AS r ON r.queue = j.queue AND r.type = j.type
    AND r.priority = j.priority AND r.run_at = j.run_at AND r.id = j.id FOR UPDATE OF r
), in_line AS MATERIALIZED (
    SELECT id FROM {blocked} WHERE id = $1 AND called_at IS NULL FOR UPDATE
)
SELECT id FROM ready UNION ALL SELECT id FROM parked UNION ALL SELECT id FROM in_line
UNION ALL SELECT id FROM {waiting} WHERE id = $1;

-- forget_steps: job that waits, number -> nothing: its steps from this one on are gone
DELETE FROM {steps} WHERE job = $1 AND number >= $2;
