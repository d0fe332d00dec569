-- failures: at most -> the failed jobs by type and kind of their last errors: how many, and the newest
WITH failed AS MATERIALIZED (
    SELECT e.id, e.finished_at, coalesce(e.reason, '') AS reason, (
        SELECT type FROM {jobs} AS j WHERE j.id = e.id LIMIT 1) AS type, coalesce((
        SELECT kind FROM {errors} AS o WHERE o.job = e.id ORDER BY seq DESC LIMIT 1), '') AS kind
    FROM {ended} AS e WHERE e.state = 3 AND e.state > 2
), groups AS (
    SELECT type, kind, count(*) AS jobs FROM failed
    GROUP BY type, kind ORDER BY jobs DESC, type, kind LIMIT $1
)
SELECT g.type, g.kind, g.jobs, f.finished_at, f.id, coalesce((
    SELECT message FROM {errors} AS o WHERE o.job = f.id ORDER BY seq DESC LIMIT 1), f.reason)
FROM groups AS g, LATERAL (
    SELECT finished_at, id, reason FROM failed AS o WHERE o.type = g.type AND o.kind = g.kind
    ORDER BY finished_at DESC, id DESC LIMIT 1) AS f
ORDER BY g.jobs DESC, g.type, g.kind;
